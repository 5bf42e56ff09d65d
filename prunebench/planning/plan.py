"""`Plan`: sparsities with what they cost and what is predicted of them, and the table of it that runs; its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from prunebench.planning.costs import Inventory
from prunebench.planning.curves import Curves
from prunebench.planning.trials import Trial
from prunebench.storage.documents import (
    Count,
    Digest,
    Part,
    Percent,
    Shown,
    check_kind,
    kind_of,
    parsed,
    read_document,
    render,
    verified,
)
from prunebench.storage.files import write_text

SCHEMA_VERSION = 1


class PlannedLayer(Part):
    """One layer of a plan.

    Attributes:
        base_nonzeros: of the model the plan starts from.
        kept: elements left.
        drop: points that this layer alone is predicted to lose, by its curve; negative where it rises; None where the
            curve does not reach so far, or there is none.
    """

    name: str
    numel: Count
    base_nonzeros: Count
    sparsity: Annotated[float, Field(ge=0, le=1)]
    kept: Count
    drop: float | None = None


class Plan(Shown, Part):
    """Sparsities for every prunable parameter, absolute, and what they come to.

    Attributes:
        rule: `optimal`, `documented`, `compounding`, `search`, or the name of an allocation.
        source: lines for people: the scan, the target, the search; they head the table.
        layers: in the model's order.
        elements, nonzeros: over all parameters, batch norm and bias included.
        size_percent: nonzeros in percent of elements.
        file_bytes, file_percent, macs, macs_percent: see `Cost`; percents of the dense model's.
        base_accuracy: percent, of the scan; None without one.
        predicted_accuracy: percent, on the scan's images; None without a scan or where it does not reach so far.
    """

    rule: str
    model: str
    source: list[str]
    layers: list[PlannedLayer]
    elements: Count
    nonzeros: Count
    size_percent: Percent
    file_bytes: Count
    file_percent: Percent
    macs: Annotated[float, Field(ge=0)]
    macs_percent: Percent
    base_accuracy: Percent | None = None
    predicted_accuracy: Percent | None = None

    @property
    def sparsity(self) -> dict[str, float]:
        """Sparsity by layer: what `prune_` takes."""
        return {layer.name: layer.sparsity for layer in self.layers}

    @property
    def as_toml(self) -> str:
        """A sparsity table for `prunebench run` and `prunebench lint`; it prunes exactly the planned elements."""
        pruned = sum(layer.numel - layer.kept for layer in self.layers)
        size = [f"size_percent = {100 * (self.elements - pruned) / self.elements:.2f}"]
        if any(layer.base_nonzeros < layer.numel for layer in self.layers):
            size = []  # a run measures percents of its own base model, which is smaller
        lines = [
            *(f"# {_in_a_line(line)}" for line in ("Made by prunebench plan.", *self.source)),
            f"model = {_quoted(self.model)}",
            f"source = {_quoted(f'prunebench plan, rule {self.rule}')}",
            *size,
            "",
            "[sparsity]",
            *(f"{_quoted(layer.name)} = {layer.sparsity!r}" for layer in self.layers),
        ]
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for what TOML does not take."""
    return json.dumps(_encodable(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _in_a_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in _encodable(text))


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()  # a file's name may hold bytes that are no text


class Reported(Part):
    """The base model and a plan on images that neither was chosen by, in percent.

    Attributes:
        predicted: of the plan, by the curves, for these images; None where they do not reach so far, or there are none.
        finetuned: None where nothing was fine-tuned.
    """

    images: Count
    base: Percent
    predicted: Percent | None = None
    measured: Percent
    finetuned: Percent | None = None


class PlanRecord(Part):
    """A plan and what was measured for it, as it is kept.

    Attributes:
        base_digest: of the base model's weights.
        choosing_digest: of the images that plans were chosen by; None where nothing was searched for.
        settings: what else measurements depend on, for example the recipe that fine-tuned; empty where there are none.
        plan: None while the first search goes on.
        trials: of every search, in the order they were measured.
        reported: of the plan; None where it was not measured.
    """

    schema_version: Literal[1] = 1
    base_digest: Digest | None = None
    choosing_digest: Digest | None = None
    settings: str = ""
    plan: Plan | None = None
    trials: list[Trial] = Field(default_factory=list)
    reported: Reported | None = None


def make_plan(
    rule: str,
    sparsity: Mapping[str, float],
    inventory: Inventory,
    *,
    model: str,
    source: Sequence[str] = (),
    curves: Curves | None = None,
) -> Plan:
    """A plan from sparsities: exact counts, costs, and a prediction where the curves reach.

    Raises:
        PlanError: a layer has no sparsity, or one outside [0, 1].
    """
    kept = inventory.kept(sparsity)
    exact = inventory.sparsity(kept)
    return Plan(
        rule=rule,
        model=model,
        source=list(source),
        layers=[
            PlannedLayer(
                name=layer.name,
                numel=layer.numel,
                base_nonzeros=layer.nonzeros,
                sparsity=exact[layer.name],
                kept=kept[layer.name],
                drop=_drop(curves, layer.name, exact[layer.name]),
            )
            for layer in inventory.layers
        ],
        elements=inventory.elements,
        nonzeros=sum(kept.values()) + inventory.other_nonzeros,
        size_percent=inventory.percent("size", kept),
        file_bytes=round(inventory.total("file", kept)),
        file_percent=inventory.percent("file", kept),
        macs=inventory.total("macs", kept),
        macs_percent=inventory.percent("macs", kept) if inventory.dense_total("macs") else 0.0,
        base_accuracy=curves.base_accuracy if curves else None,
        predicted_accuracy=curves.predicted_accuracy(exact) if curves else None,
    )


def _drop(curves: Curves | None, name: str, sparsity: float) -> float | None:
    if curves is None or sparsity > curves[name].limit:
        return None
    return curves[name].drop_at(sparsity)


def write_plan(record: PlanRecord, path: Path) -> None:
    """Write as JSON with sorted keys and a digest of the content; whole or not at all."""
    write_text(path, render(record.model_dump(mode="json")))


def read_plan(path: Path) -> PlanRecord:
    """Read what `write_plan` wrote.

    Raises:
        RecordError: absent, not JSON, no plan, edited since it was written, of a newer schema, or damaged.
    """
    content = read_document(path)
    check_kind(content, "a plan", path=path)
    content = verified(content, path=path, newest=SCHEMA_VERSION)
    return parsed(PlanRecord, content, path=path)


def is_plan(path: Path) -> bool:
    """True where a file says that it is a plan, whether or not it can be used.

    Raises:
        RecordError: absent, or not JSON.
    """
    return kind_of(read_document(path)) == "a plan"
