"""Tables as text: documented beside measured. No torch, so that `prunebench runs` answers at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from prunebench.documented.runs import Cited, DocumentedRun, is_documented_run
from prunebench.escaping import terminal
from prunebench.report.table import Table, facts_table

if TYPE_CHECKING:
    from prunebench.baselines.shelf import Baseline
    from prunebench.data import Dataset
    from prunebench.documented.claims import Claim
    from prunebench.records import Accuracy, RunRecord

UNDOCUMENTED = "-"


def runs_table(runs: Iterable[DocumentedRun]) -> Table:
    """The documented runs: sparsity by layer, then size and accuracy, as documented."""
    runs = list(runs)
    layers: list[list[object]] = [
        [short_name(name), *(f"{run.sparsity[name]:.2f}" for run in runs)] for name in runs[0].sparsity
    ]
    figures: list[list[object]] = [
        ["epochs", *(run.epochs or UNDOCUMENTED for run in runs)],
        ["size, MiB", *(_figure(run.size_mib) for run in runs)],
        ["size, % of dense", *(_figure(run.size_percent) for run in runs)],
        ["accuracy before, %", *(_figure(run.accuracy_before) for run in runs)],
        ["accuracy best, %", *(_figure(run.accuracy_best) for run in runs)],
        ["change from dense, points", *(_signed(run.change_after_finetuning) for run in runs)],
    ]
    return Table(rows=[*layers, *figures], headers=["", *(run.name for run in runs)])


def heading(title: str, record: RunRecord, runs: Iterable[DocumentedRun]) -> str:
    """`title` (a run, say), what it was executed on and how, in a few lines; `runs` are what is compared with."""
    recipe = ""
    if is_documented_run(record.run, record.run_digest):
        shortened = "SHORTENED fine-tuning, " if record.recipe == "quick" else ""
        recipe = " (documented recipe)" if record.as_documented else f" ({shortened}not the documented recipe)"
    how = f"{record.workload} {record.recipe}{recipe}, seed {record.seed}, training in {record.precision}"
    if record.finetuning is None:
        how = f"{record.workload}, without fine-tuning"
    by = f" {record.method.words}" if record.method.words else ""
    lines = [
        f"{title}{by} on {how}, checkpoint {record.checkpoints.origin}",
        machine_line(record.environment),
    ]
    if not _comparable(record) and any(run.accuracy_before or run.accuracy_best for run in runs):
        lines.append("Documented accuracies are CIFAR-10's: here only the sizes and the change can be compared.")
    return "\n".join(map(terminal, lines))


def layer_table(record: RunRecord) -> Table:
    """Kept and pruned elements by layer, and in total over all parameters."""
    rows = [
        [short_name(layer.name), f"{layer.sparsity:.2f}", f"{layer.numel:,}", f"{layer.nonzeros:,}",
         f"{layer.numel - layer.nonzeros:,}", f"{layer.macs / 1e6:,.1f}"]
        for layer in record.layers
    ]  # fmt: skip
    listed = {layer.name for layer in record.layers}
    rest = sum(count for name, count in record.nonzeros.items() if name not in listed)
    total, kept = record.elements, sum(record.nonzeros.values())
    others = total - sum(layer.numel for layer in record.layers)
    rows.append(["batch norm, bias", "", f"{others:,}", f"{rest:,}", f"{others - rest:,}", ""])
    macs = sum(layer.macs for layer in record.layers)
    rows.append(
        ["all", f"{1 - kept / total:.4f}", f"{total:,}", f"{kept:,}", f"{total - kept:,}", f"{macs / 1e6:,.1f}"]
    )
    return Table(rows=rows, headers=["layer", "sparsity", "elements", "kept", "pruned", "dense MMACs"])


def _deployed(record: RunRecord) -> list[list[str]]:
    """Rows on the model that is kept as people deploy it, where that was measured."""
    rows = []
    if (small := record.shrunk) is not None:
        macs = sum(layer.macs for layer in record.layers)
        rows += [
            _row("shrunk, % of parameters", None, 100 * small.elements / record.elements),
            _row("shrunk, % of multiply-accumulates", None, 100 * small.macs / macs),
            _row("accuracy shrunk, %", None, small.answers.percent, _count(small.answers)),
        ]
    if (other := record.exported) is not None:
        rows.append(_row(f"accuracy in {other.runtime}, %", None, other.answers.percent, _count(other.answers)))
    if (timed := record.latency) is not None:
        note = f"{timed.lower:.2f} to {timed.upper:.2f}, {timed.threads} threads"
        rows.append(_row(f"times as fast as dense, {timed.runtime}", None, timed.ratio, note))
    return rows


def accuracy_table(record: RunRecord, run: DocumentedRun | None = None) -> Table:
    """Size and accuracy, each beside the documented value and the difference, where anything is documented."""
    run = run or DocumentedRun(name=record.run, sparsity={})
    comparable = _comparable(record)

    def accuracy(name: str, documented: Cited | None, percent: float, note: str = "") -> list[str]:
        return _row(name, documented, percent, note, comparable=comparable)

    rows = [
        _row("size, MiB", run.size_mib, record.pruned_size_bits / 8 / 2**20),
        _row("size, % of dense", run.size_percent, record.size_percent),
        *([_row("packed file, MiB", None, record.file_mib)] if record.file_mib is not None else []),
        *_deployed(record),
        accuracy("accuracy dense, %", run.dense_accuracy, record.dense_accuracy.percent, _count(record.dense_accuracy)),
        accuracy(
            "accuracy pruned, %", run.accuracy_before, record.pruned_accuracy.percent, _count(record.pruned_accuracy)
        ),
    ]
    if (tuned := record.finetuning) is not None:
        on_test = tuned.selected_on == "test"
        for number, percent in enumerate(tuned.selection_accuracies, start=1):
            documented = run.accuracy_by_epoch[number - 1 : number] if on_test else ()
            where = "" if on_test else f" on {tuned.selected_on}"
            rows.append(accuracy(f"  epoch {number}{where}, %", next(iter(documented), None), percent))
        best = f"accuracy best (epoch {tuned.best_epoch}), %"
        rows += [
            accuracy(best, run.accuracy_best, tuned.best.percent, _count(tuned.best)),
            accuracy("accuracy last epoch, %", next(iter(run.accuracy_by_epoch[-1:]), None), tuned.last.percent,
                 _count(tuned.last)),
        ]  # fmt: skip
        change = record.change_after_finetuning
        documented_change = run.change_after_finetuning
        cited = Cited(documented_change, "") if documented_change is not None else None
        rows.append(_row("change, best - dense, points", cited, change or 0.0))
    if all(row[1] == UNDOCUMENTED for row in rows):
        return Table(rows=[[row[0], row[2], row[4]] for row in rows], headers=["", "measured", ""])
    return Table(rows=rows, headers=["", "documented", "measured", "difference", ""])


def baselines_table(baselines: Iterable[Baseline]) -> Table:
    """One line a baseline of a run: size, accuracies, and its approval."""
    rows = []
    for baseline in baselines:
        record, approval = cast("RunRecord", baseline.record), baseline.approval
        tuned = record.finetuning
        rows.append(
            [
                baseline.case,
                f"{record.size_percent:.2f}" if record.dense_size_bits else UNDOCUMENTED,
                f"{record.dense_accuracy.percent:.2f}",
                f"{record.pruned_accuracy.percent:.2f}",
                f"{tuned.best.percent:.2f}" if tuned else UNDOCUMENTED,
                approval.at[:10],
                approval.by.partition(" <")[0],
                approval.reason,
            ]
        )
    headers = ["case", "size %", "dense %", "pruned %", "best %", "approved", "by", "reason"]
    return Table(rows=rows, headers=headers, texts=3)


def approval_rows(baseline: Baseline) -> list[list[str]]:
    """Rows on an approval: which case, who approved it, when and why, in the place of what."""
    approval = baseline.approval
    return [
        ["case", baseline.case],
        ["approved", f"{approval.at} by {approval.by}"],
        ["reason", approval.reason],
        ["replaced", approval.replaced or "nothing: it is the first"],
        ["digest", baseline.digest],
    ]


def baseline_text(baseline: Baseline) -> str:
    """Who approved it, when and why; what it was measured on; sizes and accuracies."""
    record = cast("RunRecord", baseline.record)
    tuned = record.finetuning
    measured = [("dense model", record.dense_accuracy), ("pruned model", record.pruned_accuracy)]
    measured += [("best epoch", tuned.best), ("last epoch", tuned.last)] if tuned else []
    rows = [
        *approval_rows(baseline),
        ["recorded", f"{record.created}, revision {record.revision or 'unknown'}"],
        ["data", f"{record.data.name}, {record.data.digest}"],
        ["dense weights", f"{record.checkpoints.origin}, {record.checkpoints.dense}"],
        ["environment", ", ".join(f"{name} {value}" for name, value in record.environment.items())],
        ["nominal size", _sizes(record)],
        *([what, f"accuracy {accuracy.percent:.2f} %, {_count(accuracy)}"] for what, accuracy in measured),
    ]
    return facts_table(rows)


def claims_table(claims: Iterable[Claim]) -> Table:
    """A table of claims: what a document says beside what was computed."""
    rows = [[claim.run, claim.what, claim.documented, claim.computed, claim.status] for claim in claims]
    return Table(rows=rows, headers=["run", "claim", "documented", "computed", ""], texts=4)


def data_table(data: Dataset) -> str:
    """A table of what a data set is, and its digests."""
    shape = "x".join(str(length) for length in data.test.inputs.shape[1:])
    rows = [
        ["name", data.name],
        ["from", data.origin],
        ["images", f"{len(data.train):,} training, {len(data.test):,} test, {shape}"],
        ["classes", ", ".join(data.classes)],
        ["digest", data.digest],
        ["digest, train", data.train.digest],
        ["digest, test", data.test.digest],
    ]
    return facts_table(rows)


def _sizes(record: RunRecord) -> str:
    unit, bits = ("MiB", 8 * 2**20) if record.dense_size_bits >= 8 * 2**20 else ("KiB", 8 * 2**10)
    return f"{record.pruned_size_bits / bits:.2f} of {record.dense_size_bits / bits:.2f} {unit}"


def _comparable(record: RunRecord) -> bool:
    """True where accuracies were measured on the data set of the documented ones, or a copy of it."""
    return record.workload == "cifar10"


def _row(name: str, documented: Cited | None, measured: float, note: str = "", *, comparable: bool = True) -> list[str]:
    difference = ""
    if documented is not None and comparable:
        # Rounded to what both are printed with; adding 0.0 turns -0.0 into 0.0.
        difference = f"{round(measured - float(documented.value), 2) + 0.0:+.2f}"
    return [name, _figure(documented), f"{measured:.2f}", difference, note]


def _figure(figure: Cited | None) -> str:
    return UNDOCUMENTED if figure is None else str(figure.value)


def _signed(value: object) -> str:
    return UNDOCUMENTED if value is None else f"{value:+}"


def _count(accuracy: Accuracy) -> str:
    return f"{accuracy.correct:,} of {accuracy.images:,}"


def machine_line(environment: Mapping[str, str | int]) -> str:
    """A line on what a result was computed on; an environment that somebody wrote need not say all of it."""
    torch, device, cpu, threads = (environment.get(key, "unknown") for key in ("torch", "device", "cpu", "threads"))
    return f"torch {torch}, {device}, {cpu}, {threads} threads"


def short_name(name: str) -> str:
    """`backbone.conv4.weight` as `conv4`: people say it so, and the table stays narrow."""
    return name.removeprefix("backbone.").removesuffix(".weight")
