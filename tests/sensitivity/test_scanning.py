"""Scans: the counts of a naive loop, intervals that hold, decisions that are right; stopped and gone on with."""

from __future__ import annotations

import base64
import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import Branches, Branching, Direct, Keeping, Plain, Residual, Sequence, built, images
from torch import Tensor, nn

from prunebench.data import Examples
from prunebench.errors import ModelError, PlanError, PrunebenchError, RecordError, ScanError, UnknownNameError
from prunebench.machine.devices import Precision
from prunebench.models import prunable_parameters, state_digest
from prunebench.pruning import Evidence, compounded, gather_evidence, prune_
from prunebench.report import scan_heading
from prunebench.sensitivity import (
    HalfWidth,
    Scan,
    ScanProgress,
    read_scan,
    replay,
    scanning,
    sensitivity_scan,
    write_scan,
)
from prunebench.sensitivity.adaptive.order import Order, drawn, uncertainty_of
from prunebench.sensitivity.adaptive.stopping import HighestWithin, OpenPoint, Settings, points_of
from prunebench.sensitivity.answers import UNKNOWN
from prunebench.sensitivity.recomputation import Suffixes, zeros_of
from prunebench.storage.documents import render
from prunebench.tasks.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")

SPARSITIES = (0.3, 0.6, 0.9)
MEASURED = {"seconds", "created"}


def naive(
    model: nn.Module, data: Examples, *, batch_size: int, precision: Precision = "fp32", **method: Any
) -> dict[tuple[str, float], str]:
    """The plain loop: for every point a pruned copy of the model, evaluated from its start."""
    bits = {}
    for name in prunable_parameters(model):
        for sparsity in SPARSITIES:
            pruned = copy.deepcopy(model)
            plan = {layer: sparsity if layer == name else 0 for layer in prunable_parameters(model)}
            prune_(pruned, plan, **method)
            bits[name, sparsity] = evaluate(pruned, data, batch_size=batch_size, precision=precision).correct_bits
    return bits


def measured(scan: Scan) -> dict[str, object]:
    """All but the times."""
    return {key: value for key, value in scan.model_dump().items() if key not in MEASURED}


def opinionated(*, seed: int = 0) -> Plain:
    """Surer of some images than of others, which these small models are not."""
    model = built(Plain, seed=seed)
    model.classifier.weight.data *= 100
    return model


