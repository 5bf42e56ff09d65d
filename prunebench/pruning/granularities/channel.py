"""Channels: all that makes one output of a layer, its bias and its place in the batch norm after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.utils._pytree import tree_leaves

from prunebench.errors import ModelError, PlanError, first_line
from prunebench.machine.devices import evaluation_mode, model_device
from prunebench.pruning.granularities.granularity import Aggregation, Granularity, aggregated


class Channel(Granularity):
    """Whole output channels: the first dimension of a convolution's or a linear layer's weight.

    By magnitude the score of a channel is the L2 norm of its weights. Source: He et al. 2018, Soft Filter Pruning; Li
    et al. 2017, Pruning Filters for Efficient ConvNets, take the L1 norm. Equal scores go by index, lowest first.

    A batch norm turns a channel of zeros into a constant, and so does a bias. Both lose the channel too, so that what
    follows gets zeros: bias, and scale and shift of the batch norm that gets the layer's output as it is.
    """

    name = "channel"

    def unit_size(self, shape: Sequence[int], *, name: str = "a weight") -> int:  # noqa: ARG002 - as the base says
        """The weights of one channel."""
        return torch.Size(shape[1:]).numel()

    def unit_scores(self, scores: Tensor, aggregation: Aggregation = "l2") -> Tensor:
        """One a channel, (channels,); those that are so already stay as they are."""
        return scores if scores.dim() == 1 else aggregated(scores.flatten(1), (1,), aggregation)

    def expand(self, kept: Tensor, shape: Sequence[int]) -> Tensor:
        """The mask: each channel all True or all False."""
        return kept.view(-1, *[1] * (len(shape) - 1)).expand(*shape).clone()

    def companions(self, model: nn.Module, pruned: Sequence[str], example: Tensor | None) -> Mapping[str, list[str]]:
        """The bias of each weight and, where there is an `example`, scale and shift of the batch norm after it.

        Raises:
            PlanError: a weight whose channels are not its first dimension, or are the model's answers.
        """
        modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
        found: dict[str, list[str]] = {}
        for name in pruned:
            owner, _, last = name.rpartition(".")
            if isinstance(modules[owner], _ConvTransposeNd | nn.Embedding):
                raise PlanError(
                    f"'{name}' has its channels in another dimension ({type(modules[owner]).__name__}): by channel it "
                    "is not pruned; expected sparsity 0"
                )
            bias = name.removesuffix(last) + last.replace("weight", "bias")
            same = bias != name and bias in parameters and parameters[bias].shape == parameters[name].shape[:1]
            found[name] = [bias] if same else []
        if example is None:
            return found
        norms, answers = connections(model, example)
        for name in pruned:
            owner = name.rpartition(".")[0]
            if owner in answers:
                raise PlanError(
                    f"'{name}' gives the model's answers: pruned by channel, classes are never answered; expected "
                    "sparsity 0"
                )
            found[name] += [
                each for norm in norms[owner] for each in (f"{norm}.weight", f"{norm}.bias") if each in parameters
            ]
        return found


def connections(model: nn.Module, example: Tensor) -> tuple[Mapping[str, list[str]], set[str]]:
    """Batch norms by the layer whose output alone they get, and the layers whose output is the model's.

    The output of a layer is known by the tensor: the same one, unchanged since.
    """
    made: dict[int, tuple[Tensor, int, str]] = {}
    fed: dict[str, set[str | None]] = defaultdict(set)

    def source(tensor: Any) -> str | None:
        found = made.get(id(tensor))
        return found[2] if found and found[1] == tensor._version else None

    def note_output(name: str, module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
        if isinstance(output, Tensor):
            made[id(output)] = (output, output._version, name)

    def note_input(name: str, module: nn.Module, inputs: Any) -> None:  # noqa: ARG001
        fed[name].add(source(inputs[0]) if inputs else None)

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            hooks.append(module.register_forward_pre_hook(partial(note_input, name)))
        elif any(parameter.dim() > 1 for parameter in module.parameters(recurse=False)):
            hooks.append(module.register_forward_hook(partial(note_output, name)))
    try:
        with evaluation_mode(model), torch.no_grad():
            outputs = model(example.to(model_device(model)))
    except Exception as error:  # the model's own code may raise anything
        raise ModelError(f"the model fails on its example: {first_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    norms: dict[str, list[str]] = defaultdict(list)
    for norm, sources in fed.items():
        if len(sources) == 1 and (only := next(iter(sources))) is not None:
            norms[only].append(norm)
    return norms, {name for leaf in tree_leaves(outputs) if (name := source(leaf)) is not None}
