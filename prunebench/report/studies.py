"""Studies as text and as rows: what a paper prints, and one row a run for other programs. Nothing here prints."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from prunebench.errors import StudyError
from prunebench.experiments.rows import NAMES, RunRow
from prunebench.experiments.study import PlannedRun, Study
from prunebench.gate.studies import MethodComparison, Result, compare_methods, half_width, study_results, unbeaten
from prunebench.records import FailedRun
from prunebench.report.table import Table, columns
from prunebench.storage.files import replacing, write_text
from prunebench.storage.imports import import_extra

FORMS = (".csv", ".parquet")


def study_text(study: Study, kept: Mapping[str, RunRow | FailedRun], *, alpha: float) -> str:
    """Means with intervals, one table for each workload, recipe and amount of fine-tuning; comparisons; notes.

    Raises:
        StudyError: there are no results.
    """
    results = study_results(study, kept)
    if not results:
        raise StudyError(f"study '{study.name}' has no results: expected some, by 'prunebench study run {study.path}'")
    comparisons = compare_methods(results, study.reference, alpha=alpha)
    failed = sum(isinstance(record, FailedRun) for record in kept.values())
    rest = f"; {failed} failed, and are in no mean" if failed else ""
    count = f"{len(kept) - failed} of {study.count} runs{rest}."
    blocks = []
    grouped = sorted(results, key=_comparable)
    for (workload, recipe, images), members in groupby(grouped, key=_comparable):
        about = f"fine-tuned by {recipe} on {images:,} images" if images else "not fine-tuned"
        dense = sorted({result.dense_accuracy for result in results if result.planned.workload == workload})
        title = f"{workload}, {about}; dense {', '.join(f'{each:.2f}' for each in dense)} %"
        blocks.append(
            f"{title}\n\n{_means(sorted(members, key=lambda each: (each.compression, -each.accuracy)), alpha)}"
        )
    if study.search:
        objective = study.search.section.objective
        blocks.append(f"The best in {objective}\n\n{_means(unbeaten(results, objective=objective), alpha)}")
    if comparisons:
        reference = ", ".join(f"{name} {value}" for name, value in study.reference.items())
        blocks.append(f"Compared with {reference}, all else equal\n\n{_comparisons(comparisons)}")
    notes = [textwrap.fill(each, columns()) for each in (count, *_notes(study, results, comparisons, alpha))]
    return "\n\n".join([*blocks, *notes])


def _comparable(result: Result) -> tuple[str, str, int]:
    """The same for results that may be ranked."""
    return result.planned.workload, result.planned.recipe, result.trained_images


def _name(result: Result) -> list[object]:
    total = result.planned.parts["total"]
    return [result.label, "" if total is None else f"{total:g}"]


def _means(results: Sequence[Result], alpha: float) -> Table:
    rows = []
    for result in results:
        width = half_width(result.accuracies, alpha)
        change = result.accuracy - result.dense_accuracy
        rows.append([
            *_name(result), len(result.rows), f"{result.accuracy:.2f}", "-" if width is None else f"{width:.2f}",
            f"{change:+.2f}", f"{result.compression:.2f}x", f"{result.speed_up:.2f}x",
        ])  # fmt: skip
    headers = ["method", "total", "seeds", "accuracy, %", f"+- at {100 * (1 - alpha):g} %", "from dense",
               "compression", "speed-up"]  # fmt: skip
    return Table(rows=rows, headers=headers)


def _comparisons(comparisons: Sequence[MethodComparison]) -> Table:
    rows = []
    for each in comparisons:
        clear = [pair.gained > pair.lost for pair in each.pairs if pair.p < each.alpha]
        by_example = f"+{clear.count(True)} -{clear.count(False)} of {len(each.pairs)}"
        effort = "equal" if each.effort == 1 else f"{each.effort:.3g}x"
        p = "-" if each.p is None else f"{each.p:.2g}"
        rows.append([*_name(each.result), f"{each.difference:+.2f}", p, by_example, effort, each.verdict])
    headers = ["method", "total", "points", "p over seeds", "by example", "fine-tuning", "verdict"]
    return Table(rows=rows, headers=headers, texts=1)


def _notes(
    study: Study, results: Sequence[Result], comparisons: Sequence[MethodComparison], alpha: float
) -> Iterator[str]:
    amounts = {(result.planned.workload, result.trained_images) for result in results}
    unequal = len(amounts) > len({workload for workload, _ in amounts})
    if unequal or any(each.effort != 1 for each in comparisons):
        yield (
            "Fine-tuning is unequal: methods that were trained on more images may be better for that alone (Wang et "
            "al. 2023). Rank only within a table, and compare only where fine-tuning is equal."
        )
    if study.settings.finetune and study.settings.select_on == "test":
        yield ('The best epoch was chosen on the test images, which is optimistic; select_on = "validation" is not.')
    if study.search:
        yield "The best of many is flattered by the images and seeds that it was chosen by: run it again with others."
        return
    if not study.reference:
        yield 'Nothing is compared: [study] reference = { criterion = "magnitude" } says with what.'
        return
    tests = sum(each.p is not None for each in comparisons)
    pairs = sum(len(each.pairs) for each in comparisons)
    yield (
        f"Verdicts are at a level of {alpha:g} over all: p over seeds is of Student's t test, adjusted by Holm over "
        f"{tests} comparisons; by example, how many seeds are better (+) and worse (-), is of the exact McNemar test "
        f"of their two models, adjusted over {pairs} pairs."
    )
    if tests < len(comparisons):
        yield "Where a side has one seed, the verdict is on those two models, not on the methods."


def study_rows(study: Study, kept: Mapping[str, RunRow | FailedRun]) -> list[dict[str, Any]]:
    """One row a run that has a record: every setting and score; accuracies in percent, sizes in bits and bytes."""
    rows = [_row(study, planned, kept[planned.id]) for planned in study.runs if planned.id in kept]
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _row(study: Study, planned: PlannedRun, kept: RunRow | FailedRun) -> dict[str, Any]:
    settings = {name: value for name, value in vars(planned.settings).items() if name != "finetune"}
    row: dict[str, Any] = {
        "id": planned.id, "case": planned.case, "method": study.label(planned), "workload": planned.workload,
        "recipe": planned.recipe, **planned.parts, "seed": planned.seed, **settings,
        "status": "failed" if isinstance(kept, FailedRun) else "done", "error": "",
    }  # fmt: skip
    if isinstance(kept, FailedRun):
        names = ("created", "revision", "dirty", "prunebench_revision")
        return row | {name: getattr(kept, name) for name in names} | {"error": kept.error}
    return row | {name: getattr(kept, name) for name in NAMES if name != "correct_bits"}


def check_form(path: Path) -> None:
    """Find out before the work whether rows can be written there.

    Raises:
        StudyError: the file's suffix is that of no known form.
        MissingExtraError: pyarrow is not installed.
    """
    if path.suffix.lower() not in FORMS:
        raise StudyError(f"cannot export to '{path}': its suffix must be one of {', '.join(FORMS)}")
    if path.suffix.lower() == ".parquet":
        import_extra("pyarrow", extra="study")


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows of the same keys as CSV or Parquet, by suffix; whole or not at all.

    Raises:
        StudyError: no rows; or as `check_form`.
        StorageError: the file cannot be written.
    """
    check_form(path)
    if not rows:
        raise StudyError("no run has a record: expected one at least, by 'prunebench study run'")
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())
        return
    table = import_extra("pyarrow", extra="study").Table.from_pylist(rows)
    with replacing(path) as temporary:
        import_extra("pyarrow.parquet", extra="study").write_table(table, temporary)
