"""Content of a report: what a reader is shown, in order, before a format makes a page or Markdown of it."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Self

from prunebench.baselines.collected import Collected, collect
from prunebench.baselines.comparison import case_of, compare_sides, worst_status
from prunebench.baselines.shelf import Approval
from prunebench.baselines.versions import AcrossVersions, at
from prunebench.documented.runs import RUNS, DocumentedRun, is_documented_run
from prunebench.gate import Status, Thresholds, Verdict, check_record, worst_first
from prunebench.planning.plan import PlanRecord, is_plan, read_plan
from prunebench.records import RunRecord
from prunebench.report.sentences import EFFECT, Finding, Headline, findings, headline, unseen
from prunebench.report.table import Cell, Table
from prunebench.report.tables import UNDOCUMENTED, short_name
from prunebench.sensitivity import Scan

DROPS = (1.0, 2.0, 5.0)
"""Points of accuracy for which a scan's table says how far each layer can go."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One record and what was found of it.

    Attributes:
        status: the worst verdict that counts; None where nothing was judged.
        reference: the record it was compared with; None where there is none.
        approval: of a record that is itself an approved baseline.
    """

    case: str
    status: Status | None
    findings: Sequence[Finding]
    approval: Approval | None

    @property
    def anchor(self) -> str:
        """The section's name within a page."""
        return "case-" + "".join(letter if letter.isalnum() else "-" for letter in self.case)


@dataclass(frozen=True, kw_only=True)
class RunSection(Section):
    """A run."""

    record: RunRecord
    reference: RunRecord | None

    @property
    def documented(self) -> DocumentedRun | None:
        """The documented run that this is one of."""
        return RUNS[self.record.run] if is_documented_run(self.record.run, self.record.run_digest) else None


@dataclass(frozen=True, kw_only=True)
class ScanSection(Section):
    """A sensitivity scan."""

    record: Scan
    reference: Scan | None


@dataclass(frozen=True, kw_only=True)
class PlanSection:
    """A sparsity plan, by the name of its file."""

    name: str
    record: PlanRecord


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a report shows.

    Attributes:
        headline: the one thing to know.
        findings: what did not simply pass, worst first.
        verdicts: all of them, worst first.
        runs, scans: worst first, then by case.
        notes: what was left out, and why.
        across: several versions side by side; None for a report on one.
    """

    title: str
    created: str
    headline: Headline
    findings: Sequence[Finding]
    verdicts: Sequence[Verdict]
    runs: Sequence[RunSection] = ()
    scans: Sequence[ScanSection] = ()
    plans: Sequence[PlanSection] = ()
    notes: Sequence[str] = ()
    across: AcrossVersions | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """Verdicts by status, worst first; those that decide nothing apart."""
        return Counter(f"{each.status}{' (for information)' if each.advisory else ''}" for each in self.verdicts)

    @property
    def unseen(self) -> Sequence[str]:
        """Sentences on what could have been missed."""
        return unseen(self.verdicts)


@dataclass
class Sources:
    """Records that a report is made of.

    Attributes:
        records, approvals, paths: by case; approvals of those that are approved baselines.
        plans: by the name of their file.
        notes: what was left out, and why.
        unusable: why there is no record, by case.
        is_folder: whether a case that is not here may be called missing.
    """

    records: dict[str, RunRecord | Scan] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    plans: dict[str, PlanRecord] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    is_folder: bool = False

    @classmethod
    def of(cls, found: Collected) -> Self:
        """The records of one file or folder."""
        sources = cls()
        sources._take(found)
        return sources

    def add(self, path: Path) -> None:
        """Add a record, a baseline, a scan, a plan, or a folder of records; of several of a case, the newest counts.

        Raises:
            RecordError: there is nothing there, or a file that is none of these.
        """
        if path.is_file() and is_plan(path):
            self._add_plan(path)
        else:
            self._take(collect(path))

    def _take(self, found: Collected) -> None:
        self.is_folder = self.is_folder or found.is_folder
        self.unusable |= found.unusable
        for case, record in found.records.items():
            if case in self.records and self.records[case].created > record.created:
                self.notes.append(f"{case}: '{found.paths[case]}' is older than '{self.paths[case]}', and left out.")
                continue
            self.records[case], self.paths[case] = record, found.paths[case]
            self.approvals.pop(case, None)
            self.approvals |= {case: found.approvals[case]} if case in found.approvals else {}

    def _add_plan(self, path: Path) -> None:
        plan = read_plan(path)
        if plan.plan is None:
            self.notes.append(f"'{path}' holds no plan yet: its search was stopped, and goes on where it is.")
        else:
            self.plans[path.name] = plan


def judged(sources: Sources, reference: Collected, *, thresholds: Thresholds) -> list[Verdict]:
    """Verdicts on all records but the approved ones, against `reference`; and on every run's own floors."""
    new = {case: record for case, record in sources.records.items() if case not in sources.approvals}
    side = Collected(records=new, paths=sources.paths, unusable=sources.unusable, is_folder=sources.is_folder)
    verdicts = compare_sides(side, reference, thresholds=thresholds) if side.cases else []
    for record in sources.records.values():
        verdicts += check_record(record) if isinstance(record, RunRecord) else []
    return verdicts


