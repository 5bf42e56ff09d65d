"""Approval: what a record must satisfy before it becomes a baseline; and the functions that change `baselines/`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from prunebench.baselines.approvers import changed_files, git_user
from prunebench.baselines.collected import Collected
from prunebench.baselines.shelf import (
    Approval,
    Baseline,
    approved,
    baseline_path,
    locked,
    read_baseline,
    write_baseline,
)
from prunebench.documented.runs import RUNS, run_digest
from prunebench.errors import ApprovalError, StorageError
from prunebench.gate import Status, check_record, compare_records
from prunebench.records import BASELINES, Record, RunRecord, case_id, chosen_cases
from prunebench.sensitivity import Scan
from prunebench.storage.revisions import CHANGED
from prunebench.workloads import BUILT_IN


def approve(
    records: Mapping[str, Record],
    folder: Path = BASELINES,
    *,
    reason: str,
    by: str | None = None,
    now: datetime | None = None,
    incomparable: Collection[str] = (),
) -> list[Baseline]:
    """Make `records`, by case, the baselines of their cases: all of them, or none where one is refused.

    A record that is worse than the baseline it replaces may be approved, that is what a reason is for. `by` is git's
    user unless given, `now` the time of the call. `incomparable` names the cases that may take the place of a baseline
    that they cannot be compared with.

    Raises:
        ApprovalError: no reason, nobody to name, a dirty tree (now, or when the record was made), a record under a
            floor or of another case, a scan that is not exact, or what is INCOMPARABLE with its baseline and not named
            so.
        RecordError: a record contradicts itself, or a baseline that stands there cannot be read.
        StorageError: the folder cannot be locked or written.
    """
    if not reason.strip():
        raise ApprovalError("an approval needs a reason, for whoever reads the baseline's history")
    with locked(folder):
        approver = by or git_user(folder)
        if not approver:
            raise ApprovalError("nobody to name as the approver: set it with 'git config user.name NAME'")
        if changed := changed_files(folder):
            shown = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
            raise ApprovalError(f"the working tree is dirty ({shown}): commit or stash it, then approve")
        at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
        baselines = []
        for case, record in records.items():
            path = baseline_path(case, folder)
            old = read_baseline(path) if path.is_file() else None
            replaced = old.digest if old else None
            baselines.append(approved(record, Approval(by=approver, at=at, reason=reason.strip(), replaced=replaced)))
            for objection in objections(case, record, old, incomparable=case in incomparable):
                raise ApprovalError(f"{case} is not approved: {objection}")
        for baseline in baselines:
            write_baseline(baseline, folder)
    return baselines


def remove_baselines(paths: Iterable[Path], folder: Path = BASELINES) -> None:
    """Remove baselines, and what a killed process left behind in `folder`.

    Raises:
        StorageError: the folder cannot be locked, or a file cannot be removed.
    """
    with locked(folder):
        for path in (*paths, *folder.glob("*/.*.tmp")):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot remove '{path}': {error.strerror or error}") from error


def superseded(paths: Mapping[str, Path]) -> dict[str, str]:
    """By case, why nothing can be compared with a baseline any more; one that can be is not listed.

    Of scans, and of a workload that is not one of prunebench's own, nothing is known and nothing said.

    Raises:
        RecordError: a baseline cannot be read.
    """
    reasons = ((case, _superseded(read_baseline(path).record)) for case, path in paths.items())
    return {case: reason for case, reason in reasons if reason}


def _superseded(record: Record) -> str | None:
    workload = BUILT_IN.get(record.workload) if isinstance(record, RunRecord) else None
    if workload is None or isinstance(record, Scan):
        return None
    if record.run in RUNS and record.recipe not in workload.recipes:  # of a run of your own the recipe may be too
        return f"the recipe {record.recipe} of {record.workload} is gone"
    if record.run in RUNS and record.run_digest != run_digest(RUNS[record.run]):
        return f"{record.run} has changed its sparsities, model or epochs"
    return None


def chosen_records(found: Collected, only: Collection[str] = ()) -> dict[str, Record]:
    """The records to approve: those of the cases in `only`; without it, the only one there is.

    Raises:
        UnknownNameError: a case that is not there.
        ApprovalError: several cases and none is named; or a case whose run failed, or whose file is damaged.
    """
    if not only and len(found.cases) != 1:
        raise ApprovalError(f"which of {len(found.cases)} cases? Name them with --only: {', '.join(found.cases)}")
    cases = chosen_cases(only or found.cases, found.cases)
    for case in cases:
        if case in found.unusable:
            raise ApprovalError(f"{case} is not approved: {found.unusable[case]}")
    return {case: found.records[case] for case in cases}


def objections(case: str, record: Record, old: Baseline | None = None, *, incomparable: bool = False) -> Iterator[str]:
    """Everything that speaks against making `record` the baseline of `case` in the place of `old`."""
    if case_id(record) != case:
        yield f"the record is of {case_id(record)}"
    yield from _dirty(record)
    if isinstance(record, Scan):
        yield from _not_exact(record)
    elif not record.dense_size_bits:
        yield "a dense size of 0 bits"  # of which a size in percent cannot be computed
        return
    else:
        yield from _under_floors(record)
    if old is not None and not incomparable:
        yield from _incomparable(case, old.record, record)


def _dirty(made: Record) -> Iterator[str]:
    if made.dirty:
        yield f"the record was made from a dirty tree, at revision {(made.revision or 'unknown')[:12]} with changes"
    if (made.prunebench_revision or "").endswith(CHANGED):
        yield f"the record was made by a changed prunebench, {made.prunebench_revision}"


def _not_exact(scan: Scan) -> Iterator[str]:
    if partial := [point for point in scan.points if point.correct_bits is None]:
        yield (
            f"{len(partial)} of {len(scan.points)} points were not answered in full, and nothing can be compared with "
            "them: scan exactly"
        )
    if not scan.points:
        yield "it has no points"


def _incomparable(case: str, old: Record, new: Record) -> Iterator[str]:
    for verdict in compare_records({case: old}, {case: new}):
        if verdict.status is Status.INCOMPARABLE and not verdict.advisory:
            yield (
                f"it is INCOMPARABLE with the baseline it would replace ({verdict.check}: {verdict.measured}); if that "
                f"is meant, name it with --incomparable {case}"
            )


def _under_floors(record: RunRecord) -> Iterator[str]:
    for verdict in check_record(record):
        if verdict.status is Status.FAIL:
            yield f"below its floor: {verdict.check}: {verdict.measured}, expected {verdict.expected} ({verdict.rule})"
    documented = RUNS.get(record.run)
    if documented is not None and record.run_digest != run_digest(documented):
        yield f"its sparsities, model or epochs are not those of the documented {record.run}"