class Counting(ScanProgress):
    """Counts batches, and interrupts after some."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.batches, self._stop_after = 0, stop_after

    def asked(self, answered: int, most: int, open_points: int) -> None:
        self.batches += 1
        if self.batches == self._stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [Plain, Residual, Branches, Direct, Sequence, Branching])
def test_exact_gives_the_naive_loops_answers_image_by_image(kind: type[nn.Module]) -> None:
    model, data = built(kind), images()
    scan = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=40)
    expected = naive(model, data, batch_size=40)
    assert expected == {(point.layer, point.sparsity): point.correct_bits for point in scan.points}
    assert evaluate(model, data, batch_size=40).correct_bits == scan.base_bits
    assert ("whole" if kind is Branching else "suffix") == scan.recomputed


@pytest.mark.parametrize("kind", [Plain, Residual, Branches, Direct, Sequence, Branching])
def test_bf16_gives_the_naive_loops_answers_in_bf16(kind: type[nn.Module]) -> None:
    model, data = built(kind), images()
    scan = sensitivity_scan(model, data, sparsities=SPARSITIES, precision="bf16", batch_size=40)
    expected = naive(model, data, batch_size=40, precision="bf16")
    assert expected == {(point.layer, point.sparsity): point.correct_bits for point in scan.points}
    assert ("whole" if kind is Branching else "suffix") == scan.recomputed


def test_a_criterion_that_needs_evidence_gives_the_naive_loops_answers() -> None:
    model, data = opinionated(), images()
    method = {"criterion": "taylor", "evidence": gather_evidence(model, data, needs={"batch_squares"}, examples=20)}
    scan = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=40, **method)
    expected = naive(model, data, batch_size=40, **method)
    assert expected == {(point.layer, point.sparsity): point.correct_bits for point in scan.points}
    assert expected != naive(model, data, batch_size=40)
    assert "taylor" == scan.criterion
    with pytest.raises(PlanError, match="the evidence has no batch_squares"):
        sensitivity_scan(model, data, criterion="taylor")


class Answering(Residual):
    """Answers with an object of another kind than a tensor."""

    kind = "logits"

    def forward(self, images: Tensor) -> Any:
        scores = super().forward(images)
        return {"logits": {"logits": scores, "loss": None}, "first": (scores, images), "one": scores[:, :1]}[self.kind]


@pytest.mark.parametrize("kind", ["logits", "first", "one"])
def test_scores_are_found_in_whatever_the_model_answers_with(kind: str) -> None:
    model, data = built(Answering), images()
    model.kind = kind
    if kind == "one":
        data = Examples(data.inputs, data.targets % 2)
    scan = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=40)
    expected = naive(model, data, batch_size=40)
    assert expected == {(point.layer, point.sparsity): point.correct_bits for point in scan.points}
    assert "suffix" == scan.recomputed


def passes(module: nn.Module) -> list[int]:
    """The number of images of each pass through a module from now on."""
    seen: list[int] = []
    module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    return seen


def test_a_model_that_is_run_from_its_start_is_run_no_more_often_than_by_the_plain_loop() -> None:
    model, data = built(Branching), images(90)
    seen = passes(model)
    scan = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=40)
    assert "whole" == scan.recomputed
    assert [batch for batch in (40, 40, 10) for _ in range(len(scan.points) + 1)] == seen[2:]
    assert max(seen[:2]) <= 2, "it is checked, and its multiply-accumulates are counted"


def test_only_the_layers_scanned_are_tried_out() -> None:
    model, data = built(Plain), images(90)
    seen = passes(model.backbone[0])
    sensitivity_scan(model, data, layers=["classifier.weight"], sparsities=SPARSITIES, batch_size=40)
    assert [40, 40, 10] == seen[-3:], "what comes before the layer is computed once"
    assert [4, 4, 4] == seen[2:-3], "from the start with half of the layer and with all; on the way"


def test_without_a_store_nothing_is_described_to_tell_answers_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: nn.Module, data: Examples) -> str:
        raise AssertionError

    monkeypatch.setattr(scanning, "forward_digest", refuse)
    sensitivity_scan(built(Plain), images(), sparsities=(0.5,))
    with pytest.raises(AssertionError):
        sensitivity_scan(built(Plain), images(), sparsities=(0.5,), store=tmp_path)


def test_an_adaptive_scan_says_how_narrow_its_intervals_were_to_be(tmp_path: Path) -> None:
    model, data = built(Plain), images()
    narrow = HalfWidth(points=4, relative=0.5)
    scan = sensitivity_scan(model, data, sparsities=(0.5,), mode="adaptive", half_width=narrow)
    assert (4, 0.5) == (scan.half_width, scan.relative_half_width)
    assert "within 4 points, or 50 % of the drop where that is more;" in scan_heading(scan)
    exact = sensitivity_scan(model, data, sparsities=(0.5,), half_width=narrow)
    assert (None, None) == (exact.half_width, exact.relative_half_width)
    again = replay(exact, scan, mode="adaptive", half_width=narrow)
    assert (4, 0.5) == (again.half_width, again.relative_half_width)
    older = scan.model_dump(mode="json", exclude={"relative_half_width"})
    (tmp_path / "scan.json").write_text(render(older))
    assert "within 4 points;" in scan_heading(read_scan(tmp_path / "scan.json"))


def test_a_point_adds_up() -> None:
    scan = sensitivity_scan(built(Plain), images(), sparsities=SPARSITIES)
    for point in scan.points:
        assert scan.base_correct - point.lost + point.gained == point.correct
        assert point.accuracy == pytest.approx(100 * point.correct / 90)
        assert point.low == point.accuracy == point.high
    assert 0.0 == scan.images_saved


def test_the_model_ends_as_it_was() -> None:
    model = built(Plain).train()
    model.backbone.eval()
    before, modes = state_digest(model.state_dict()), [module.training for module in model.modules()]
    sensitivity_scan(model, images(), sparsities=SPARSITIES)
    assert before == state_digest(model.state_dict())
    assert modes == [module.training for module in model.modules()]


def test_sparsity_zero_changes_nothing() -> None:
    scan = sensitivity_scan(built(Plain), images(), sparsities=(0.0,))
    assert {(0, 0)} == {(point.lost, point.gained) for point in scan.points}


def test_on_a_pruned_model_sparsity_is_absolute() -> None:
    model = built(Plain)
    prune_(model, dict.fromkeys(prunable_parameters(model), 0.5))
    scan = sensitivity_scan(model, images(), sparsities=(0.3, 0.5))
    assert {(0, 0)} == {(point.lost, point.gained) for point in scan.points}
    assert all(layer.sparsity == pytest.approx(0.5, abs=0.02) for layer in scan.layers)


def test_compounding_counts_from_what_is_left() -> None:
    model = built(Plain)
    prune_(model, dict(zip(prunable_parameters(model), (0.5, 0.75, 0), strict=True)))
    scan = sensitivity_scan(model, images(), sparsities=(0.8,), compounding=True)
    assert scan.compounding
    expected = [compounded(layer.sparsity, 0.8) for layer in scan.layers]
    assert expected == [point.sparsity for point in scan.points]
    assert 0.95 == pytest.approx(scan.points[1].sparsity, abs=0.01)


def test_compounding_on_an_empty_layer_has_one_point() -> None:
    model = built(Plain)
    nn.init.zeros_(model.classifier.weight)
    scan = sensitivity_scan(model, images(), sparsities=(0.2, 0.5), compounding=True)
    assert [1.0] == [point.sparsity for point in scan.curve("classifier.weight")]


def test_a_model_that_keeps_what_it_computes_keeps_nothing_of_tracing() -> None:
    model = built(Keeping)
    scan = sensitivity_scan(model, images(), sparsities=(0.5,))
    assert "suffix" == scan.recomputed
    assert isinstance(model.asked, Tensor)
    assert {Tensor} == {type(kept) for kept in model.looked_at}


def test_a_model_whose_macs_cannot_be_counted_says_so_before_anything_is_asked() -> None:
    model, asked = built(Plain), Counting()
    model.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"multiply-accumulates cannot be counted: TypeError: cannot pickle"):
        sensitivity_scan(model, images(), sparsities=(0.5,), progress=asked)
    assert 0 == asked.batches


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ModelError, match="has no parameters"):
        sensitivity_scan(nn.Flatten(), images())


def test_adaptive_intervals_hold_the_exact_accuracy_and_are_narrow() -> None:
    model, data = built(Plain, seed=1), images(600)
    exact = sensitivity_scan(model, data, sparsities=SPARSITIES)
    truth = {(point.layer, point.sparsity): point.accuracy for point in exact.points}
    held, asked = 0, 0
    for seed in range(5):
        scan = sensitivity_scan(
            model,
            data,
            sparsities=SPARSITIES,
            mode="adaptive",
            half_width=HalfWidth(points=4),
            batch_size=50,
            seed=seed,
        )
        for point in scan.points:
            held += point.low - 1e-9 <= truth[point.layer, point.sparsity] <= point.high + 1e-9
            asked += 1
            assert (point.high - point.low) / 2 <= max(4, abs(scan.base_accuracy - point.accuracy) / 10) + 1e-9
        assert scan.images_saved > 0
    assert held >= asked - 5, "5 % of 45 points is two; they are not independent"


def test_a_decision_is_the_highest_sparsity_within_the_limit() -> None:
    model, data = built(Plain, seed=1), images(400)
    exact = sensitivity_scan(model, data, sparsities=SPARSITIES)
    within = 6.0
    found = sensitivity_scan(model, data, sparsities=SPARSITIES, mode="decision", within=within, batch_size=25)
    for layer in exact.layers:
        keeps = [p.sparsity for p in exact.curve(layer.name) if exact.base_accuracy - p.accuracy <= within + 1e-9]
        decided = [point.sparsity for point in found.curve(layer.name) if point.keeps]
        assert ([max(keeps)] if keeps else []) == decided, layer.name
    assert found.images_answered < exact.images_answered


def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The layer and the number of pruned elements of every point that a model answers from now on, once a batch."""
    asked: list[tuple[str, int]] = []
    answer = Suffixes.batch

    def spied(self: Any, images: Any, masks: Any, **kwargs: Any) -> Any:
        asked.extend(
            (layer, int((~zeros_of(layer, zeros)[layer]).sum())) for layer, group in masks.items() for zeros in group
        )
        return answer(self, images, masks, **kwargs)

    monkeypatch.setattr(Suffixes, "batch", spied)
    return asked


