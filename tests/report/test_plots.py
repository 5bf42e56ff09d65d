"""Plots: the figures show what was measured, in every size of model; the files are whole, and the same every time."""

from __future__ import annotations

import base64
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from click.testing import CliRunner, Result
from gate.scan_documents import CONTRADICTORY, edited
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation, Text
from PIL import Image
from record_factory import digest, make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.documented.runs import RUNS
from prunebench.errors import PlotError
from prunebench.records import FailedRun, write_record
from prunebench.report.plots import (
    NEAR_ZERO,
    SUFFIXES,
    FrontierPoint,
    LayerCount,
    documented_points,
    layer_counts,
    plot_frontier,
    plot_parameters,
    plot_sensitivity,
    plot_weights,
    record_points,
    weight_histogram,
    write_figure,
)
from prunebench.report.plots.style import SERIES, short_count, short_names
from prunebench.sensitivity import Point, Scan, ScannedLayer, write_scan

IMAGES = 200
SPARSITIES = (0.4, 0.6, 0.8)


def make_scan(
    layers: Sequence[str] = ("backbone.conv0.weight", "backbone.conv1.weight", "classifier.weight"),
    *,
    mode: str = "exact",
    sparsity: float = 0.0,
    correct: int = 180,
    scanned: Sequence[str] | None = None,
    name: str = "base",
) -> Scan:
    """A scan of layers of 8 x 10 elements; each falls by 40 points from one sparsity to the next."""
    exact = mode == "exact"
    points = [
        _point(layer, step, mode=mode, correct=correct)
        for layer in (layers if scanned is None else scanned)
        for step in range(3)
    ]
    return Scan(
        created="2026-01-02T03:04:05+00:00",
        model="vgg",
        model_digest=digest(name),
        data="digits",
        data_digest=digest("digits"),
        origin=f"{name}.safetensors",
        criterion="magnitude",
        precision="fp32",
        mode=mode,  # type: ignore[arg-type]
        recomputed="suffix",
        seed=0,
        batch_size=50,
        confidence=1.0 if exact else 0.95,
        within=2.0 if mode == "decision" else None,
        elements=80 * len(layers) + 10,
        nonzeros=(80 - round(80 * sparsity)) * len(layers) + 10,
        images=IMAGES,
        guessing=10.0,
        base_correct=correct,
        base_bits=base64.b64encode(np.packbits(np.arange(IMAGES) < correct).tobytes()).decode(),
        layers=[
            ScannedLayer(name=layer, shape=[8, 10], nonzeros=80 - round(80 * sparsity), macs=80) for layer in layers
        ],
        points=points,
        seconds=1.0,
        environment={"torch": "2.0"},
    )


def _point(layer: str, step: int, *, mode: str, correct: int) -> Point:
    """In decision mode the first is implied, the second keeps, the third does not."""
    percent = 100 * correct / IMAGES - (0, 1, 40)[step]
    margin = 0.0 if mode == "exact" else 1.5
    implied = mode == "decision" and step == 0
    answered = IMAGES if mode == "exact" else 0 if implied else 100
    right = round(percent * answered / 100)
    return Point(
        layer=layer,
        sparsity=SPARSITIES[step],
        images=answered,
        correct=right,
        lost=0,
        gained=0,
        accuracy=percent,
        low=0.0 if implied else percent - margin,
        high=100.0 if implied else percent + margin,
        keeps=(None, True, False)[step] if mode == "decision" else None,
    )


def resnet_names(count: int) -> list[str]:
    return [f"backbone.layer{1 + number // 20}.{number}.conv1.weight" for number in range(count - 1)] + ["fc.weight"]


def line(axes: Axes, label: str) -> Line2D:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plot", *(str(argument) for argument in arguments)])


def assert_one_clear_line(result: Result, *parts: str) -> None:
    lines = result.stderr.strip().splitlines()
    assert (2, 1) == (result.exit_code, len(lines)), result.output
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


# Sensitivity


