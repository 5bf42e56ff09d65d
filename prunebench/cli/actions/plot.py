"""Actions of `prunebench plot`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.baselines.collected import collect, read_any_scan
from prunebench.cli.shell import say
from prunebench.documented.runs import REPORT, RUNS
from prunebench.errors import RecordError
from prunebench.models import as_array, load_checkpoint_, prunable_parameters, state_digest
from prunebench.records import RunRecord
from prunebench.report.plots import (
    NEAR_ZERO,
    LayerCount,
    check_suffix,
    documented_points,
    layer_counts,
    plot_frontier,
    plot_parameters,
    plot_sensitivity,
    plot_weights,
    record_points,
    write_figure,
)
from prunebench.sensitivity import Scan
from prunebench.storage.files import check_targets
from prunebench.workloads import Workload, find_workload
from prunebench.workloads.dense import built


def sensitivity(scans: tuple[Path, ...], floor: float | None, lowest: float | None, output: Path) -> None:
    """Draw the curves of one to four SCANS, one panel a layer."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=scans)
    found = {name: read_any_scan(path) for name, path in _names(scans).items()}
    write_figure(plot_sensitivity(found, floor=floor, lowest=lowest), output)
    say(f"Plot: {output}")


def parameters(source: Path, workload: str | None, output: Path) -> None:
    """Draw how many elements each layer of SOURCE holds and keeps. It is a scan, record, baseline or checkpoint."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=(source,))
    layers, name, note = (
        _counts_of_json(source)
        if source.suffix.lower() == ".json"
        else _counts_of_state(source, find_workload(workload))
    )
    write_figure(plot_parameters(layers, title=f"Elements of each layer of {name}", source=note), output)
    say(f"Plot: {output}")


def weights(checkpoints: tuple[Path, ...], workload: str | None, near_zero: float | None, output: Path) -> None:
    """Draw histograms of the weights of one or two checkpoints. One panel a layer; two to compare before and after."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=checkpoints)
    chosen = find_workload(workload)
    loaded = {name: _load(path, chosen) for name, path in _names(checkpoints).items()}
    figure = plot_weights(
        {name: layers for name, (layers, _) in loaded.items()},
        near_zero=near_zero or NEAR_ZERO,
        title=f"Weights of each layer of {_model_name(chosen)}",
        origin="; ".join(f"{name}: weights {digest[:12]}" for name, (_, digest) in loaded.items()),
    )
    write_figure(figure, output)
    say(f"Plot: {output}")


def frontier(records: tuple[Path, ...], documented: bool | None, output: Path) -> None:
    """Draw size against accuracy of RECORDS. Records, baselines, or folders of them, before and after fine-tuning."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=records)
    found = {name: collect(path) for name, path in _names(records).items()}
    for side in found.values():
        for case, reason in side.unusable.items():
            say(f"left out: {case}: {reason}", err=True)
    sides = {
        name: {case: record for case, record in side.records.items() if isinstance(record, RunRecord)}
        for name, side in found.items()
    }
    everything = [record for side in sides.values() for record in side.values()]
    cases = Counter(case for side in sides.values() for case in side)
    if max(cases.values(), default=0) > 1:  # the same case from several places: each place is a series
        points = [point for name, side in sides.items() for point in record_points(side.values(), suffix=f", {name}")]
    else:
        points = record_points(everything)
    if documented is None:
        documented = any(record.checkpoints.is_course_checkpoint for record in everything)
    sources = _sources(everything)
    if documented:
        points += documented_points(RUNS.values())
        sources.append(f"as documented: {REPORT}")
    write_figure(plot_frontier(points, sources=sources), output)
    say(f"Plot: {output}")


def _names(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Files by what the plot calls them: as little of their paths as tells them apart."""
    deepest = max((len(path.parts) for path in paths), default=0)
    for parts in range(1, deepest + 1):
        for last in ("stem", "name"):
            names = {str(Path(*path.parts[-parts:-1], getattr(path, last) or str(path))): path for path in paths}
            if len(names) == len({*paths}):
                return names
    return {str(path): path for path in paths}


def _counts_of_json(source: Path) -> tuple[list[LayerCount], str, str]:
    """The layers of a scan, record or baseline, what they belong to, and where the numbers come from."""
    found = collect(source)
    for case, reason in found.unusable.items():
        raise RecordError(f"cannot draw '{source}': {case}: {reason}")
    ((case, record),) = found.records.items()
    if isinstance(record, Scan):
        weights = f"weights {record.model_digest[:12]}{f' ({record.origin})' if record.origin else ''}"
        return layer_counts(record.layers), record.model, f"{source.name}: {weights}"
    note = f"{source.name}: {case}, pruned weights {record.checkpoints.pruned[:12]} from {record.checkpoints.origin}"
    return layer_counts(record.layers), f"{record.model}, {record.run}", note


def _counts_of_state(source: Path, workload: Workload) -> tuple[list[LayerCount], str, str]:

    layers, digest = _load(source, workload)
    counts = [
        LayerCount(name=name, elements=weights.size, nonzeros=int((weights != 0).sum()))
        for name, weights in layers.items()
    ]
    return counts, _model_name(workload), f"{source.name}: weights {digest[:12]}"


def _load(checkpoint: Path, workload: Workload) -> tuple[dict[str, NDArray[np.floating]], str]:
    """The prunable weights of a checkpoint, and the digest of all of it."""
    model = built(workload)
    load_checkpoint_(model, checkpoint)
    weights = {name: as_array(weight) for name, weight in prunable_parameters(model).items()}
    return weights, state_digest(model.state_dict())


def _model_name(workload: Workload) -> str:
    return workload.model or workload.name


def _sources(records: Iterable[RunRecord]) -> list[str]:
    """A line a dense checkpoint."""
    lines = {
        f"{record.checkpoints.origin}: weights {record.checkpoints.dense[:12]}; {record.data.name} "
        f"{record.data.digest[:12]}, {record.dense_accuracy.images:,} test images"
        + (f"; best epoch chosen on {record.finetuning.selected_on} images" if record.finetuning else "")
        for record in records
    }
    return sorted(lines)