def test_an_interrupted_scan_goes_on_and_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = built(Plain), images()
    whole = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=20)
    with pytest.raises(KeyboardInterrupt):
        sensitivity_scan(
            model, data, sparsities=SPARSITIES, batch_size=20, store=tmp_path, progress=Counting(stop_after=3)
        )
    asked = computed(monkeypatch)
    resumed = sensitivity_scan(model, data, sparsities=SPARSITIES, batch_size=20, store=tmp_path)
    assert measured(whole) == measured(resumed)
    probed = len(whole.layers)
    answered = 3  # of the first batch
    assert -(-len(data) // 20) * len(whole.points) - answered == len(asked) - probed


def test_what_no_image_has_to_decide_is_answered_all_the_same() -> None:
    model, data = built(Plain), images(90)
    found = sensitivity_scan(model, data, sparsities=SPARSITIES, mode="decision", within=100, batch_size=25)
    assert [max(SPARSITIES)] * 3 == [point.sparsity for point in found.points]
    assert all(point.keeps and point.images == 13 for point in found.points)


@pytest.mark.parametrize("mode", ["adaptive", "decision"])
def test_an_interrupted_search_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, mode: str) -> None:
    model, data = built(Plain, seed=1), images(400)
    settings = {
        "sparsities": SPARSITIES,
        "mode": mode,
        "batch_size": 20,
        "half_width": HalfWidth(points=4),
        "within": 6,
    }
    whole = sensitivity_scan(model, data, **settings)
    with pytest.raises(KeyboardInterrupt):
        sensitivity_scan(model, data, **settings, store=tmp_path, progress=Counting(stop_after=4))
    resumed = sensitivity_scan(model, data, **settings, store=tmp_path)
    assert measured(whole) == measured(resumed)


