"""The model card beside an exported file, in Markdown: what it is, what it was made of, and its figures.

Source of the idea: Mitchell et al. 2019, Model Cards for Model Reporting. Its parts on intended use and on people are
for whoever trained the model to write.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from prunebench.data import Dataset
from prunebench.escaping import markdown, terminal
from prunebench.export import Format
from prunebench.gate.exports import Check
from prunebench.measure import MIB, count_macs, nominal_size_bits, nonzeros
from prunebench.records import RunRecord, case_id
from prunebench.storage.files import file_digest, printable
from prunebench.workloads import DenseModel, Workload


def model_card(
    path: Path,
    *,
    form: Format,
    workload: Workload,
    dense: DenseModel,
    data: Dataset,
    command: str,
    record: RunRecord | None = None,
    check: Check | None = None,
) -> str:
    """The text of the card for the exported file at `path`."""
    facts = {
        "model": workload.model or type(dense.model).__name__,
        "task": f"{workload.task.name} of {data.name}",
        "format": form.name,
        "input": _input(data),
        "classes": ", ".join(data.classes),
        **_figures(dense, data.test.fed(data.test.inputs[:1]), path),
        **_accuracy(check),
        "weights": dense.origin,
        "digest of the weights": dense.digest,
        "record": f"{case_id(record)} of {record.created}" if record else "",
        "data": data.digest,
        "file, SHA-256": file_digest(path),
        "source": dense.source,
        "licence of the weights": dense.licence or "not known",
    }
    lines = [f"# {markdown(printable(path.name))}", "", "| what | value |", "|---|---|"]
    lines += [f"| {name} | {markdown(value)} |" for name, value in facts.items() if value]
    lines += ["", "Made by:", "", f"    {terminal(command)}"]
    if check:
        lines += ["", "| check | verdict | found |", "|---|---|---|"]
        lines += [f"| {markdown(each.check)} | {each.status} | {markdown(each.measured)} |" for each in check.verdicts]
    return "\n".join(lines) + "\n"


def _input(data: Dataset) -> str:
    """Say how an input has to be prepared."""
    example = data.test.fed(data.test.inputs[:1])
    told = f"{str(example.dtype).removeprefix('torch.')} (batch, {', '.join(map(str, example.shape[1:]))})"
    if data.test.inputs.dtype.is_floating_point or data.test.inputs.dim() != 4:
        return told
    normalization = data.test.normalization
    if normalization is None:
        return f"{told}, pixels in 0 to 1"
    return f"{told}, pixels in 0 to 1, less {normalization.mean}, over {normalization.std}"


def _figures(dense: DenseModel, example: Tensor, path: Path) -> dict[str, str]:
    model = dense.model
    kept, elements = sum(nonzeros(model).values()), sum(each.numel() for each in model.parameters())
    return {
        "parameters": f"{elements:,}, of which {kept:,} are not zero ({100 * kept / elements:.2f} %)",
        "nominal size": f"{nominal_size_bits(model) / 8 / MIB:.2f} MiB",
        "file size": f"{path.stat().st_size / MIB:.2f} MiB",
        "multiply-accumulates of an input": f"{sum(count_macs(model, example).values()):,}, zeros counted",
    }


def _accuracy(check: Check | None) -> dict[str, str]:
    if check is None:
        return {"accuracy": "not measured"}
    model, exported = check.compared.first, check.compared.second
    return {
        "accuracy in torch": f"{model.accuracy:.2f} %, {model.correct_count:,} of {model.count:,}",
        f"accuracy in {check.runtime}": f"{exported.accuracy:.2f} %, {exported.correct_count:,} of {exported.count:,}",
        "equal predictions": f"{check.equal:,} of {model.count:,}",
    }
