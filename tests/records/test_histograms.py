"""Histograms of weights: every nonzero weight is counted once, and a record that contradicts them cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from record_factory import make_histogram, make_record

from prunebench.cli import main
from prunebench.errors import PlotError, RecordError
from prunebench.measure import BINS, bin_edges, weight_counts
from prunebench.records import Histogram, Layer, RunRecord, read_record, write_record
from prunebench.report.plots import plot_weights


@given(st.lists(st.floats(-1, 1, width=32) | st.sampled_from([0.0, -0.0, 0.25, -0.25, 0.5, 1.0]), max_size=80))
def test_counts_are_those_of_numpy_between_the_same_edges(values: list[float]) -> None:
    weights = np.array(values, np.float32)
    largest = float(np.abs(weights).max(initial=0.0))
    nonzero = weights[weights != 0].astype(np.float64)
    assert np.histogram(nonzero, bin_edges(largest))[0].tolist() == weight_counts(weights, largest).tolist()


def test_blocks_of_a_large_layer_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.random.default_rng(0).normal(size=(10, 7, 3)).astype(np.float32)
    whole = weight_counts(weights, 5.0)
    monkeypatch.setattr("prunebench.measure.histograms.BLOCK", 8)
    assert whole.tolist() == weight_counts(weights.transpose(2, 0, 1), 5.0).tolist()
    assert 210 == whole.sum()


def test_a_layer_of_zeros_has_empty_bins() -> None:
    assert [0] * BINS == weight_counts(np.zeros((3, 3), np.float32), 0.0).tolist()


def test_records_with_and_without_histograms_read_back_as_written(tmp_path: Path) -> None:
    for histograms in (True, False):
        record = make_record(histograms=histograms)
        write_record(record, tmp_path / "record.json")
        assert record == read_record(tmp_path / "record.json")


def with_histogram(record: RunRecord, **changes: Any) -> RunRecord:
    first, *others = record.layers
    assert first.histogram is not None
    fields = dict(first.histogram) | changes
    layers = [Layer(**dict(first) | {"histogram": Histogram(**fields)}), *others]
    return RunRecord(**dict(record) | {"layers": layers})


EMPTY = " ".join(["0"] * BINS)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"dense": EMPTY}, "has 108 dense nonzeros, its histogram 0"),
        ({"pruned": EMPTY}, "has 54 pruned nonzeros, its histogram 0"),
        ({"pruned": " ".join(["54", *["0"] * 39])}, "pruned weights where there was no dense one"),
        ({"finetuned": " ".join(["55", *["0"] * 39])}, "has 54 nonzeros, its fine-tuned histogram 55"),
        ({"finetuned": None}, "do not both tell of fine-tuned weights"),
    ],
)
def test_a_histogram_that_contradicts_its_record_is_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(RecordError, match=part):
        with_histogram(make_record(histograms=True), **changes)


def test_a_fine_tuned_weight_may_have_become_zero() -> None:
    assert with_histogram(make_record(histograms=True), finetuned=" ".join(["53", *["0"] * 39])).layers


def test_a_histogram_after_fine_tuning_of_a_run_without_is_refused() -> None:
    oneshot = make_record(histograms=True, finetuning=None)
    with pytest.raises(RecordError, match="do not both tell"):
        with_histogram(oneshot, finetuned=EMPTY)


@pytest.mark.parametrize(
    "text", ["", "1", EMPTY + " 0", EMPTY.replace("0", "00"), EMPTY.replace("0", "-1"), "٣" + EMPTY[1:]]
)
def test_counts_are_forty_plain_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="dense"):
        Histogram(largest=1.0, dense=text, pruned=EMPTY)


@pytest.mark.parametrize("finetuned", [True, False])
def test_the_plot_shows_the_counts_of_the_record(finetuned: bool) -> None:
    record = make_record(histograms=True, **({} if finetuned else {"finetuning": None}))
    figure = plot_weights(record)
    for axes, layer in zip(figure.axes, record.layers, strict=True):
        assert layer.histogram is not None
        steps = [patch.get_data() for patch in axes.patches]
        assert list(layer.histogram.counts.values()) == [found.values.tolist() for found in steps]
        assert all(found.edges[[0, -1]].tolist() == [-0.5, 0.5] for found in steps)
        assert ["zero 50.0 %"] == [text.get_text() for text in axes.texts]


def test_a_record_without_histograms_says_what_to_do() -> None:
    with pytest.raises(PlotError, match=r"no histogram of 'backbone.conv0.weight'; record the run again, or draw its"):
        plot_weights(make_record())


def test_the_command_draws_a_record_and_refuses_a_limit_that_it_cannot_apply(tmp_path: Path) -> None:
    path, output = tmp_path / "record.json", tmp_path / "plot.png"
    write_record(make_record(histograms=True), path)
    arguments = ["plot", "weights", str(path), "--output", str(output)]
    refused = CliRunner().invoke(main, [*arguments, "--near-zero", "0.1"])
    assert (2, False) == (refused.exit_code, output.exists())
    assert refused.stderr.startswith("error: --near-zero is of checkpoints")
    assert 0 == CliRunner().invoke(main, arguments).exit_code
    assert output.exists()


def test_the_factory_keeps_the_weights_furthest_from_zero() -> None:
    counts = make_histogram(80, 40).counts
    assert [2] * 40 == counts["dense"]
    assert [2] * 10 + [0] * 20 + [2] * 10 == counts["pruned"]
