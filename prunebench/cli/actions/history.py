"""Action of `prunebench history`."""

from __future__ import annotations

from pathlib import Path

from prunebench.cli.options import names
from prunebench.cli.shell import say, show
from prunebench.errors import HistoryError
from prunebench.gate import Thresholds
from prunebench.history import DEFAULT_FIGURES, History, collect_history, find_curves
from prunebench.history.exports import as_action_benchmarks, as_bmf, as_json
from prunebench.records import chosen_cases
from prunebench.report.history import history_text
from prunebench.report.plots import check_suffix, plot_history, write_figure
from prunebench.storage.files import check_targets, write_text


def history(
    paths: tuple[Path, ...],
    committed: bool,
    only: tuple[str, ...],
    figures: tuple[str, ...],
    torch: str | None,
    alpha: float,
    json_file: Path | None,
    plot_file: Path | None,
    bmf_file: Path | None,
    action_file: Path | None,
) -> None:
    """Show how sizes and accuracies went over commits, and their steps."""
    if plot_file:
        check_suffix(plot_file)
    smaller, bigger = (
        action_file and action_file.with_stem(f"{action_file.stem}-{way}") for way in ("smaller", "bigger")
    )
    targets = {"--json": json_file, "--plot": plot_file, "--bmf": bmf_file}
    check_targets(targets | {"--github-action-benchmark": smaller, "its other file": bigger}, inputs=paths)
    collected = _chosen(collect_history(paths, committed=committed), only, torch)
    for line in collected.left_out:
        say(f"left out: {line}", err=True)
    found = find_curves(collected, names(figures) or DEFAULT_FIGURES, thresholds=Thresholds(alpha=alpha))
    if not found.curves:
        raise HistoryError(f"no record has {', '.join(names(figures))}")
    figure = plot_history(found) if plot_file else None
    show(history_text(found))
    written = {
        json_file: as_json(found, collected) if json_file else None,
        bmf_file: as_bmf(found) if bmf_file else None,
        smaller: as_action_benchmarks(found, bigger_is_better=False) if smaller else None,
        bigger: as_action_benchmarks(found, bigger_is_better=True) if bigger else None,
    }
    for path, text in written.items():
        if path and text:
            write_text(path, text)
    if plot_file and figure:
        write_figure(figure, plot_file)
        say(f"Plot: {plot_file}")


def _chosen(collected: History, only: tuple[str, ...], torch: str | None) -> History:
    cases = chosen_cases(names(only), collected.cases) if only else [*collected.cases]
    kept = {case: [entry for entry in collected.cases[case] if torch in {None, entry.torch}] for case in cases}
    if not any(kept.values()):
        known = sorted({entry.torch for entries in collected.cases.values() for entry in entries})
        raise HistoryError(f"no record was made with torch {torch}: expected one of {', '.join(known)}")
    return History(cases={case: entries for case, entries in kept.items() if entries}, left_out=collected.left_out)