@pytest.mark.parametrize("within", [0, 0.5, 2])
def test_a_search_that_is_made_again_finds_the_same(tmp_path: Path, within: float) -> None:
    """Near the limit a point is answered in full while the next lower one is asked along."""
    model, data = opinionated(seed=3), images(400)
    settings = {"sparsities": (0.3, 0.5, 0.6, 0.7, 0.9), "mode": "decision", "batch_size": 50, "within": within}
    first = sensitivity_scan(model, data, **settings, store=tmp_path)
    assert measured(first) == measured(sensitivity_scan(model, data, **settings, store=tmp_path))


def test_a_scan_with_any_interval_narrow_enough_asks_all_the_same() -> None:
    scan = sensitivity_scan(built(Plain), images(), mode="adaptive", half_width=HalfWidth(points=60), batch_size=30)
    assert {30} == {point.images for point in scan.points}


def test_what_is_known_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = built(Plain), images()
    first = sensitivity_scan(model, data, sparsities=(0.3, 0.6), store=tmp_path)
    asked = computed(monkeypatch)
    again = sensitivity_scan(model, data, sparsities=(0.3, 0.6), store=tmp_path)
    probed = [(layer.name, layer.numel // 2) for layer in first.layers]
    assert probed == asked
    assert first.points == again.points
    asked.clear()
    more = sensitivity_scan(model, data, sparsities=(0.3, 0.6, 0.9), store=tmp_path)
    assert [*probed, *((layer.name, round(0.9 * layer.numel)) for layer in more.layers)] == asked
    assert [point for point in more.points if point.sparsity < 0.9] == again.points
    assert measured(sensitivity_scan(model, data, sparsities=(0.3, 0.6, 0.9))) == measured(more)


@pytest.mark.parametrize("damage", ["", "not a zip", "PK\x03\x04 cut short"])
def test_damaged_answers_are_found_again(tmp_path: Path, damage: str) -> None:
    model, data = built(Plain), images()
    whole = sensitivity_scan(model, data, sparsities=SPARSITIES, store=tmp_path)
    for path in tmp_path.glob("*/*.npz"):
        path.write_text(damage)
    assert measured(whole) == measured(sensitivity_scan(model, data, sparsities=SPARSITIES, store=tmp_path))


def test_another_model_data_or_precision_shares_nothing(tmp_path: Path) -> None:
    for model, data, precision in (
        (built(Plain), images(), "fp32"),
        (built(Plain, seed=1), images(), "fp32"),
        (built(Plain), images(seed=1), "fp32"),
        (built(Plain), images(), "bf16"),
    ):
        kept = sensitivity_scan(model, data, sparsities=SPARSITIES, precision=precision, store=tmp_path)
        fresh = sensitivity_scan(model, data, sparsities=SPARSITIES, precision=precision)
        assert measured(fresh) == measured(kept)
    assert 4 == len(list(tmp_path.iterdir()))


def test_answers_by_one_evidence_are_not_those_by_another(tmp_path: Path) -> None:
    model, data = built(Plain), images()
    for seed in (0, 1):
        sensitivity_scan(model, data, criterion="random", evidence=Evidence(seed=seed), store=tmp_path)
    assert 2 == len(list(tmp_path.iterdir()))


def test_another_forward_pass_of_the_same_weights_shares_nothing(tmp_path: Path) -> None:
    """What the weights' digest does not see: other modules between them, another place in memory."""
    model, data = built(Plain), images()
    other = copy.deepcopy(model)
    other.backbone[2] = nn.Tanh()
    for each in (model, other, copy.deepcopy(model).to(memory_format=torch.channels_last)):
        kept = sensitivity_scan(each, data, sparsities=SPARSITIES, store=tmp_path)
        assert measured(sensitivity_scan(each, data, sparsities=SPARSITIES)) == measured(kept)
    assert 3 == len(list(tmp_path.iterdir()))


def test_answers_of_other_arithmetic_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = built(Plain), images()
    sensitivity_scan(model, data, sparsities=SPARSITIES, store=tmp_path)
    monkeypatch.setattr(scanning, "ARITHMETIC", "another")
    sensitivity_scan(model, data, sparsities=SPARSITIES, store=tmp_path)
    assert 2 == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"sparsities": (0.5, 1.2)}, PlanError, "1.2"),
        ({"sparsities": ()}, PlanError, "at least one"),
        ({"sparsities": (0.5, 0.5)}, PlanError, "different"),
        ({"layers": ["backbone.9.weight"]}, UnknownNameError, "backbone.9.weight"),
        ({"criterion": "luck"}, UnknownNameError, "luck"),
        ({"criterion": "bn_scale"}, PlanError, "scores output channels: expected granularity 'channel', got 'element'"),
        ({"confidence": 1.0, "mode": "adaptive"}, ScanError, "confidence"),
        ({"within": -1, "mode": "adaptive"}, ScanError, "-1"),
        ({"half_width": HalfWidth(points=0), "mode": "adaptive"}, ScanError, "half width"),
        (
            {"half_width": HalfWidth(relative=-0.1), "mode": "adaptive"},
            ScanError,
            "relative half width must be from 0 to 1, got -0.1",
        ),
        ({"batch_size": 0}, ScanError, "at least 1, got 0"),
        ({"seed": -1, "mode": "adaptive"}, ScanError, "-1"),
        ({"mode": "fast"}, UnknownNameError, "fast"),
    ],
)
def test_bad_input_is_named(settings: dict[str, object], error: type[PrunebenchError], said: str) -> None:
    with pytest.raises(error, match=said):
        sensitivity_scan(built(Plain), images(), **settings)