@pytest.mark.parametrize("count", [1, 3, 13, 25, 60])
def test_every_layer_has_its_panel_and_all_share_their_axes(count: int) -> None:
    scan = make_scan(resnet_names(count))
    figure = plot_sensitivity({"scan": scan})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [f"{name} (80)" for name in short_names(layer.name for layer in scan.layers).values()] == titles
    assert 1 == len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes})
    assert (8.0, True) == (figure.get_figwidth(), figure.get_figheight() < 13)


def test_curves_are_the_points_of_the_scan_after_the_base_model() -> None:
    scan = make_scan(sparsity=0.5)
    for axes, layer in zip(plot_sensitivity({"scan": scan}).axes, scan.layers, strict=True):
        x, y = line(axes, "scan").get_data()
        assert [0.5, 0.6, 0.8] == list(x), "0.4 is below what was pruned before"
        points = {point.sparsity: point.accuracy for point in scan.curve(layer.name) if point.sparsity > 0.5}
        assert sorted({**points, 0.5: scan.base_accuracy}.items()) == list(zip(x, y, strict=True))
        assert [scan.base_accuracy] * 2 == list(line(axes, "scan base").get_ydata())


def test_a_band_is_the_interval_and_an_exact_scan_has_none() -> None:
    scan = make_scan(mode="adaptive")
    axes = plot_sensitivity({"scan": scan}).axes[0]
    (band,) = axes.collections
    expected = {(0.0, scan.base_accuracy)}
    for point in scan.curve(scan.layers[0].name):
        expected |= {(point.sparsity, point.low), (point.sparsity, point.high)}
    assert expected == {(float(x), float(y)) for x, y in band.get_paths()[0].vertices}
    assert [] == list(plot_sensitivity({"scan": make_scan()}).axes[0].collections)


def test_a_point_that_was_asked_and_not_decided_is_drawn_where_it_was_measured() -> None:
    scan = make_scan(mode="decision")
    points = [p.model_copy(update={"images": 100}) if p.keeps is None else p for p in scan.points]
    figure = plot_sensitivity({"a": scan.model_copy(update={"points": points})})
    triangles = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "^"]
    assert {p.accuracy for p in points if p.keeps is None} == {float(y) for each in triangles for y in each.get_ydata()}


def test_decided_points_show_which_keep_the_accuracy_and_what_was_not_looked_at() -> None:
    scan = make_scan(mode="decision")
    figure = plot_sensitivity({"scan": scan})
    axes = figure.axes[0]
    marked = {
        str(each.get_marker()): [float(x) for x in each.get_xdata()] for each in axes.lines if each.get_xydata().size
    }
    assert {"o": [0.6], "x": [0.8], "^": [0.4]} == {marker: marked[marker] for marker in ("o", "x", "^")}
    assert [0.0, 0.6, 0.8] == list(line(axes, "scan").get_xdata())
    assert [scan.base_accuracy - 2.0] * 2 == list(line(axes, "floor").get_ydata())
    assert "keeps to 0.6" in texts(figure)
    assert "within 2.0 points of base" in texts(figure)


def test_how_far_a_layer_keeps_is_what_the_table_says_also_below_its_own_sparsity() -> None:
    figure = plot_sensitivity({"scan": make_scan(mode="decision", sparsity=0.7)})
    assert "keeps to 0.6" in texts(figure)


def test_two_scans_lie_over_each_other_with_a_legend_and_the_floor_asked_for() -> None:
    scans = {"dense": make_scan(), "tuned": make_scan(sparsity=0.5, correct=176, name="tuned")}
    figure = plot_sensitivity(scans, floor=85.0)
    for axes in figure.axes:
        assert {90.0, 88.0} == {float(line(axes, f"{name} base").get_ydata()[0]) for name in scans}
        assert line(axes, "dense").get_linestyle() != line(axes, "tuned").get_linestyle()
        assert [85.0] * 2 == list(line(axes, "floor").get_ydata())
    shown = texts(figure)
    for part in (
        "dense, base 90.00 %",
        "tuned, base 88.00 %",
        "floor, 85.00 %",
        digest("base")[:12],
        digest("tuned")[:12],
    ):
        assert part in shown


