"""The method of a run: what is pruned first, as one, how much of each layer, and when. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

ELEMENT = "element"
"""The granularity of everything that names none."""

ONE_SHOT = "one-shot"
"""The pruning schedule of everything that names none."""

TotalOf = Literal["elements", "size", "file", "macs"]
"""What a total is a share of: all prunable elements, or a cost of the dense model."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """Criterion, granularity, allocation and pruning schedule, by their names: `prunebench methods` lists them.

    Attributes:
        criterion: which units are pruned first.
        granularity: what is pruned as one.
        allocation, total, total_of: in the place of a table: how `total`, the share to prune of what `total_of` names,
            is shared over the layers.
        limits: the largest sparsities of layers, by pattern of their names, in such an allocation.
        pruning_schedule, schedule_settings: when it is pruned; settings of the schedule, by name.
        evidence_examples: training examples that a criterion's evidence is of; None for 1,000, or all where there are
            fewer.
        recalibrated: batch norm's statistics are estimated anew after pruning, before anything is evaluated.
    """

    criterion: str = "magnitude"
    granularity: str = ELEMENT
    allocation: str | None = None
    total: float | None = None
    total_of: TotalOf = "elements"
    limits: Mapping[str, float] = field(default_factory=dict, hash=False)
    pruning_schedule: str = ONE_SHOT
    schedule_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    evidence_examples: int | None = None
    recalibrated: bool = False

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    @property
    def departures(self) -> dict[str, Any]:
        """Settings that are not as documented, by attribute."""
        usual = Method()
        return {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) != getattr(usual, each.name)
        }

    @property
    def words(self) -> str:
        """The departures from the documented method in words; empty where there are none."""
        parts = [
            f"by {self.criterion}" * (self.criterion != "magnitude"),
            f"of granularity {self.granularity}" * (self.granularity != ELEMENT),
            f"shared by {self.allocation}" * (self.allocation is not None),
            f"total of {self.total_of}" * (self.total_of != "elements"),
            "with limits" * bool(self.limits),
            f"by pruning schedule {self.pruning_schedule}" * (self.pruning_schedule != ONE_SHOT),
            "recalibrated" * self.recalibrated,
        ]
        return ", ".join(filter(None, parts))
