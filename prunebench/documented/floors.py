"""Floors: limits that a run promises to keep, in reviewed source or in a user's TOML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prunebench.storage.documents import Part

Figure = Literal[
    "accuracy_dense",
    "accuracy_before",
    "accuracy_best",
    "change",
    "size_percent",
    "size_mib",
    "file_mib",
    "latency_ratio",
]
"""What a floor can limit: accuracies in percent (of the dense model, after pruning, of the best epoch); `change`, the
best epoch's accuracy less the dense model's, in points; nominal size in percent of the dense model's, or in MiB;
MiB of the sparse file, measured where the extra `pack` is installed; seconds of the dense model over those of the model
that is kept, measured where the run asks for it. What follows fine-tuning is not checked of a record without it."""


class Floor(Part):
    """A limit on one figure of a record, and why it is where it is.

    Attributes:
        least, most: at least one of them; the limit itself is allowed.
        rule: for people, such as "documented 92.84 - 0.5".
    """

    figure: Figure
    least: float | None = None
    most: float | None = None
    rule: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _limits_something(self) -> Floor:
        if self.least is None and self.most is None:
            raise ValueError(f"a floor on {self.figure} needs least or most")
        return self