def test_only_the_layers_asked_for_are_scanned_and_all_are_listed() -> None:
    scan = sensitivity_scan(built(Plain), images(), layers=["classifier.weight"], sparsities=SPARSITIES)
    assert {"classifier.weight"} == {point.layer for point in scan.points}
    assert list(prunable_parameters(built(Plain))) == [layer.name for layer in scan.layers]
    assert [] == scan.curve("backbone.0.weight")


def test_a_scan_is_read_as_it_was_written(tmp_path: Path) -> None:
    scan = sensitivity_scan(built(Plain), images(), sparsities=SPARSITIES)
    write_scan(scan, tmp_path / "scan.json")
    assert scan == read_scan(tmp_path / "scan.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [('"images": 90', '"images": 91', "edited"), ('"schema_version": 1', '"schema_version": 2', "upgrade")],
)
def test_a_scan_that_was_edited_or_is_newer_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "scan.json"
    write_scan(sensitivity_scan(built(Plain), images(), sparsities=SPARSITIES), path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecordError, match=said):
        read_scan(path)


def test_an_exact_scan_says_nothing_of_other_modes() -> None:
    scan = sensitivity_scan(built(Plain), images(), sparsities=SPARSITIES)
    assert (1.0, None, None) == (scan.confidence, scan.within, scan.base_uncertainty)
    for point in scan.points:
        assert (None, None, None, None) == (point.lost_share, point.gained_share, point.drawing_error, point.keeps)


