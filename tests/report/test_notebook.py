"""What a notebook shows of a value that ends a cell."""

from __future__ import annotations

from typing import Any

import pytest
from gate.scan_documents import make_scan
from planning.scan_factory import vgg_scan
from record_factory import make_record

from prunebench.documented.runs import RUNS
from prunebench.gate import compare_records
from prunebench.planning import Curves, make_plan

NASTY = "<script>alert(1)</script>"


def a_plan() -> Any:
    return make_plan("uniform", dict(RUNS["run3"].sparsity), Curves.of_scan(vgg_scan()).inventory, model=NASTY)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (make_record(run=NASTY), ["accuracy pruned, %", "95.00", "<svg", "classifier"]),
        (make_record(run=NASTY, finetuning=None), ["accuracy pruned, %", "<svg"]),
        (make_scan(model=NASTY), ["within 1 points", "<svg"]),
        (a_plan(), ["29.37 %", "conv7", "235,930"]),
        (compare_records({}, {NASTY: make_record()})[0], ["NO_BASELINE", "approve"]),
    ],
    ids=["record", "not fine-tuned", "scan", "plan", "verdict"],
)
def test_a_value_is_shown_with_its_figures_and_names_are_text(shown: Any, words: list[str]) -> None:
    html = shown._repr_html_()
    assert [] == [word for word in words if word not in html]
    assert "<script" not in html