def test_the_axis_can_begin_near_the_floor() -> None:
    assert 80.0 == plot_sensitivity({"scan": make_scan()}, lowest=80.0).axes[0].get_ylim()[0]


def test_an_axis_that_begins_above_what_is_drawn_is_refused() -> None:
    with pytest.raises(PlotError, match=r"--lowest must be below .* 90.00 %, got 100"):
        plot_sensitivity({"scan": make_scan()}, lowest=100.0)


def test_layers_that_were_not_scanned_are_counted_and_have_no_panel() -> None:
    scan = make_scan(scanned=["classifier.weight"])
    figure = plot_sensitivity({"scan": scan})
    assert ["classifier (80)"] == [axes.get_title(loc="left") for axes in figure.axes]
    assert "1 of 3 layers scanned" in texts(figure)


@pytest.mark.parametrize(
    ("scans", "part"),
    [
        ({}, "expected 1 to 4"),
        ({str(number): make_scan() for number in range(len(SERIES) + 1)}, "expected 1 to 4"),
        ({"empty": make_scan(scanned=[])}, "no layer has been scanned yet"),
        ({"a": make_scan(), "b": make_scan(["other.weight"])}, "no layer in common"),
    ],
)
def test_scans_that_cannot_be_drawn_say_why(scans: dict[str, Scan], part: str) -> None:
    with pytest.raises(PlotError, match=part):
        plot_sensitivity(scans)


# Parameter counts


@pytest.mark.parametrize("count", [1, 9, 60])
def test_bars_are_the_counts_and_the_zeros_stand_behind_what_is_kept(count: int) -> None:
    layers = [LayerCount(name=name, elements=100 + n, nonzeros=100 - n) for n, name in enumerate(resnet_names(count))]
    figure = plot_parameters(layers)
    kept, *zeros = [found for found in figure.axes[0].containers if isinstance(found, BarContainer)]
    assert [layer.nonzeros for layer in layers] == [bar.get_width() for bar in kept]
    behind = [(bar.get_x(), bar.get_width()) for group in zeros for bar in group]
    assert [(layer.nonzeros, layer.elements - layer.nonzeros) for layer in layers if layer.nonzeros < 100] == behind
    assert list(short_names(layer.name for layer in layers).values()) == [
        label.get_text() for label in figure.axes[0].get_yticklabels()
    ]
    assert f"{layers[-1].elements:,}" in texts(figure)


def test_a_dense_model_has_no_bar_of_zeros_and_no_layer_is_an_error() -> None:
    figure = plot_parameters([LayerCount(name="a", elements=1_234_567, nonzeros=1_234_567)])
    assert 1 == len(figure.axes[0].containers)
    assert "1,234,567" in texts(figure)
    with pytest.raises(PlotError, match="no prunable layer"):
        plot_parameters([])


def test_counts_come_from_scans_and_records_alike() -> None:
    scan, record = make_scan(sparsity=0.25), make_record(sparsity=0.5)
    assert {(80, 60)} == {(layer.elements, layer.nonzeros) for layer in layer_counts(scan.layers)}
    assert [(108, 54), (40, 20)] == [(layer.elements, layer.nonzeros) for layer in layer_counts(record.layers)]


# Weights


@given(
    values=st.lists(st.floats(-1, 1, width=32) | st.sampled_from([0.0, -0.0, 0.125, -0.125]), max_size=60),
    near_zero=st.sampled_from([NEAR_ZERO, 0.125, 2.0]),
)
def test_every_element_is_counted_once_and_the_share_near_zero_is_the_direct_one(
    values: list[float], near_zero: float
) -> None:
    weights = np.array(values, dtype=np.float32)
    found = weight_histogram(weights, near_zero=near_zero)
    assert len(values) == found.elements == int(found.counts.sum()) + found.zeros
    assert values.count(0.0) == found.zeros
    assert sum(0 < abs(float(value)) < near_zero for value in weights) == found.near_zero


