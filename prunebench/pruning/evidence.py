"""`Evidence`: what criteria read besides weights, and how it is gathered from examples of the training set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from prunebench.data import Examples
from prunebench.errors import DataError, PlanError
from prunebench.machine.devices import arithmetic, evaluation_mode, model_device, seeded
from prunebench.models import check_model, copied, in_float32, prunable_parameters
from prunebench.tasks import CLASSIFICATION, BatchProgress, Task, ask, check_answers, task_key

EXAMPLES = 1_000
LEARNING_RATE = 0.01
BATCH_SIZE = 50
"""Divides the usual numbers of examples, and keeps the activations of the CIFAR VGG far below 1 GiB."""

Need = Literal["gradients", "batch_squares", "example_squares", "input_norms", "movement", "example"]
Gathered = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Statistics of a model on examples of its training set, by parameter name; None where not gathered.

    Attributes:
        seed: of the draw of the examples, and of the criterion `random`.
        gradients: of the mean loss of all examples.
        batch_squares: squared gradients of a batch's mean loss, averaged over batches.
        example_squares: squared gradients of each example's loss, averaged over examples.
        input_norms: float64 (groups, inputs, *kernel): L2 norm, over all examples and positions, of the input that each
            weight multiplies; of a linear layer (1, inputs).
        movement: sums of -g w over training steps (`add_movement_`).
        example: a batch of inputs (n, ...), which shows how layers are connected.
        digest: SHA-256 over data, indices and settings; empty where nothing was gathered.
    """

    seed: int = 0
    gradients: Gathered | None = None
    batch_squares: Gathered | None = None
    example_squares: Gathered | None = None
    input_norms: Gathered | None = None
    movement: Gathered | None = None
    example: Tensor | None = None
    digest: str = ""

    def of(self, need: Need, name: str) -> Tensor:
        """The statistic of one weight, on the CPU.

        Raises:
            PlanError: nothing.
        """
        found: Gathered = getattr(self, need) or {}
        if name not in found:
            source = {
                "input_norms": "gather_evidence gives them of linear layers and convolutions",
            }.get(need, "gather_evidence gives them")
            raise PlanError(f"the evidence has no {need} of '{name}', which the criterion needs: {source}")
        return found[name].cpu()


def evidence_count(training: Examples, examples: int | None) -> int:
    """Examples of the training set that evidence is of: 1,000 where none are asked for, or all where there are fewer.

    Raises:
        DataError: more than there are.
    """
    count = min(EXAMPLES, len(training)) if examples is None else examples
    if not 1 <= count <= len(training):
        raise DataError(f"evidence takes 1 to {len(training):,} examples of the training set, got {count:,}")
    return count


def gather_evidence(
    model: nn.Module,
    training: Examples,
    *,
    needs: Collection[Need],
    task: Task = CLASSIFICATION,
    examples: int | None = None,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    progress: BatchProgress | None = None,
) -> Evidence:
    """Gather what `needs` names from examples drawn from the training set, in evaluation mode, one pass for each need.

    A pass holds one batch and one number a weight. The pass of `example_squares` has batches of one example, which is
    slower; that of `input_norms` goes forward only; that of `movement` trains a copy, by plain SGD at `learning_rate`.
    The model ends as it was.

    Args:
        training: never the test set: a method that has seen the examples it is judged on is not judged.
        examples: how many; 1,000 by default, or all where there are fewer.

    Raises:
        DataError: more examples than there are, or targets that do not fit.
        ModelError: as `prunebench.models.check_model`, or the model fails on an example.
    """
    model, _ = in_float32(check_model(model))
    device = model_device(model)
    count = evidence_count(training, examples)
    if batch_size < 1:
        raise DataError(f"evidence takes batches of at least 1 example, got {batch_size:,}")
    indices = torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))[:count]
    check_answers(model, training, task=task)

    def batches(size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, count, size):
            batch = training.take(indices[start : start + size]).to(device)
            yield batch.fed(batch.inputs), batch.targets
            if progress:
                progress(min(start + size, count), count)

    found: dict[str, Any] = {}
    with evaluation_mode(model), seeded(device, seed), arithmetic(device, "fp32"):
        if "gradients" in needs:
            found["gradients"] = _mean_gradients(model, batches(batch_size), task, power=1)
        if "batch_squares" in needs:
            found["batch_squares"] = _mean_gradients(model, batches(batch_size), task, power=2)
        if "example_squares" in needs:
            found["example_squares"] = _mean_gradients(model, batches(1), task, power=2)
        if "input_norms" in needs:
            found["input_norms"] = _input_norms(model, batches(batch_size))
        if "movement" in needs:
            found["movement"] = _movement(copied(model), batches(batch_size), task, learning_rate)
    settings = [training.digest, indices.tolist(), sorted(needs), task_key(task), batch_size, learning_rate, seed]
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    return Evidence(seed=seed, example=next(batches(2))[0] if "example" in needs else None, digest=digest, **found)


