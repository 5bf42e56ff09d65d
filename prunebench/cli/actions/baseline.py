"""Actions of `prunebench baseline`."""

from __future__ import annotations

import sys
from pathlib import Path

from prunebench.baselines.approval import approve as approve_records
from prunebench.baselines.approval import chosen_records, remove_baselines, superseded
from prunebench.baselines.collected import collect
from prunebench.baselines.shelf import list_baselines, read_baseline
from prunebench.cli.options import names
from prunebench.cli.shell import say, show
from prunebench.errors import RecordError
from prunebench.records import RunRecord, chosen_cases
from prunebench.report import baseline_text, baselines_table, layer_table, scan_baseline_text, scan_baselines_table
from prunebench.sensitivity import Scan


def list_(folder: Path) -> None:
    """List the baselines, who approved them, when and why. Exits with 2 where one is damaged."""
    found, damaged = [], []
    for path in list_baselines(folder).values():
        try:
            found.append(read_baseline(path))
        except RecordError as error:
            damaged.append(str(error))
    runs = [baseline for baseline in found if isinstance(baseline.record, RunRecord)]
    scans = [baseline for baseline in found if isinstance(baseline.record, Scan)]
    if runs:
        show(baselines_table(runs))
    if scans:
        show(f"{chr(10) * bool(runs)}{scan_baselines_table(scans)}")
    if not found:
        say(f"no baselines in '{folder}'")
    for message in damaged:
        say(f"error: {message}", err=True)
    sys.exit(2 if damaged else 0)


def show_(case: str, folder: Path) -> None:
    """Show the baseline of CASE. Its approval, layers, sizes and accuracies; of a scan its curves."""
    paths = list_baselines(folder)
    (chosen,) = chosen_cases([case], paths)
    found = read_baseline(paths[chosen])
    if isinstance(found.record, RunRecord):
        show(f"{baseline_text(found)}\n\n{layer_table(found.record)}")
    else:
        show(scan_baseline_text(found))


def approve(run: Path, only: tuple[str, ...], reason: str, incomparable: tuple[str, ...], folder: Path) -> None:
    """Make records of RUN the baselines of their cases."""
    found = collect(run)
    records = chosen_records(found, names(only))
    on_purpose = chosen_cases(names(incomparable), records)
    for made in approve_records(records, folder, reason=reason, incomparable=on_purpose):
        replaced = f"replaces {made.approval.replaced[:12]}" if made.approval.replaced else "is its first"
        say(f"approved {made.case}: {found.paths[made.case]} {replaced}, by {made.approval.by}")


def remove(only: tuple[str, ...], yes: bool, folder: Path) -> None:
    """Remove baselines that nothing can be compared with any more."""
    paths = list_baselines(folder)
    reasons = dict.fromkeys(chosen_cases(names(only), paths), "named") if only else superseded(paths)
    for case, reason in reasons.items():
        say(f"{case}: {reason}")
    if reasons and yes:
        remove_baselines([paths[case] for case in reasons], folder)
    say(f"{len(reasons)} of {len(paths)} baselines {'removed' if yes else 'would be removed; do it with --yes'}")