@pytest.mark.parametrize("count", [1, 9, 60])
def test_histograms_of_two_models_share_bins_and_hold_every_nonzero_weight(count: int) -> None:
    rng = np.random.default_rng(0)
    dense = {name: rng.normal(0, 0.01, (6, 5)).astype(np.float32) for name in resnet_names(count)}
    pruned = {name: np.where(np.abs(weights) < 0.008, 0, 2 * weights) for name, weights in dense.items()}
    figure = plot_weights({"dense": dense, "pruned": pruned}, near_zero=0.005)
    assert count == len(figure.axes)
    for axes, name in zip(figure.axes, dense, strict=True):
        before, after = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        assert 30 == int(before.get_data().values.sum())
        assert np.count_nonzero(pruned[name]) == int(after.get_data().values.sum())
        np.testing.assert_array_equal(before.get_data().edges, after.get_data().edges)
        zero, near = np.mean(pruned[name] == 0), np.mean(np.abs(dense[name]) < 0.005)
        shown = [text.get_text() for text in axes.texts]
        assert [f"zero 0.0 %, near {100 * near:.1f} %", f"zero {100 * zero:.1f} %, near 0.0 %"] == shown
    assert "|w| < 0.005" in texts(figure)


def test_a_layer_that_is_all_zeros_is_drawn_and_counted_apart() -> None:
    figure = plot_weights({"empty": {"a": np.zeros((4, 4), np.float32)}})
    assert "zero 100.0 %, near 0.0 %" in texts(figure)
    assert 0 == next(patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)).get_data().values.sum()


@pytest.mark.parametrize(
    ("models", "part"),
    [
        ({}, "expected one, or two"),
        ({"a": {}}, "no prunable layer"),
        ({"a": {"x": np.ones(2)}, "b": {"y": np.ones(2)}}, "not the same"),
        ({name: {"x": np.ones(2)} for name in "abc"}, "expected one, or two"),
    ],
)
def test_models_that_cannot_be_compared_say_why(models: Any, part: str) -> None:
    with pytest.raises(PlotError, match=part):
        plot_weights(models)


# The frontier


def plan(label: str, size: float, **accuracies: Any) -> FrontierPoint:
    return FrontierPoint(label=label, series="plans", size_percent=size, **accuracies)


def test_the_frontier_shows_every_run_before_and_after_joined_by_a_line() -> None:
    points = documented_points(RUNS.values())
    axes = plot_frontier(points).axes[-1]
    for name, expected in (("pruned", 5), ("tuned", 4)):
        shown = set(zip(*line(axes, f"as documented {name}").get_data(), strict=True))
        values = {(point.size_percent, getattr(point, name)) for point in points if getattr(point, name) is not None}
        assert (expected, values) == (len(shown), shown)
    joined = {tuple(map(float, each.get_ydata())) for each in axes.lines if each.get_linestyle() == ":"}
    assert {(point.pruned, point.tuned) for point in points if point.tuned is not None} == joined
    assert {92.95} == {float(y) for y in line(axes, "dense").get_ydata()}


def test_a_wide_range_gets_a_log_axis_and_a_close_up() -> None:
    wide = plot_frontier(documented_points(RUNS.values()))
    assert (["log", "log"], 2) == ([axes.get_xscale() for axes in wide.axes], len(wide.axes))
    narrow = plot_frontier([plan("a", 30, pruned=90.0, dense=91.0), plan("b", 40, pruned=90.5, dense=91.0)])
    assert ["linear"] == [axes.get_xscale() for axes in narrow.axes]


def test_the_steps_join_what_no_smaller_model_matches() -> None:
    members = [("a", 10, 80.0), ("b", 20, 79.0), ("c", 30, 85.0), ("d", 30, 84.0), ("e", 40, 85.0)]
    axes = plot_frontier([plan(name, size, pruned=percent) for name, size, percent in members]).axes[0]
    (steps,) = [each for each in axes.lines if each.get_drawstyle() == "steps-post"]
    assert [(10, 80.0), (30, 85.0)] == list(zip(*steps.get_data(), strict=True))


