"""Costs of a plan: nominal size, size in a sparse file, multiply-accumulates. Layer by layer, from counts alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.measure import nonzeros
from prunebench.pruning import SparsityPlan, pruned_count
from prunebench.sensitivity import Scan, ScannedLayer, scanned_layers

Cost = Literal["size", "file", "macs"]
"""`size`: nominal, in bits: 32 for every nonzero element over all parameters, as in the documented report.

`file`: in bytes, of the simplest sparse encoding: a layer is a bitmap of its nonzeros (one bit an element, filled up to
a byte) and their values (4 bytes each), or dense (4 bytes an element) where that is smaller; all other parameters are
dense; no header, no buffers, no compression.

`macs`: multiply-accumulates of one image, a layer's times its density: what a perfect sparse kernel would do.
"""

BITS = 32
BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """The layers of the model a plan starts from, the base, which may be sparse already, and what they cost.

    Attributes:
        layers: every prunable parameter in the model's order.
        elements, nonzeros: over all parameters of the base model, batch norm and bias included.
        fixed: prunable parameters that are not planned for, and stay as they are.
    """

    layers: Sequence[ScannedLayer]
    elements: int
    nonzeros: int
    fixed: Sequence[ScannedLayer] = ()

    @classmethod
    def of_scan(cls, scan: Scan) -> Inventory:
        """The base model of a scan."""
        return cls(layers=tuple(scan.layers), elements=scan.elements, nonzeros=scan.nonzeros)

    @classmethod
    def of_model(cls, model: nn.Module, example: Tensor | Sequence[int]) -> Inventory:
        """A model; `example` is a batch of inputs (n, ...), or the shape of one."""
        elements = sum(parameter.numel() for parameter in model.parameters())
        layers = tuple(scanned_layers(model, example))
        return cls(layers=layers, elements=elements, nonzeros=sum(nonzeros(model).values()))

    def without(self, names: Collection[str]) -> Inventory:
        """The same model with fewer layers to plan for; the others stay as they are."""
        layers = tuple(layer for layer in self.layers if layer.name not in names)
        fixed = (*self.fixed, *(layer for layer in self.layers if layer.name in names))
        return Inventory(layers=layers, elements=self.elements, nonzeros=self.nonzeros, fixed=fixed)

    def as_dense(self) -> Inventory:
        """The same layers without zeros."""
        layers = tuple(layer.model_copy(update={"nonzeros": layer.numel}) for layer in self.layers)
        zeros = sum(layer.numel - layer.nonzeros for layer in self.layers)
        return replace(self, layers=layers, nonzeros=self.nonzeros + zeros)

    @property
    def base_kept(self) -> dict[str, int]:
        """Nonzero elements of the base model by layer: no plan keeps more."""
        return {layer.name: layer.nonzeros for layer in self.layers}

    @property
    def other_nonzeros(self) -> int:
        """Nonzero elements outside the layers: batch norm and bias, which no plan touches."""
        return self.nonzeros - sum(layer.nonzeros for layer in self.layers)

    def kept(self, sparsity: Mapping[str, float]) -> dict[str, int]:
        """Elements that are left of each layer after pruning the base model by `sparsity`.

        Raises:
            PlanError: a layer has no sparsity, or one outside [0, 1].
        """
        plan = SparsityPlan(sparsity)
        for layer in self.layers:
            if layer.name not in plan:
                raise PlanError(f"no sparsity for '{layer.name}': give every layer one, 0 keeps it dense")
        return {
            layer.name: min(layer.nonzeros, layer.numel - pruned_count(layer.numel, plan[layer.name], name=layer.name))
            for layer in self.layers
        }

    def sparsity(self, kept: Mapping[str, int]) -> dict[str, float]:
        """The sparsity of each layer, with the fewest digits, that keeps exactly so many elements."""
        return {layer.name: shortest_sparsity(layer.numel - kept[layer.name], layer.numel) for layer in self.layers}

    def total(self, cost: Cost, kept: Mapping[str, int]) -> float:
        """The cost of the whole model with so many elements kept of each layer; bits, bytes or MACs of an image."""
        return sum(layer_cost(cost, layer, kept[layer.name]) for layer in self.layers) + self.others(cost)

    def dense_total(self, cost: Cost) -> float:
        """The cost of the dense model, every parameter nonzero."""
        others = self.elements - sum(layer.numel for layer in self.layers)
        dense = sum(layer_cost(cost, layer, layer.numel) for layer in self.layers)
        macs = sum(layer.macs for layer in self.fixed)
        return dense + {"size": BITS * others, "file": BYTES * others, "macs": macs}[cost]

    def percent(self, cost: Cost, kept: Mapping[str, int]) -> float:
        """`total` in percent of `dense_total`."""
        return 100 * self.total(cost, kept) / self.dense_total(cost)

    def others(self, cost: Cost) -> int:
        """The cost of everything outside the layers, whatever the plan."""
        others = self.elements - sum(layer.numel for layer in self.layers)
        macs = round(sum(layer_cost("macs", layer, layer.nonzeros) for layer in self.fixed))
        return {"size": BITS * self.other_nonzeros, "file": BYTES * others, "macs": macs}[cost]


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Two percents with two decimals, or with as many as it takes to see that they differ."""
    for digits in range(2, 16):
        texts = f"{first:.{digits}f}", f"{second:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


def layer_cost(cost: Cost, layer: ScannedLayer, kept: int) -> float:
    """The cost of one layer with `kept` nonzero elements: bits, bytes or MACs of one image."""
    if cost == "size":
        return BITS * kept
    if cost == "file":
        return min(BYTES * layer.numel, -(-layer.numel // 8) + BYTES * kept)
    return layer.macs * kept / layer.numel


def shortest_sparsity(pruned: int, numel: int) -> float:
    """The sparsity with the fewest decimals that prunes exactly `pruned` of `numel` elements."""
    for digits in range(17):
        sparsity = round(pruned / numel, digits)
        if 0 <= sparsity <= 1 and pruned_count(numel, sparsity) == pruned:
            return sparsity
    return pruned / numel