def make_report(
    sources: Sources,
    verdicts: Iterable[Verdict],
    *,
    references: Mapping[str, RunRecord | Scan],
    title: str = "prunebench",
) -> Report:
    """A report on records and the verdicts on them; `references` are the records they were compared with, by case."""
    verdicts = worst_first(verdicts)
    by_case: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_case.setdefault(case_of(verdict), []).append(verdict)

    def section(case: str) -> dict[str, object]:
        found = by_case.get(case, [])
        return {
            "case": case,
            "status": worst_status(found) if found else None,
            "findings": findings(found, records=sources.paths),
            "approval": sources.approvals.get(case),
            "record": sources.records[case],
            "reference": references.get(case) if case not in sources.approvals else None,
        }

    worst = {case: number for number, case in enumerate(dict.fromkeys(map(case_of, _counting(verdicts))))}
    cases = sorted(sources.records, key=lambda case: (worst.get(case, len(worst)), case))
    return Report(
        title=title,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        headline=headline(verdicts),
        findings=findings(verdicts, records=sources.paths),
        verdicts=verdicts,
        runs=[RunSection(**section(c)) for c in cases if isinstance(sources.records[c], RunRecord)],  # type: ignore[arg-type]
        scans=[ScanSection(**section(c)) for c in cases if isinstance(sources.records[c], Scan)],  # type: ignore[arg-type]
        plans=[PlanSection(name=name, record=plan) for name, plan in sources.plans.items()],
        notes=sources.notes,
    )


def report_versions(versions: Mapping[str, Collected], found: AcrossVersions, *, title: str = "prunebench") -> Report:
    """A report on several versions; of the records those of the last are shown, beside the first version's."""
    first, last = found.versions[0], found.versions[-1]
    records, references = (
        {at(case, last): record for case, record in versions[version].records.items()} for version in (last, first)
    )
    made = make_report(Sources(records=records), found.verdicts, references=references, title=title)
    unadvised = [replace(finding, next_step="", command="") for finding in made.findings]
    return replace(made, headline=replace(made.headline, next_step=""), findings=unadvised, across=found)