@pytest.mark.parametrize("mode", ["adaptive", "decision"])
def test_a_replay_is_the_scan_itself(mode: str) -> None:
    model, data = opinionated(seed=1), images(400)
    exact = sensitivity_scan(model, data, sparsities=SPARSITIES)
    settings = {"mode": mode, "half_width": HalfWidth(points=4), "within": 6.0, "batch_size": 20, "seed": 3}
    scanned = sensitivity_scan(model, data, sparsities=SPARSITIES, **settings)
    assert measured(scanned) == measured(replay(exact, scanned, **settings))


def test_uncertainty_is_what_the_two_likeliest_classes_are_apart() -> None:
    model, data = opinionated(), images()
    scan = sensitivity_scan(model, data, sparsities=(0.5,), batch_size=90, mode="adaptive")
    with torch.inference_mode():
        likeliest = model.eval()(data.inputs.float() / 255).softmax(dim=1).sort(dim=1).values
    expected = (255 * (1 - (likeliest[:, -1] - likeliest[:, -2]))).round().to(torch.uint8)
    assert expected.tolist() == [*base64.b64decode(scan.base_uncertainty)]
    assert len(set(expected.tolist())) > 10, "not all alike"


@pytest.mark.parametrize(
    ("uncertainty", "logits"),
    [
        ([255, 255], [[float("nan"), 1.0, 2.0], [float("inf"), 0.0, 0.0]]),
        ([255, 255, 0, 0], [[0.0], [float("nan")], [100.0], [-100.0]]),
    ],
    ids=["of three classes", "one for two classes"],
)
def test_logits_that_say_nothing_are_uncertain_and_far_ones_certain(
    uncertainty: list[int], logits: list[list[float]]
) -> None:
    assert uncertainty == uncertainty_of(torch.tensor(logits)).tolist()


@pytest.mark.parametrize("mode", ["adaptive", "decision"])
def test_the_base_model_is_asked_first_and_once(mode: str) -> None:
    model, data = built(Plain, seed=1), images(400)
    seen: list[tuple[str, int]] = []

    class Watching(ScanProgress):
        def base_asked(self, answered: int, images: int) -> None:
            seen.append(("base", answered))
            assert images == 400

        def asked(self, answered: int, most: int, open_points: int) -> None:
            seen.append(("points", answered))

    sensitivity_scan(model, data, sparsities=SPARSITIES, mode=mode, batch_size=100, progress=Watching())
    assert [("base", 100), ("base", 200), ("base", 300), ("base", 400)] == seen[:4]
    assert {"points"} == {what for what, _ in seen[4:]}


