"""The options of `prunebench plan` as one request, and the goal they come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunebench.machine.devices import Precision
from prunebench.planning import Cost, Goal, Inventory
from prunebench.planning.costs import BITS

FROM_SCAN = ("optimal", "documented", "compounding")
FROM_COUNTS = ("uniform", "erk")
"""Rules that need no weights; any other allocation may ask for them."""

TARGETS = {"size_percent": "size", "nonzeros": "size", "file_percent": "file", "macs_percent": "macs"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of one `prunebench plan` command."""

    rule: str
    scan_file: Path | None
    previous: str | None
    max_drop: float | None
    size_percent: float | None
    nonzeros: int | None
    file_percent: float | None
    macs_percent: float | None
    cost: Cost
    step: float
    caution: float
    extrapolate: bool
    workload: str | None
    checkpoint: Path | None
    data: Path | None
    device: str
    precision: Precision
    seed: int
    measure: bool
    search: int
    workers: int
    finetune: bool
    recipe: str | None
    choose_on: str
    images: int
    output: Path | None
    json_file: Path | None

    @property
    def targets(self) -> list[str]:
        """The options given that set a target of size."""
        return [name for name in TARGETS if getattr(self, name) is not None]

    @property
    def needs_model(self) -> bool:
        """True where weights are needed, and not only what a scan says of them."""
        return bool(self.scan_file is None or self.rule not in (*FROM_SCAN, *FROM_COUNTS) or self.needs_images)

    @property
    def needs_images(self) -> bool:
        """True where accuracy is measured, which takes images."""
        return bool(self.measure or self.search)

    def limit(self, inventory: Inventory) -> tuple[Cost, float] | None:
        """The cost that is limited, and to how many bits, bytes or MACs; None where no target was given."""
        if self.nonzeros is not None:
            return "size", BITS * self.nonzeros
        for target in self.targets:
            cost: Any = TARGETS[target]
            return cost, getattr(self, target) / 100 * inventory.dense_total(cost)
        return None

    def goal(self, inventory: Inventory) -> Goal:
        """The goal of an optimal plan: least loss within a limit of the cost, or least cost within --max-drop."""
        if limit := self.limit(inventory):
            return Goal(cost=limit[0], limit=limit[1])
        return Goal(cost=self.cost, max_drop=self.max_drop)
