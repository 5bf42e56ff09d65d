"""The work of `prunebench export`: write a model for other programs, and check what they answer."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from prunebench.cli.shell import say
from prunebench.errors import ExportError
from prunebench.export import find_format, format_for, metadata_of
from prunebench.gate import Status
from prunebench.gate.exports import check_export
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import read_metadata
from prunebench.records import RunRecord, read_record
from prunebench.report.model_card import model_card
from prunebench.report.progress import ProgressBar
from prunebench.storage.files import check_targets, data_source, printable, write_text
from prunebench.workloads import DenseModel, dense_model, find_workload

EXIT_CODES = {Status.FAIL: 1, Status.INCONCLUSIVE: 3}


def export(
    checkpoint: Path,
    workload: str | None,
    data: Path | None,
    output: Path,
    form: str | None,
    record: Path | None,
    check: bool,
    check_only: bool,
    images: int | None,
) -> None:
    """Export a checkpoint, and check the file."""
    chosen, format_ = find_workload(workload), find_format(form) if form else format_for(output)
    card, found = (output.with_name(output.name + suffix) for suffix in (".md", ".check.json"))
    targets = {"--output": output, "the model card": card, "the check": found}
    check_targets(targets, inputs=(checkpoint, record, data_source(data)))
    known = read_record(record) if record else None

    keep_freed_memory()
    with ProgressBar() as progress:
        progress.stage("data")
        loaded = chosen.data(data, progress.loading)
        loaded = loaded.with_test_images(images) if images else loaded
        progress.stage("model")
        dense = dense_model(chosen, loaded, checkpoint=checkpoint, laid_out=False)
        dense.model.eval()
        if known:
            _check_record(known, dense, record)
        if not check_only:
            progress.stage(f"export to {format_.name}")
            kept = read_metadata(checkpoint) if checkpoint.suffix == ".safetensors" else {}
            example = loaded.test.fed(loaded.test.inputs[:2])
            format_.write(dense.model, example, output, {**kept, **metadata_of(chosen, dense)})
        checked = None
        if check or check_only:
            progress.stage("check")
            exported = format_.open(output, dense.model)
            checked = check_export(
                exported, dense, loaded.test, name=printable(output.name), task=chosen.task, progress=progress.evaluated
            )
            checked.write(found, file=output, dense=dense)
    made = model_card(
        output,
        form=format_,
        workload=chosen,
        dense=dense,
        data=loaded,
        command=_command(checkpoint, chosen.name, format_.name, output),
        record=known,
        check=checked,
    )
    write_text(card, made)
    if checked:
        say(*map(str, checked.verdicts))
        say(f"{checked.equal:,} of {checked.compared.images:,} predictions equal. Check: {found}")
    say(f"Export: {output}", f"Model card: {card}")
    sys.exit(EXIT_CODES.get(checked.status, 0) if checked else 0)


def _check_record(record: RunRecord, dense: DenseModel, path: Path | None) -> None:
    made = record.checkpoints
    if dense.digest not in {made.dense, made.pruned, made.best, made.last}:
        raise ExportError(f"'{path}' is the record of other weights: expected one of {dense.digest[:12]}")


def _command(checkpoint: Path, workload: str, form: str, output: Path) -> str:
    words = ["prunebench", "export", checkpoint, "--workload", workload, "--format", form, "-o", output]
    return shlex.join(printable(str(word)) for word in words)
