"""Recalibration: batch norm's statistics, estimated anew after pruning. No label is looked at, no weight changes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from prunebench.data import Examples
from prunebench.errors import DataError, ModelError
from prunebench.machine.devices import arithmetic, evaluation_mode, model_device, seeded


def recalibrate_(model: nn.Module, data: Examples, *, images: int = 1000, batch_size: int = 100, seed: int) -> None:
    """Estimate the running means and variances of every batch norm anew, on training inputs, in place.

    They become the mean over whole batches of inputs that `seed` draws; memory is that of one batch. Pruning changes
    what a batch norm gets, and its statistics are those of the dense model. Source: Li et al. 2020, EagleEye; the
    averaging is torch's `update_bn`.

    Args:
        data: training examples, never test examples.
        images: drawn at most; all where there are fewer.

    Raises:
        DataError: fewer inputs than a batch, or a batch of fewer than two.
        ModelError: the model has no batch norm that keeps statistics.
    """
    if not any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules()):
        raise ModelError("the model has no batch norm with running statistics: there is nothing to recalibrate")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:images]
    if not 2 <= batch_size <= len(order):
        raise DataError(f"batch_size must be between 2 and the {len(order):,} images, got {batch_size}")
    device = model_device(model)
    batches = (data.take(order[start : start + batch_size]) for start in range(0, len(order), batch_size))
    whole = (batch.fed(batch.inputs).to(device) for batch in batches if len(batch) == batch_size)
    with evaluation_mode(model), seeded(device, seed), arithmetic(device, "fp32"):  # puts each module's mode back
        update_bn(whole, model)