def test_records_become_points_and_two_checkpoints_become_two_series() -> None:
    one, other = make_record(), make_record(seed=3, finetuning=None, wrong=20)
    measured, oneshot = record_points([one, other])
    assert (one.size_percent, 95.0, 97.0, 98.0) == (
        measured.size_percent,
        measured.pruned,
        measured.tuned,
        measured.dense,
    )
    assert ("tiny seed 3", None, 90.0) == (oneshot.label, oneshot.tuned, oneshot.accuracy)
    assert {"digits quick"} == {measured.series, oneshot.series}
    elsewhere = other.model_copy(update={"checkpoints": other.checkpoints.model_copy(update={"dense": digest("b")})})
    assert 2 == len({point.series for point in record_points([one, elsewhere])})


@given(
    st.lists(st.tuples(st.floats(20, 30), st.floats(88, 92)), min_size=1, max_size=8),
    st.sampled_from(["run", "plan 12"]),
)
@settings(max_examples=15)
def test_labels_keep_clear_of_each_other(spots: list[tuple[float, float]], label: str) -> None:
    figure = plot_frontier([plan(label, size, pruned=percent) for size, percent in spots])
    figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts if isinstance(text, Annotation)]
    assert len(spots) == len(boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("points", "part"),
    [
        ([], "nothing to draw"),
        ([plan("mine", 30)], "'mine' has no accuracy"),
        (
            [FrontierPoint(label="a", series=str(n), size_percent=1, pruned=1) for n in range(5)],
            "5 series",
        ),
    ],
)
def test_points_that_cannot_be_drawn_say_why(points: list[FrontierPoint], part: str) -> None:
    with pytest.raises(PlotError, match=part):
        plot_frontier(points)


# Names, files, settings


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["backbone.conv0.weight", "classifier.weight"], ["conv0", "classifier"]),
        (["layer1.0.conv1.weight", "layer2.0.conv1.weight"], ["layer1.0.conv1", "layer2.0.conv1"]),
        (["features.0.weight", "features.3.weight"], ["features.0", "features.3"]),
        (["model.net.a.weight", "model.net.b.weight"], ["a", "b"]),
        (
            ["stage_with_a_long_name_1.weight", "stage_with_a_long_name_2.weight"],
            ["…h_a_long_name_1", "…h_a_long_name_2"],
        ),
        (["weight"], ["weight"]),
    ],
)
def test_names_are_short_and_stay_different(names: list[str], short: list[str]) -> None:
    assert short == list(short_names(names, longest=16).values())


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (999, "999"), (1_728, "1.73 k"), (999_700, "1 M"), (2_359_296, "2.36 M"), (11_000_000_000, "11 G")],
)
def test_counts_are_short(count: int, shown: str) -> None:
    assert shown == short_count(count)


