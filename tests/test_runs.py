"""The documented runs are what the document says, and say where."""

from __future__ import annotations

from decimal import Decimal

import pytest

from prunebench.documented.runs import RUNS, Cited, documented_run
from prunebench.errors import UnknownNameError


def test_the_five_runs_are_there_in_order() -> None:
    assert ["run1", "run2", "run3", "run4", "run5"] == list(RUNS)


def test_every_figure_names_its_source() -> None:
    for run in RUNS.values():
        figures = [run.size_mib, run.size_percent, run.accuracy_before, run.accuracy_best, run.dense_accuracy]
        assert all(figure.source for figure in [*figures, *run.accuracy_by_epoch] if figure is not None)
        assert run.source


def test_what_is_not_documented_is_none() -> None:
    run4 = documented_run("run4")
    assert (None, None, (), None) == (
        run4.epochs,
        run4.accuracy_best,
        run4.accuracy_by_epoch,
        run4.change_after_finetuning,
    )


@pytest.mark.parametrize(("run", "change"), [("run1", "0.11"), ("run2", "-0.15"), ("run3", "-0.11"), ("run5", "-0.79")])
def test_the_change_after_finetuning_is_best_less_dense(run: str, change: str) -> None:
    assert Decimal(change) == documented_run(run).change_after_finetuning


def test_runs_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RUNS["run1"].sparsity["classifier.weight"] = 0.5  # type: ignore[index]


def test_a_figure_agrees_within_half_of_its_last_printed_digit() -> None:
    figure = Cited(Decimal("10.90"), "somewhere")
    assert Decimal("0.005") == figure.tolerance
    assert figure.agrees_with(10.9049)
    assert not figure.agrees_with(10.9051)
    assert Cited(Decimal("10.9"), "somewhere").agrees_with(10.9499)


def test_an_unknown_run_names_the_known_and_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown run 'run6': expected one of run1, .*; did you mean 'run"):
        documented_run("run6")