def _mean_gradients(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], task: Task, *, power: Literal[1, 2]
) -> dict[str, Tensor]:
    """The gradients of the mean loss of all examples; or, squared, the mean over batches."""
    weights = prunable_parameters(model)
    sums = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in weights.items()}
    total = 0
    with _trainable(weights), torch.enable_grad():
        for inputs, targets in batches:
            loss = task.loss(ask(model, inputs), targets)
            gradients = torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
            share = len(targets) if power == 1 else 1
            total += share
            for so_far, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    so_far.add_(gradient, alpha=share) if power == 1 else so_far.addcmul_(gradient, gradient)
    return {name: so_far.div_(total).cpu() for name, so_far in sums.items()}


@contextmanager
def _trainable(weights: Mapping[str, nn.Parameter]) -> Iterator[None]:
    frozen = [weight for weight in weights.values() if not weight.requires_grad]
    try:
        for weight in frozen:
            weight.requires_grad_(True)
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


def _movement(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], task: Task, learning_rate: float
) -> dict[str, Tensor]:
    """The movement of a pass of plain SGD over `model`, in training mode."""
    sums: dict[str, Tensor] = {}
    weights = prunable_parameters(model)
    model.train()
    with _trainable(weights), torch.enable_grad():
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
        for inputs, targets in batches:
            optimizer.zero_grad()
            task.loss(ask(model, inputs), targets).backward()  # type: ignore[no-untyped-call]
            add_movement_(sums, model)
            optimizer.step()
    return {name: sums[name].cpu() for name in weights if name in sums}


def add_movement_(sums: dict[str, Tensor], model: nn.Module) -> None:
    """Add -g w of one training step to `sums`, by parameter name: after `backward`, before the optimizer's step.

    Parameters without a gradient are left out. `Evidence(movement=sums)` then scores by it.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums.setdefault(name, torch.zeros_like(parameter)).sub_(parameter * parameter.grad)


def _input_norms(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        squares = inputs[0].detach().square()
        seen = _seen(module, squares) if isinstance(module, _ConvNd) else squares.reshape(-1, squares.shape[-1]).sum(0)
        seen = seen.cpu().double() if seen.dim() > 1 else seen.cpu().double()[None]
        sums[name] = sums[name] + seen if name in sums else seen

    hooks = [
        module.register_forward_pre_hook(partial(note, f"{name}.weight" if name else "weight"))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | _ConvNd) and not isinstance(module, _ConvTransposeNd)
    ]
    try:
        with torch.no_grad():
            for inputs, _ in batches:
                ask(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: seen.clamp_(min=0).sqrt() for name, seen in sums.items()}


def _seen(module: _ConvNd, squares: Tensor) -> Tensor:
    """The sum of what each weight of one output multiplies, over examples and positions, (groups, inputs, *kernel).

    It is the gradient of the sum of a convolution's outputs by its weight. Examples are added up before: the
    convolution is linear in them.
    """
    together = squares.sum(0, keepdim=True)
    with torch.enable_grad():
        weight = torch.zeros_like(module.weight[: module.groups], requires_grad=True)
        outputs: Tensor = module._conv_forward(together, weight, None)
        (seen,) = torch.autograd.grad(outputs.sum(), weight)
    return seen