FIGURES: dict[str, Callable[[], Figure]] = {
    "sensitivity": lambda: plot_sensitivity({"a": make_scan(mode="adaptive"), "b": make_scan(mode="decision")}),
    "parameters": lambda: plot_parameters(layer_counts(make_scan(sparsity=0.5).layers)),
    "weights": lambda: plot_weights({"a": {"x": np.linspace(-1, 1, 50)}}),
    "frontier": lambda: plot_frontier(documented_points(RUNS.values())),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", FIGURES)
def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(
    name: str, suffix: str, tmp_path: Path
) -> None:
    first, second = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
    write_figure(FIGURES[name](), first)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": None, "savefig.bbox": "tight"}):
        write_figure(FIGURES[name](), second)
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".png":
        with Image.open(first) as image:
            image.load()
            assert (1200, {"dpi"}) == (image.width, set(image.info))
    if suffix == ".svg":
        assert ET.parse(first).getroot().tag.endswith("svg")
        assert "<dc:date>" not in first.read_text()


def test_drawing_leaves_the_users_settings_as_they_were() -> None:
    with mpl.rc_context({"font.size": 30}):
        FIGURES["weights"]()
        assert 30 == mpl.rcParams["font.size"]


def test_no_text_is_tiny_or_cut_off() -> None:
    for name, figure in FIGURES.items():
        made = figure()
        made.canvas.draw()
        page = made.bbox
        for text in made.findobj(lambda artist: hasattr(artist, "get_fontsize")):
            if text.get_text() and text.get_visible():
                assert 6.5 <= text.get_fontsize(), (name, text)
        for axes in made.axes:
            box = axes.get_tightbbox()
            assert page.x0 <= box.x0, name
            assert box.x1 <= page.x1 + 1, name
            assert page.y0 <= box.y0, name
            assert box.y1 <= page.y1, name


# The command


@pytest.mark.parametrize("arguments", [["plot", "--help"], ["plot", "frontier", "--help"]])
def test_help_imports_neither_torch_nor_matplotlib(arguments: list[str]) -> None:
    script = (
        "import sys; from prunebench.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'torch', 'pydantic', 'numpy', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.fixture
def inputs(tmp_path: Path, untrained_checkpoint: Path) -> dict[str, list[object]]:
    """Arguments of each command, on files in `tmp_path`."""
    write_scan(make_scan(), tmp_path / "dense.json")
    write_scan(make_scan(sparsity=0.5, mode="adaptive"), tmp_path / "tuned.json")
    write_record(make_record(), tmp_path / "record.json")
    write_baseline(make_baseline(make_record(run="other")), tmp_path / "baselines")
    return {
        "sensitivity": [tmp_path / "dense.json", tmp_path / "tuned.json", "--floor", 80],
        "parameters": [tmp_path / "dense.json"],
        "weights": [untrained_checkpoint, "--near-zero", 0.01],
        "frontier": [tmp_path / "record.json", tmp_path / "baselines"],
    }


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("command", ["sensitivity", "parameters", "weights", "frontier"])
def test_each_command_writes_its_file(
    command: str, suffix: str, inputs: dict[str, list[object]], tmp_path: Path
) -> None:
    output = tmp_path / "plots" / f"{command}{suffix}"
    result = call(command, *inputs[command], "--output", output)
    assert (0, f"Plot: {output}\n", "") == (result.exit_code, result.stdout, result.stderr), result.output
    assert [output] == list(output.parent.iterdir())


@pytest.mark.parametrize("source", ["record.json", "baselines/digits/other-quick.json", "checkpoint"])
def test_parameters_are_counted_in_records_baselines_and_checkpoints(
    source: str, inputs: dict[str, list[object]], untrained_checkpoint: Path, tmp_path: Path
) -> None:
    path = untrained_checkpoint if source == "checkpoint" else tmp_path / source
    assert 0 == call("parameters", path, "-o", tmp_path / "plot.svg").exit_code


def test_documented_runs_are_drawn_when_asked_or_where_a_record_is_comparable(tmp_path: Path) -> None:
    path, output = tmp_path / "record.json", tmp_path / "plot.svg"

    def drawn(*options: str) -> bytes:
        assert 0 == call("frontier", path, *options, "-o", output).exit_code
        return output.read_bytes()

    record = make_record()
    write_record(record, path)
    assert drawn() == drawn("--no-documented") != drawn("--documented")
    course = record.checkpoints.model_copy(update={"is_course_checkpoint": True})
    write_record(record.model_copy(update={"checkpoints": course}), path)
    assert drawn() == drawn("--documented") != drawn("--no-documented")
    assert 0 == call("frontier", "--documented", "-o", output).exit_code


def test_what_cannot_be_used_of_a_folder_is_named_and_the_rest_drawn(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "records" / "good.json")
    (tmp_path / "records" / "bad.json").write_text("{")
    result = call("frontier", tmp_path / "records", "-o", tmp_path / "plot.png")
    assert (0, True) == (result.exit_code, result.stderr.startswith("left out: bad.json: "))


def test_the_same_case_in_two_folders_is_two_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[FrontierPoint] = []

    def keep(points: Sequence[FrontierPoint], **_: object) -> Figure:
        drawn[:] = points
        return plot_frontier(points)

    monkeypatch.setattr("prunebench.cli.actions.plot.plot_frontier", keep)
    record = make_record()
    other = record.checkpoints.model_copy(update={"dense": digest("other")})
    write_record(record, tmp_path / "old" / "record.json")
    write_record(make_record(wrong=30), tmp_path / "new" / "record.json")
    write_record(record.model_copy(update={"checkpoints": other, "run": "b"}), tmp_path / "elsewhere" / "record.json")
    apart = {f"digits quick from {digest(name)[:8]}" for name in ("dense", "other")}
    for second, series in (("new", {"digits quick, old", "digits quick, new"}), ("elsewhere", apart)):
        result = call("frontier", tmp_path / "old", tmp_path / second, "-o", tmp_path / "plot.png")
        assert 0 == result.exit_code, result.output
        assert series == {point.series for point in drawn}


def _failed(path: Path) -> None:
    write_record(
        FailedRun(created="2026-01-01", case="digits/run3-quick", error="ValueError: no", revision=None, dirty=None),
        path,
    )


@pytest.mark.parametrize("command", ["sensitivity", "parameters"])
@pytest.mark.parametrize("said", CONTRADICTORY)
def test_a_scan_that_contradicts_itself_is_not_drawn(said: str, command: str, tmp_path: Path) -> None:
    edited(tmp_path / "scan.json", **CONTRADICTORY[said])
    result = call(command, tmp_path / "scan.json", "--output", tmp_path / "plot.svg")
    assert_one_clear_line(result, "scan.json' cannot be used: the scan contradicts itself", said)
    assert not (tmp_path / "plot.svg").exists()


@pytest.mark.parametrize("command", ["sensitivity", "parameters", "weights", "frontier"])
def test_a_plot_does_not_overwrite_what_it_shows(command: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.svg"
    write_scan(make_scan(), path)
    before = path.read_bytes()
    result = call(command, path, "--output", path)
    assert 2 == result.exit_code
    assert result.stderr.startswith(f"error: --output would overwrite '{path}'")
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["sensitivity", "dense.json", "-o", "plot.jpg"], ["plot.jpg", ".pdf, .png, .svg", "'.jpg'"]),
        (["sensitivity", "dense.json", "-o", "plot"], ["'plot'", ".pdf, .png, .svg"]),
        (["sensitivity", "dense.json"], ["--output"]),
        (["sensitivity", "absent.json", "-o", "plot.png"], ["absent.json", "No such file"]),
        (["sensitivity", "record.json", "-o", "plot.png"], ["record.json", "holds a record"]),
        (["sensitivity", "empty.json", "-o", "plot.png"], ["empty", "no layer has been scanned"]),
        (["sensitivity", "dense.json", "--floor", "101", "-o", "plot.png"], ["--floor", "101"]),
        (["sensitivity", "dense.json", "-o", "dense.json/plot.png"], ["cannot write", "plot.png"]),
        (["parameters", "failed.json", "-o", "plot.png"], ["failed.json", "ValueError: no"]),
        (["parameters", "absent.pth", "-o", "plot.png"], ["absent.pth", "no checkpoint"]),
        (["weights", "dense.json", "-o", "plot.png"], ["dense.json"]),
        (["weights", "a.pth", "--workload", "lenet", "-o", "plot.png"], ["unknown workload 'lenet'", "shapes"]),
        (["weights", "a.pth", "--near-zero", "0", "-o", "plot.png"], ["--near-zero"]),
        (["frontier", "-o", "plot.png"], ["nothing to draw"]),
        (["frontier", "absent", "-o", "plot.png"], ["absent", "No such file"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(
    arguments: list[str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scan(make_scan(), Path("dense.json"))
    write_scan(make_scan(scanned=[]), Path("empty.json"))
    write_record(make_record(), Path("record.json"))
    _failed(Path("failed.json"))
    before = sorted(tmp_path.rglob("*"))
    assert_one_clear_line(call(*arguments), *parts)
    assert before == sorted(tmp_path.rglob("*"))