def _counting(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those that count and did not pass: cases are ordered by them."""
    return [verdict for verdict in verdicts if not verdict.advisory and verdict.status is not Status.PASS]


def overview(runs: Sequence[RunSection]) -> Table:
    """A line a run: verdict, sizes, accuracies, change, figures of use where measured, the layer pruned most."""
    smallest = min((section.record.size_percent for section in runs), default=math.nan)
    rows = []
    deployed = {
        name: value for name, value in _DEPLOYED.items() if any(value(section.record) is not None for section in runs)
    }
    for section in runs:
        record, documented, tuned = section.record, section.documented, section.record.finetuning
        size = f"{record.size_percent:.2f}" + (" (smallest)" if record.size_percent == smallest else "")
        most = max(record.layers, key=lambda layer: layer.sparsity)
        rows.append(
            [
                Cell(section.case, link=section.anchor),
                _status(section),
                size,
                UNDOCUMENTED
                if documented is None or documented.size_percent is None
                else documented.size_percent.value,
                f"{record.dense_accuracy.percent:.2f}",
                f"{record.pruned_accuracy.percent:.2f}",
                f"{tuned.best.percent:.2f}" if tuned else UNDOCUMENTED,
                f"{record.change_after_finetuning:+.2f}" if tuned else UNDOCUMENTED,
                *(_number(value(record)) for value in deployed.values()),
                f"{short_name(most.name)}, {most.sparsity:.2f}" if most.sparsity else "none",
            ]
        )
    headers = [
        "run",
        "verdict",
        "size, %",
        "documented size",
        "dense, %",
        "pruned, %",
        "fine-tuned, %",
        "change, points",
    ]
    return Table(rows=rows, headers=[*headers, *deployed, "pruned most"], texts=1)


_DEPLOYED: Mapping[str, Callable[[RunRecord], float | None]] = MappingProxyType(
    {
        "packed file, MiB": lambda record: record.file_mib,
        "shrunk, % of parameters": lambda record: (
            100 * record.shrunk.elements / record.elements if record.shrunk else None
        ),
        "times as fast": lambda record: record.latency.ratio if record.latency else None,
    }
)
"""Columns on the model as it is deployed; each is there where a run has it."""


def _status(section: Section) -> Cell:
    if section.approval is not None and section.status in (None, Status.PASS):
        return Cell("approved baseline", status="PASS")
    return Cell(section.status or "not judged", status=str(section.status or ""))


def figures(record: RunRecord) -> dict[str, float]:
    """The figures of a run that two runs are compared in, by what they are called, with the unit."""
    tuned = record.finetuning
    found = {
        "nominal size, MiB": record.pruned_size_bits / 8 / 2**20,
        "nominal size, % of dense": record.size_percent,
        "nonzero elements": float(sum(record.nonzeros.values())),
        "dense file, bytes": float(record.pruned_file_bytes),
        "accuracy dense, %": record.dense_accuracy.percent,
        "accuracy pruned, %": record.pruned_accuracy.percent,
    }
    if record.file_mib is not None:
        found["packed file, MiB"] = record.file_mib
    if record.shrunk is not None:
        found["shrunk, parameters"] = float(record.shrunk.elements)
        found["shrunk, multiply-accumulates"] = float(record.shrunk.macs)
        found["accuracy shrunk, %"] = record.shrunk.answers.percent
    if record.exported is not None:
        found[f"accuracy in {record.exported.runtime}, %"] = record.exported.answers.percent
    if record.latency is not None:
        found[f"times as fast as dense, {record.latency.runtime}"] = record.latency.ratio
    if tuned is not None:
        found["accuracy best epoch, %"] = tuned.best.percent
        found["accuracy last epoch, %"] = tuned.last.percent
        found["change, best - dense, points"] = record.change_after_finetuning or 0.0
        found["training loss, last epoch"] = tuned.losses[-1]
    found |= {f"nonzeros of {short_name(layer.name)}": float(layer.nonzeros) for layer in record.layers}
    timings = record.timings
    kinds = {"pruning": timings.prune, "evaluation": timings.evaluate, "an epoch": timings.epochs}
    return found | {f"time of {kind}, s": median(samples) for kind, samples in kinds.items() if samples}


def difference_table(section: RunSection) -> Table | None:
    """The figures beside those of the record it was compared with; None where there is none."""
    if section.reference is None:
        return None
    before, after = figures(section.reference), figures(section.record)
    rows = [
        [name, *(_number(side.get(name)) for side in (before, after)), _difference(before.get(name), after.get(name))]
        for name in {**before, **after}
    ]
    return Table(rows=rows, headers=["figure", "baseline", "now", "difference"])


def timings_table(section: RunSection) -> Table:
    """Seconds of each kind, with their spread, beside the baseline's where there is one."""
    rows = []
    before = section.reference.timings.model_dump() if section.reference else {}
    names = {"prune": "pruning", "evaluate": "evaluation of all test images", "epochs": "an epoch of fine-tuning"}
    for kind, samples in section.record.timings.model_dump().items():
        if samples:
            old = f"{median(before[kind]):.3g}" if before.get(kind) else UNDOCUMENTED
            spread = [f"{value:.3g}" for value in (min(samples), median(samples), max(samples))]
            rows.append([names[kind], str(len(samples)), *spread, old])
    return Table(rows=rows, headers=["seconds", "times", "fastest", "median", "slowest", "baseline's median"])


def reach_table(scan: Scan) -> Table:
    """A line a layer pruned alone: the largest scanned sparsity that keeps accuracy within some drops."""
    rows = []
    for layer in scan.layers:
        if curve := scan.curve(layer.name):
            row = [short_name(layer.name), f"{layer.numel:,}"]
            for drop in DROPS:
                kept = [point.sparsity for point in curve if scan.base_accuracy - point.low <= drop]
                row.append(f"{max(kept):g}" if kept else "none")
            rows.append(row)
    return Table(rows=rows, headers=["layer", "elements", *(f"within {drop:g} points" for drop in DROPS)])


def sight_table(verdicts: Iterable[Verdict]) -> Table:
    """The smallest drop in accuracy that each comparison would have failed, largest first."""
    seen = [verdict for verdict in verdicts if EFFECT in verdict.evidence]
    rows = [
        [case_of(verdict), verdict.check, verdict.smallest_effect]
        for verdict in sorted(seen, key=lambda each: -float(each.evidence[EFFECT] or math.inf))
    ]
    return Table(rows=rows, headers=["case", "comparison", "smallest drop that would have failed"], texts=2)


def command(record: RunRecord) -> str:
    """The command that makes such a record again."""
    words = ["prunebench", "run", record.run, "--workload", record.workload, "--recipe", record.recipe]
    if record.seed:
        words += ["--seed", str(record.seed)]
    if record.precision != "fp32":
        words += ["--precision", record.precision]
    if not record.checkpoints.is_own:
        words += ["--checkpoint", record.checkpoints.origin]
    if record.finetuning is None:
        words.append("--no-finetune")
    elif record.finetuning.selected_on != "test":
        words += ["--select-on", record.finetuning.selected_on]
    return shlex.join(words)


def provenance(record: RunRecord | Scan, approval: Approval | None) -> list[tuple[str, str]]:
    """Where a record comes from: a name and a text for each fact."""
    facts = [("recorded", record.created), ("revision", _revision(record))]
    if approval is not None:
        facts.append(("approved", f"{approval.at} by {approval.by.partition(' <')[0]}: {approval.reason}"))
    if isinstance(record, Scan):
        facts += [("data", f"{record.data}, {record.data_digest[:12]}"), ("weights", record.model_digest[:12])]
    else:
        facts += [
            ("data", f"{record.data.name}, {record.data.digest[:12]}"),
            ("dense weights", f"{record.checkpoints.origin}, {record.checkpoints.dense[:12]}"),
            ("masks", record.masks_digest[:12]),
            ("seed", str(record.seed)),
            ("training in", record.precision),
        ]
        if record.finetuning is not None:
            facts.append(("recipe", ", ".join(f"{key} {value}" for key, value in record.finetuning.settings.items())))
    return [*facts, *((key, str(value)) for key, value in sorted(record.environment.items()))]


def _revision(record: RunRecord | Scan) -> str:
    return f"{record.revision or 'unknown'}{' with changes that were not committed' if record.dirty else ''}"


def _number(value: float | None) -> str:
    if value is None:
        return UNDOCUMENTED
    return f"{value:,.0f}" if value == round(value) and abs(value) >= 100 else f"{value:.4g}"


def _difference(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return UNDOCUMENTED
    return "0" if before == after else f"{'+' * (after > before)}{_number(after - before)}"
