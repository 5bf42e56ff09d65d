"""Multiply-accumulates, counted operation by operation on one image, by a copy that takes no memory of its own."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from prunebench.errors import ModelError, first_line
from prunebench.machine.devices import eager
from prunebench.models import in_float32, prunable_parameters, unwrapped


def count_macs(model: nn.Module, example: Tensor | Sequence[int]) -> dict[str, int]:
    """Multiply-accumulates of one input by the weight that does them.

    `example` is a batch of inputs (n, ...), of which shape and type matter, or the shape of one float input.

    Those of convolutions and matrix products of a weight, or of what is computed from weights alone, with values that
    depend on the image; by torch's own formulas. Biases, batch norm, pooling and products of two such values (attention
    scores) are left out, and so is what can be computed before the image is there. Dense: a pruned weight counts like
    any other (a layer's MACs times its density is what a perfect sparse kernel would do).

    Raises:
        ModelError: the model cannot be copied, or fails on a black image of weights that require gradients.
    """
    model, _ = in_float32(unwrapped(model))
    black = torch.zeros_like(example[:1]) if isinstance(example, Tensor) else torch.zeros(1, *example)
    # Copied by name, not by `to`, which would make two of a parameter that two modules share. On the CPU the copy has
    # the model's own weights, whose kernels are quicker than torch's rules for shapes, which are Python; elsewhere it
    # has shapes alone, since the kernels of other devices may do several operations at once.
    light: dict[int, Any] = {
        id(one): nn.Parameter(one.detach() if one.is_cpu else one.to("meta"), one.requires_grad)
        for one in model.parameters()
    }
    light |= {id(one): one.clone() if one.is_cpu else one.to("meta") for one in model.buffers()}
    with contextlib.suppress(Exception):  # its path may depend on values, which a meta tensor has not
        return _count(copy.deepcopy(model, light).eval(), black)
    try:
        return _count(copy.deepcopy(model).eval(), black)
    except Exception as error:  # the model's own code may raise anything
        raise ModelError(f"the model's multiply-accumulates cannot be counted: {first_line(error)}") from error


def _count(model: nn.Module, black: Tensor) -> dict[str, int]:
    weights = prunable_parameters(model)
    black = black.to(next(model.parameters()).device)
    for weight in weights.values():
        weight.requires_grad_()  # without gradients attention takes a way of its own, which has no formula
    with eager(), _without_onednn(), _Counting(model, weights) as counting:
        model(black)
    return {name: counting.flops[name] // 2 for name in weights}


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    """A context without oneDNN, whose LSTM is one operation that has no formula."""
    onednn: Any = torch.backends.mkldnn
    enabled, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = enabled


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Floating-point operations by weight, `flops`, of all that runs inside."""

    def __init__(self, model: nn.Module, weights: dict[str, nn.Parameter]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: Counter[str] = Counter()
        self._largest_first = sorted(weights, key=lambda name: weights[name].numel(), reverse=True)
        # What does not depend on the image, with the names it was computed from. Held, so that no address is given to
        # another tensor.
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self._made: dict[int, tuple[Tensor, frozenset[str]]] = {
            id(tensor): (tensor, frozenset([name])) for name, tensor in held.items()
        }

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and to say so by torch's usual way imports its compiler, for seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:  # a composite operation is made of others, which may have one
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        origins = [self._made[id(each)][1] for each in inputs if id(each) in self._made]
        used = frozenset().union(*origins)
        if inputs and len(origins) == len(inputs):
            self._made |= {id(one): (one, used) for one in tree_leaves(result) if isinstance(one, Tensor)}
        elif formula is not None:
            largest = next((name for name in self._largest_first if name in used), None)  # not its norm, nor its scale
            if largest is not None:
                self.flops[largest] += formula(*args, **kwargs, out_val=result)
        return result