def test_shares_of_all_images_are_told_from_those_drawn_by_uncertainty() -> None:
    base, answers = np.ones(600, dtype=np.int8), np.ones(600, dtype=np.int8)
    base[500:], answers[:60] = 0, 0  # 60 of 500 are lost, 30 of 100 gained: all among the uncertain
    answers[500:570] = 0
    uncertainty = np.full(600, 30, dtype=np.uint8)
    uncertainty[:100] = uncertainty[500:] = 255
    off, counted = [], []
    settings = Settings(mode="adaptive", half_width=HalfWidth(), within=1, confidence=0.95, seed=0)
    for seed in range(100):
        order = drawn(uncertainty, minimum=0.1, seed=seed)
        asked = OpenPoint(layer="a", sparsity=0.5, answers=answers.copy(), order=order, asked=150)
        asked.answers[order.images[150:]] = UNKNOWN
        point = points_of([asked], base, settings)[0]
        off.append([point.lost_share - 0.1, point.gained_share - 0.05])
        counted.append([point.lost / 150 - 0.1, point.gained / 150 - 0.05])
        assert 100 * (5 / 6 - 0.05) == pytest.approx(point.accuracy, abs=5 * point.drawing_error)
        assert 100 * (5 / 6 - point.lost_share + point.gained_share) == pytest.approx(point.accuracy)
    assert np.abs(np.mean(off, axis=0)).max() < 0.006
    assert np.abs(np.mean(counted, axis=0)).min() > 0.02, "those counted are not like the others"


def test_a_decision_asks_the_next_lower_one_along_where_one_seems_to_lose_too_much() -> None:
    base, order = np.ones(1000, dtype=np.int8), Order(np.arange(1000), np.ones(1000))
    rule = HighestWithin(points=10, error=0.05)

    def asked(sparsity: float, wrong: int) -> OpenPoint:
        answers = np.ones(1000, dtype=np.int8)
        answers[:wrong] = 0
        answers[20:] = UNKNOWN
        return OpenPoint(layer="a", sparsity=sparsity, answers=answers, order=order, asked=20)

    fine, torn, keeping = asked(0.3, 0), asked(0.6, 4), asked(0.6, 1)
    assert [torn, fine] == rule.next([fine, torn], base)
    assert [keeping] == rule.next([fine, keeping], base)
    lost = asked(0.9, 20)
    assert [torn, fine] == rule.next([fine, torn, lost], base)
    assert lost.keeps is False


def test_a_replay_needs_to_know_how_uncertain_the_same_model_is() -> None:
    exact = sensitivity_scan(built(Plain), images(), sparsities=(0.5,))
    adaptive = sensitivity_scan(built(Plain), images(), sparsities=(0.5,), mode="adaptive")
    for changes, said in (
        ({"base_uncertainty": None}, "expected an adaptive scan"),
        ({"base_bits": "AAAA"}, "of the same model"),
        ({"base_uncertainty": "AAAA"}, "uncertainty of 3 images"),
        ({"base_uncertainty": "?"}, "damaged"),
    ):
        with pytest.raises(ScanError, match=said):
            replay(exact, adaptive.model_copy(update=changes), mode="adaptive")


def test_an_exact_scan_is_no_search_to_replay() -> None:
    exact = sensitivity_scan(built(Plain), images(), sparsities=(0.5,))
    with pytest.raises(UnknownNameError, match="exact"):
        replay(exact, exact, mode="exact")


def test_only_an_exact_scan_can_be_replayed() -> None:
    model, data = built(Plain, seed=1), images(400)
    adaptive = sensitivity_scan(model, data, sparsities=SPARSITIES, mode="adaptive", half_width=HalfWidth(points=9))
    with pytest.raises(ScanError, match="of 400 answers"):
        replay(adaptive, adaptive, mode="adaptive")
