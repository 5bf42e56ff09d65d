"""The check of an exported file against the model: which weights it holds, and what it answers to the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prunebench.data import Examples
from prunebench.export.format import Exported
from prunebench.gate.accuracy import Pair, judge_pairs
from prunebench.gate.thresholds import Thresholds
from prunebench.gate.verdicts import Figure, Status, Tier, Verdict, stated, worst_first
from prunebench.machine.environment import environment
from prunebench.machine.values import value_bytes
from prunebench.models.fitting import COUNTER
from prunebench.records import Accuracy
from prunebench.storage.documents import render
from prunebench.storage.files import file_digest, printable, write_text
from prunebench.tasks import BatchProgress, Comparison, Task, check_right_or_wrong, compare_answers
from prunebench.tasks.comparison import LARGEST_DIFFERENCE
from prunebench.workloads import DenseModel

HINT = "export it again"


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of the check of one exported file.

    Attributes:
        verdicts: worst first.
        compared: the answers of the model in torch, and of the file in its own program.
        runtime: the file's own program, with its version.
    """

    verdicts: tuple[Verdict, ...]
    compared: Comparison
    runtime: str

    @property
    def equal(self) -> int:
        """Number of examples that both answered alike."""
        return self.compared.images - len(self.compared.different)

    @property
    def status(self) -> Status:
        """The worst of the verdicts."""
        return self.verdicts[0].status

    def write(self, path: Path, *, file: Path, dense: DenseModel) -> None:
        """Write a JSON document of what was found in `file`."""
        checks = [
            {"check": each.check, "status": str(each.status), "expected": each.expected, "measured": each.measured,
             "rule": each.rule, "evidence": dict(each.evidence)}
            for each in self.verdicts
        ]  # fmt: skip
        compared = self.compared
        content = {
            "schema_version": 1,
            "status": str(self.status),
            "file": printable(file.name),
            "file_sha256": file_digest(file),
            "state": dense.digest,
            "weights": dense.origin,
            "runtime": self.runtime,
            "images": compared.images,
            "equal_predictions": self.equal,
            "correct_model": compared.first.correct_count,
            "correct_exported": compared.second.correct_count,
            "largest_difference": compared.difference if math.isfinite(compared.difference) else None,
            "environment": environment(torch.device("cpu")),
            "checks": checks,
        }
        write_text(path, render(content))


def check_export(
    exported: Exported,
    dense: DenseModel,
    data: Examples,
    *,
    name: str,
    task: Task,
    thresholds: Thresholds | None = None,
    progress: BatchProgress | None = None,
) -> Check:
    """Check an exported file against the model that it should be of.

    It is of the model's state, by digest; holds every tensor of it bit for bit, zeros and all; gives the same outputs
    but for rounding; and answers the test set no worse, by the gate's paired test. `name` is what the verdicts call it.

    Raises:
        DataError: a task without right and wrong answers.
        ModelError: the model fails, or the file answers in another shape.
    """
    check_right_or_wrong(task)
    compared = compare_answers(dense.model, exported.outputs, data, task=task, progress=progress)
    pair = Pair(
        case=name,
        run=name,
        check=f"answers of {exported.runtime}",
        baseline=Accuracy.of(compared.first),
        new=Accuracy.of(compared.second),
        trained=False,
        hint=HINT,
    )
    (answers,) = judge_pairs([pair], thresholds=thresholds or Thresholds())
    verdicts = worst_first(
        [
            _state(exported, dense, name),
            _tensors(exported, dense.model.state_dict(), name),
            _outputs(compared, name),
            answers,
        ]
    )
    return Check(verdicts=tuple(verdicts), compared=compared, runtime=exported.runtime)


def _state(exported: Exported, dense: DenseModel, name: str) -> Verdict:
    """FAIL for a stale file: one of another state than the model's."""
    given = exported.metadata.get("state", "")
    status = Status.PASS if given == dense.digest else Status.FAIL
    measured = given[:12] or "none: not written by prunebench export"
    return _stated(name, "state that the file was made of", status, dense.digest[:12], measured, "digests are equal")


def _tensors(exported: Exported, state: Mapping[str, Tensor], name: str) -> Verdict:
    """FAIL where a tensor of the state has other bits in the file, or is not there though the file has unknown weights.

    One that goes by another name is found by its bits. One that is not there, beside weights that are all known, is not
    used by the model.
    """
    wanted = {each: tensor for each, tensor in state.items() if not each.endswith(COUNTER)}
    unknown = [
        each
        for each, tensor in exported.tensors.items()
        if each not in state and tensor.is_floating_point() and tensor.dim() and tensor.any()
        and not any(_same_bits(tensor, one) for one in wanted.values())
    ]  # fmt: skip
    differing = [each for each, one in wanted.items() if each in exported.tensors
                 and not _same_bits(one, exported.tensors[each])]  # fmt: skip
    absent = [
        each
        for each, one in wanted.items()
        if each not in exported.tensors and not any(_same_bits(one, other) for other in exported.tensors.values())
    ]
    zeros = sum(int((one == 0).sum()) for one in wanted.values())
    expected = f"{len(wanted)} tensors with {zeros:,} zeros, bit for bit"
    if differing:
        first = differing[0]
        told = [int((one == 0).sum()) for one in (exported.tensors[first], wanted[first])]
        measured = f"{len(differing)} differ, '{first}' first: {told[0]:,} zeros, the model's {told[1]:,}"
    elif absent and unknown:
        measured = f"{len(absent)} are missing, '{absent[0]}' first, and '{unknown[0]}' is none of the model's"
    else:
        unused = f", but {len(absent)} that it does not use" if absent else ""
        measured = f"the same{unused}"
    status = Status.FAIL if differing or (absent and unknown) else Status.PASS
    return _stated(name, "weights and statistics", status, expected, measured, "equal bits, found by name or by value")


def _same_bits(one: Tensor, other: Tensor) -> bool:
    same_kind = one.dtype == other.dtype and one.shape == other.shape
    return same_kind and np.array_equal(value_bytes(one), value_bytes(other))


def _outputs(compared: Comparison, name: str) -> Verdict:
    images, difference = compared.images, compared.difference
    equal = images - len(compared.different)
    evidence: dict[str, Figure] = {
        "equal_predictions": equal,
        "images": images,
        "largest_difference": difference if math.isfinite(difference) else None,
    }
    return Verdict(
        case=name,
        run=name,
        check="outputs",
        tier=Tier.EXACT,
        status=Status.PASS if difference <= LARGEST_DIFFERENCE else Status.FAIL,
        expected=f"within {LARGEST_DIFFERENCE:g} of the largest",
        measured=f"{difference:.2g} apart, {equal:,} of {images:,} predictions equal",
        shortfall=difference / LARGEST_DIFFERENCE - 1,
        rule="another order of fp32 additions stays far below it",
        hint=HINT,
        evidence=evidence,
        smallest_effect=f"{LARGEST_DIFFERENCE:g} of the largest output",
    )


def _stated(name: str, check: str, status: Status, expected: str, measured: str, rule: str) -> Verdict:
    return replace(stated(name, name, check, status, expected, measured, rule=rule), hint=HINT)
