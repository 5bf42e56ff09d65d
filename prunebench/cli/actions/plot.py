"""Actions of `prunebench plot`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prunebench.baselines.collected import collect, read_any_scan
from prunebench.cli.shell import say
from prunebench.documented.runs import RUNS
from prunebench.errors import PlotError, RecordError
from prunebench.models import as_array, load_checkpoint_, prunable_parameters, state_digest
from prunebench.records import RunRecord
from prunebench.report.plots import (
    NEAR_ZERO,
    LayerCount,
    check_suffix,
    frontier_sources,
    plot_epochs,
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
    if source.suffix.lower() == ".json":
        figure = plot_parameters(_read(source))
    else:
        chosen = find_workload(workload)
        layers, digest = _load(source, chosen)
        counts = [
            LayerCount(name=name, elements=weights.size, nonzeros=int((weights != 0).sum()))
            for name, weights in layers.items()
        ]
        title = f"Elements of each layer of {_model_name(chosen)}"
        figure = plot_parameters(counts, title=title, source=f"{source.name}: weights {digest[:12]}")
    write_figure(figure, output)
    say(f"Plot: {output}")


def weights(sources: tuple[Path, ...], workload: str | None, near_zero: float | None, output: Path) -> None:
    """Draw histograms of the weights of SOURCES, one panel a layer: of one record, or of one or two checkpoints."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=sources)
    if len(sources) == 1 and sources[0].suffix.lower() == ".json":
        if near_zero is not None:
            raise PlotError("--near-zero is of checkpoints: a record holds no weights, only how many lie in each bin")
        figure = plot_weights(_read_run(sources[0]))
    else:
        chosen = find_workload(workload)
        loaded = {name: _load(path, chosen) for name, path in _names(sources).items()}
        figure = plot_weights(
            {name: layers for name, (layers, _) in loaded.items()},
            near_zero=near_zero or NEAR_ZERO,
            title=f"Weights of each layer of {_model_name(chosen)}",
            origin="; ".join(f"{name}: weights {digest[:12]}" for name, (_, digest) in loaded.items()),
        )
    write_figure(figure, output)
    say(f"Plot: {output}")


def epochs(record: Path, documented: bool | None, output: Path) -> None:
    """Draw the fine-tuning of RECORD: accuracy by epoch, and training loss. A baseline will do as well."""
    check_suffix(output)
    check_targets({"--output": output}, inputs=(record,))
    found = _read_run(record)
    wanted = found.checkpoints.is_course_checkpoint if documented is None else documented
    write_figure(plot_epochs(found, documented=RUNS.get(found.run) if wanted else None), output)
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
    drawn = [*points, *(RUNS.values() if documented else ())]
    write_figure(plot_frontier(drawn, sources=frontier_sources([*everything, *drawn])), output)
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


def _read(source: Path) -> RunRecord | Scan:
    """The scan or record in a file, which may be a baseline."""
    found = collect(source)
    for case, reason in found.unusable.items():
        raise RecordError(f"cannot draw '{source}': {case}: {reason}")
    (record,) = found.records.values()
    return record


def _read_run(source: Path) -> RunRecord:
    if isinstance(found := _read(source), Scan):
        raise RecordError(f"cannot draw '{source}': it is a scan: expected the record of a run")
    return found


def _load(checkpoint: Path, workload: Workload) -> tuple[dict[str, NDArray[np.floating]], str]:
    """The prunable weights of a checkpoint, and the digest of all of it."""
    model = built(workload)
    load_checkpoint_(model, checkpoint)
    weights = {name: as_array(weight) for name, weight in prunable_parameters(model).items()}
    return weights, state_digest(model.state_dict())


def _model_name(workload: Workload) -> str:
    return workload.model or workload.name
