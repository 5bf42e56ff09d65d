"""The plain loop that a user would write: what prunebench is compared with. Nothing of prunebench is used here.

Images are PIL images transformed one at a time by torchvision in a DataLoader without worker processes (on two cores
they would take the cores from the model), batches are 512 in fp32 and contiguous, thresholds come from `kthvalue` and
keep what is above them, masks are multiplied onto the weights after every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

BATCH = 512


class Images(Dataset[tuple[Tensor, int]]):
    """uint8 images (n, height, width, 3) and their classes; each is decoded and transformed when asked for."""

    def __init__(self, images: np.ndarray, labels: list[int], transform: Any) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def evaluation_loader(
    images: np.ndarray, labels: list[int], *, batch: int = BATCH, pinned: bool = False
) -> DataLoader[Any]:
    return DataLoader(Images(images, labels, transforms.ToTensor()), batch_size=batch, pin_memory=pinned)


def training_loader(
    images: np.ndarray,
    labels: list[int],
    *,
    padding: int,
    flip: bool,
    limit: int,
    batch: int = BATCH,
    pinned: bool = False,
) -> DataLoader[Any]:
    steps: list[Any] = [transforms.RandomCrop(images.shape[1], padding=padding)]
    steps += [transforms.RandomHorizontalFlip()] if flip else []
    data = Images(images, labels, transforms.Compose([*steps, transforms.ToTensor()]))
    return DataLoader(data, batch_size=batch, sampler=RandomSampler(data, num_samples=limit), pin_memory=pinned)


def mask_of(weight: Tensor, sparsity: float) -> Tensor:
    """True for what is above the threshold."""
    count = round(sparsity * weight.numel())
    if count == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    importance = weight.abs()
    return importance > importance.flatten().kthvalue(count).values


def tied(weight: Tensor, sparsity: float) -> Tensor:
    """True for what is equal to the threshold: `mask_of` prunes all of it, be it more than the sparsity says."""
    count = round(sparsity * weight.numel())
    if count == 0:
        return torch.zeros_like(weight, dtype=torch.bool)
    importance = weight.abs()
    return importance == importance.flatten().kthvalue(count).values


def pruned_too_many(weight: Tensor, sparsity: float) -> int:
    """How many elements `mask_of` prunes beyond what the sparsity says, for they are equal to the threshold."""
    return int((~mask_of(weight, sparsity)).sum()) - round(sparsity * weight.numel())


@torch.no_grad()
def prune(model: nn.Module, table: Mapping[str, float]) -> dict[str, Tensor]:
    masks = {}
    for name, weight in model.named_parameters():
        if name in table:
            masks[name] = mask_of(weight, table[name])
            weight.mul_(masks[name])
    return masks


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader[Any]) -> tuple[Tensor, int]:
    """Logits of all images and how many were answered right."""
    model.eval()
    device = next(model.parameters()).device
    outputs, right = [], 0
    for images, labels in loader:
        logits = model(images.to(device))
        outputs.append(logits)
        right += (logits.argmax(dim=1) == labels.to(device)).sum()
    return torch.cat(outputs).cpu(), int(right)


def scan(model: nn.Module, names: Sequence[str], sparsities: Sequence[float], loader: DataLoader[Any]) -> list[int]:
    """Images right with one weight pruned at each sparsity, the others left alone: the whole model for every point."""
    weights, right = dict(model.named_parameters()), []
    for name in names:
        dense = weights[name].detach().clone()
        for sparsity in sparsities:
            with torch.no_grad():
                weights[name].mul_(mask_of(weights[name], sparsity))
            right.append(evaluate(model, loader)[1])
            with torch.no_grad():
                weights[name].copy_(dense)
    return right


def train(
    model: nn.Module,
    loader: DataLoader[Any],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    masks: Mapping[str, Tensor],
) -> float:
    """One epoch; the mean loss of its images."""
    model.train()
    parameters = dict(model.named_parameters())
    device = next(model.parameters()).device
    summed, seen = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = cross_entropy(model(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        scheduler.step()
        with torch.no_grad():
            for name, mask in masks.items():
                parameters[name].mul_(mask)
        summed += loss.item() * len(labels)
        seen += len(labels)
    return summed / seen


def optimizer_of(model: nn.Module, epochs: int) -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.LRScheduler]:
    """As documented: the rate follows a cosine that is stepped once a batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
