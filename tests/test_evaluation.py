"""Evaluation: every image counts once, the model is left as it was, and what a record carries decodes back."""

from __future__ import annotations

import base64
import inspect
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import make_dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import GoogLeNetOutputs

from prunebench.data.examples import Examples
from prunebench.errors import ModelError, RecordError, WorkloadError
from prunebench.models import output_of
from prunebench.tasks import CLASSIFICATION, compare_answers, find_task, unpacked
from prunebench.tasks.comparison import Outputs
from prunebench.tasks.evaluation import Evaluation, evaluate

CLASSES = 5


class ByFirstPixel(nn.Module):
    """Integer logits, exact in any order of summation: class `first pixel % CLASSES` wins."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.modes.append(self.training)
        pixels = (images * 255).round()
        distance = (pixels[:, 0, 0, 0, None] - torch.arange(CLASSES)) % CLASSES
        return self.scale * (pixels.sum(dim=(1, 2, 3))[:, None] - distance)


class NotFinite(ByFirstPixel):
    """As above, but with `value` among the logits of every image whose last pixel is 255."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        logits[images[:, 2, -1, -1] == 1, -1] = self.value
        return logits


def random_images(n: int) -> Examples:
    """Random images without a last pixel of 255, labelled with the class that ByFirstPixel answers."""
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(0, 255, (n, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return Examples(images, images[:, 0, 0, 0].long() % CLASSES)


def evaluation(answers: Tensor, correct: Tensor, seconds: float = 1.0) -> Evaluation:
    return Evaluation(answers=answers, correct=correct, seconds=seconds)


@pytest.mark.parametrize("n", [1, 9, 10, 11, 25])
def test_every_image_counts_also_those_of_a_smaller_last_batch(n: int) -> None:
    data = random_images(n)
    result = evaluate(ByFirstPixel(), data, batch_size=10)
    assert n == result.count
    assert n == result.correct_count
    assert torch.equal(data.targets, result.answers)


@pytest.mark.parametrize("batch_size", [7, 25])
def test_smooth_accuracy_is_that_of_the_right_class_against_its_strongest_rival(batch_size: int) -> None:
    data = random_images(25)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES))
    shares = []
    for scores, label in zip((model(data.inputs.float() / 255)).tolist(), data.targets.tolist(), strict=True):
        right, rival = math.exp(scores[label]), math.exp(max(scores[:label] + scores[label + 1 :]))
        shares.append(right / (right + rival))
    expected = 100 * sum(shares) / 25
    assert expected == pytest.approx(evaluate(model, data, batch_size=batch_size).smooth_accuracy, rel=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(1e4, 100.0), (-1e4, 0.0), (0.0, 50.0), (float("nan"), 0.0)])
def test_smooth_accuracy_of_the_sure_the_wrong_the_undecided_and_the_broken(scale: float, expected: float) -> None:
    data = random_images(12)
    model = ByFirstPixel()
    nn.init.constant_(model.scale, scale)
    assert expected == pytest.approx(evaluate(model, data, batch_size=5).smooth_accuracy)


Answer = make_dataclass("Answer", ["logits", "loss"])


@pytest.mark.parametrize(
    "answer",
    [
        lambda scores: scores,
        lambda scores: {"loss": None, "logits": scores},
        lambda scores: Answer(logits=scores, loss=None),
        lambda scores: (scores, scores[:, :1], "hidden states"),
        lambda scores: [scores],
        lambda scores: GoogLeNetOutputs(scores, -scores, -scores),
        lambda scores: ({"logits": scores}, "beside it"),
    ],
)
def test_scores_are_found_in_what_models_answer(answer: Callable[[Tensor], object]) -> None:
    scores = torch.randn(4, 3)
    assert scores is output_of(answer(scores))


@pytest.mark.parametrize("shape", [(4, 1), (4,)])
def test_one_logit_is_the_score_of_class_1_of_two(shape: tuple[int, ...]) -> None:
    logits, labels = torch.tensor([-2.0, 0.5, 3.0, -0.1]), torch.tensor([0, 0, 1, 1])
    outputs = logits.reshape(shape)
    assert [0, 1, 1, 0] == CLASSIFICATION.answers(outputs).tolist()
    assert [1, 0, 1, 0] == CLASSIFICATION.scores(outputs, labels).tolist()
    margins = torch.tensor([2.0, -0.5, 3.0, -0.1])
    torch.testing.assert_close(CLASSIFICATION.graded(outputs, labels), margins.sigmoid())
    expected = functional.binary_cross_entropy_with_logits(logits, labels.float())
    torch.testing.assert_close(CLASSIFICATION.loss(outputs, labels), expected)


def test_uncertainty_is_what_the_two_likeliest_classes_leave() -> None:
    shares = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.2, 0.4], [0.0, 1.0, 0.0]])
    outputs = torch.cat([shares.log(), torch.full((1, 3), torch.nan)])
    torch.testing.assert_close(CLASSIFICATION.uncertainty(outputs), torch.tensor([0.5, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize("answer", [None, {}, {"scores": torch.ones(2, 3)}, (), "cat", Answer(None, None)])
def test_an_answer_without_scores_is_refused(answer: object) -> None:
    with pytest.raises(ModelError, match=f"answers with {type(answer).__name__}: expected scores"):
        output_of(answer)


@pytest.mark.parametrize("wrong", [0, 9, 10, 24])
def test_one_wrong_image_is_found_wherever_it_stands(wrong: int) -> None:
    data = random_images(25)
    data.targets[wrong] = (data.targets[wrong] + 1) % CLASSES
    result = evaluate(ByFirstPixel(), data, batch_size=10)
    assert [wrong] == (~result.correct).nonzero().flatten().tolist()
    assert 24 == result.correct_count


def test_accuracy_is_in_percent() -> None:
    result = evaluation(torch.zeros(8).long(), torch.tensor([True] * 3 + [False] * 5))
    assert 37.5 == result.accuracy
    assert (3, 8) == (result.correct_count, result.count)


@given(batch_size=st.integers(1, 40))
def test_the_answer_does_not_depend_on_the_batch_size_where_arithmetic_is_exact(batch_size: int) -> None:
    data = random_images(30)
    data.targets[::3] = 0
    whole = evaluate(ByFirstPixel(), data, batch_size=30)
    parts = evaluate(ByFirstPixel(), data, batch_size=batch_size)
    assert torch.equal(whole.answers, parts.answers)
    assert whole.correct_bits == parts.correct_bits
    assert whole.digest == parts.digest


def test_the_answer_does_not_depend_on_the_memory_format_of_the_images() -> None:
    data = random_images(30)
    laid_out_otherwise = Examples(data.inputs.contiguous(memory_format=torch.channels_last), data.targets)
    assert evaluate(ByFirstPixel(), data).digest == evaluate(ByFirstPixel(), laid_out_otherwise).digest


@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_evaluated_in_evaluation_mode_and_its_mode_put_back(training: bool) -> None:
    model = ByFirstPixel().train(training)
    evaluate(model, random_images(25), batch_size=10)
    assert [False] * 3 == model.modes
    assert training == model.training


def test_the_mode_of_each_part_is_put_back() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Dropout(), nn.Linear(48, CLASSES)).train()
    model[1].eval()  # batch norm frozen by its owner
    evaluate(model, random_images(10))
    assert [True, True, False, True, True] == [module.training for module in model.modules()]


def test_the_mode_is_put_back_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, CLASSES)).train()
    with pytest.raises(ModelError, match=r"the model fails on inputs of shape \(10, 3, 4, 4\): RuntimeError: .*mat1"):
        evaluate(model, random_images(10))
    assert [True] * 3 == [module.training for module in model.modules()]


def test_evaluation_changes_no_parameter_buffer_or_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Dropout(), nn.Linear(48, CLASSES)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, again = (evaluate(model, random_images(25), batch_size=10) for _ in range(2))
    assert first.digest == again.digest  # dropout is off
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_image_whose_logits_are_not_all_finite_is_wrong_whatever_is_answered(value: float) -> None:
    data = random_images(12)
    data.inputs[[2, 11], 2, -1, -1] = 255
    answered = evaluate(NotFinite(value), data, batch_size=5).answers
    agreeing = Examples(data.inputs, answered)
    result = evaluate(NotFinite(value), agreeing, batch_size=5)
    assert torch.equal(agreeing.targets, result.answers)
    assert [2, 11] == (~result.correct).nonzero().flatten().tolist()


@given(correct=st.lists(st.booleans(), min_size=1, max_size=70))
def test_the_correctness_bits_decode_to_the_same_images(correct: list[bool]) -> None:
    result = evaluation(torch.zeros(len(correct)).long(), torch.tensor(correct))
    packed = np.frombuffer(base64.b64decode(result.correct_bits), dtype=np.uint8)
    assert -(-len(correct) // 8) == len(packed)
    assert correct == np.unpackbits(packed, count=len(correct)).astype(bool).tolist()


@pytest.mark.parametrize(
    ("bits", "images", "said"),
    [
        ("g!A==", 8, "correct_bits are not base64"),
        ("gAAA", 8, "correct_bits hold 3 bytes, 8 images need 1"),
        ("4A==", 8, "correct_bits say 3 images are right, the record says 1"),
        ("AQ==", 7, "correct_bits say 1 images are right, the record says 1"),  # the eighth of seven
    ],
)
def test_bits_that_are_not_of_so_many_right_answers_are_refused(bits: str, images: int, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        unpacked(bits, correct=1, images=images)


def test_the_first_image_is_the_highest_bit_of_the_first_byte() -> None:
    result = evaluation(torch.zeros(9).long(), torch.tensor([True] + [False] * 8))
    assert b"\x80\x00" == base64.b64decode(result.correct_bits)


@given(place=st.integers(0, 19), change=st.integers(1, 999))
@example(place=0, change=256)  # a class beyond one byte
def test_the_digest_changes_with_any_one_answer_and_with_nothing_else(place: int, change: int) -> None:
    answers, correct = torch.arange(20), torch.ones(20, dtype=torch.bool)
    result = evaluation(answers, correct)
    assert result.digest == replace(result, correct=~correct, seconds=2.0).digest
    changed = answers.clone()
    changed[place] = (changed[place] + change) % 1000
    assert result.digest != evaluation(changed, correct).digest


def test_the_digest_changes_with_the_order_of_the_answers() -> None:
    correct = torch.ones(20, dtype=torch.bool)
    assert evaluation(torch.arange(20), correct).digest != evaluation(torch.arange(20).flip(0), correct).digest


def test_progress_counts_images_up_to_their_number() -> None:
    seen = list[tuple[int, int]]()
    evaluate(ByFirstPixel(), random_images(25), batch_size=10, progress=lambda done, total: seen.append((done, total)))
    assert [(10, 25), (20, 25), (25, 25)] == seen


def test_the_answer_is_on_the_cpu_and_takes_a_time() -> None:
    result = evaluate(ByFirstPixel(), random_images(3))
    assert torch.int64 == result.answers.dtype
    assert torch.bool == result.correct.dtype
    assert {"cpu"} == {result.answers.device.type, result.correct.device.type}
    assert result.seconds > 0


def test_bf16_answers_as_fp32_where_the_arithmetic_is_exact() -> None:
    data = random_images(20)
    layers = [nn.Linear(48, 48, bias=False), nn.Linear(48, 48, bias=False), nn.Linear(48, CLASSES, bias=False)]
    for layer in layers:
        nn.init.eye_(layer.weight)
    model = nn.Sequential(nn.Flatten(), *layers)  # class: the brightest of five pixels
    exact = Examples(torch.where(data.inputs > 128, 255, 0).to(torch.uint8), data.targets)
    expected = evaluate(model, exact)
    assert torch.equal(expected.answers, evaluate(model, exact, precision="bf16").answers)


def test_what_is_no_task_is_told_what_it_lacks() -> None:
    assert CLASSIFICATION is find_task("classification")
    with pytest.raises(WorkloadError, match="'json:dumps' is no task: it has no name, metric, kind, check, loss"):
        find_task("json:dumps")


def by_first_pixel(table: Tensor) -> Outputs:
    return lambda inputs: table[(inputs[:, 0, 0, 0] * 255).round().long()]


def numbered(*targets: int) -> Examples:
    """Images whose pixels are all their place among them."""
    places = torch.arange(len(targets), dtype=torch.uint8)
    return Examples(places[:, None, None, None].expand(-1, 3, 4, 4), torch.tensor(targets))


def test_outputs_of_two_models_are_compared_example_by_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunebench.tasks.comparison.BATCH_SIZE", 2)
    first = torch.tensor([[8.0, 0.0], [0.0, 1.0], [4.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    second = first.clone()
    second[3] = torch.tensor([4.0, 1.0])
    data, seen = numbered(0, 1, 0, 1, 1), list[tuple[int, int]]()
    found = compare_answers(
        by_first_pixel(first),
        by_first_pixel(second),
        data,
        task=CLASSIFICATION,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (0.5, (3,), (3,)) == (found.difference, found.different, found.ties), "a gap of 1 is within twice 4"
    assert (4, 3) == (found.first.correct_count, found.second.correct_count)
    assert [0, 1, 0, 1, 0] == found.first.answers.tolist()
    assert [(2, 5), (4, 5), (5, 5)] == seen
    assert not found.same
    assert compare_answers(by_first_pixel(first), by_first_pixel(first * (1 + 1e-5)), data, task=CLASSIFICATION).same


def test_one_logit_is_a_tie_by_its_distance_from_0() -> None:
    sides = (by_first_pixel(torch.tensor(scores)) for scores in ([[-0.5], [9.0]], [[0.5], [9.0]]))
    found = compare_answers(*sides, numbered(0, 1), task=CLASSIFICATION)
    assert ((0,), (0,)) == (found.different, found.ties)


def test_outputs_of_two_shapes_are_refused() -> None:
    sides = (by_first_pixel(torch.zeros(2, classes)) for classes in (2, 3))
    with pytest.raises(ModelError, match=r"the one answers with \(2, 2\), the other with \(2, 3\)"):
        compare_answers(*sides, numbered(0, 1), task=CLASSIFICATION)


class ByWeight(nn.Module):
    """A layer that uses its weight without a module for it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(CLASSES, 48))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.linear(images, self.weight)


@pytest.mark.parametrize("kind", [ByWeight, partial(nn.Linear, 48, CLASSES)])
def test_in_bf16_all_layers_round_but_the_first_and_the_last(kind: Callable[[], nn.Module]) -> None:
    first, *middle = [nn.Linear(48, 48) for _ in range(4)]
    last = kind()
    model = nn.Sequential(nn.Flatten(), first, *middle, last)
    for layer in (first, *middle, last):
        layer.register_forward_hook(lambda _module, _inputs, outputs: seen.append(outputs.dtype))
    for precision in ("fp32", "bf16"):
        seen: list[torch.dtype] = []
        evaluate(model, random_images(3), precision=precision)
        within = torch.bfloat16 if precision == "bf16" else torch.float32
        assert [torch.float32, *[within] * 3, torch.float32] == seen


@pytest.mark.parametrize("allowed", ["high", "medium"])
def test_fp32_is_fp32_whatever_the_process_allows(allowed: str) -> None:
    """Training code often allows TF32 or, on the CPU, bfloat16 for matrix products: verdicts are not given on that."""
    generator = torch.Generator().manual_seed(0)
    # As wide as it takes for bfloat16 to be used at all.
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 512), nn.ReLU(), nn.Linear(512, 512), nn.Linear(512, CLASSES))
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    data = random_images(600)
    expected = evaluate(model, data)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(allowed)
    try:
        found = evaluate(model, data)
        assert allowed == torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)
    assert (expected.smooth_accuracy, expected.digest) == (found.smooth_accuracy, found.digest)


def _every_setting() -> dict[str, object]:
    backends = torch.backends
    operations = {
        f"{owner.__name__}.{name}": getattr(owner, name).fp32_precision
        for owner, names in (
            (backends.cudnn, ("conv", "rnn")),
            (backends.cuda, ("matmul",)),
            (backends.mkldnn, ("conv", "rnn", "matmul")),
        )
        for name in names
    }
    return {**operations, "all": backends.fp32_precision, "benchmark": backends.cudnn.benchmark}


ALLOWING = {
    "nothing": "",
    "bfloat16": "torch.set_float32_matmul_precision('medium')",
    "TF32, the older way": "b.cuda.matmul.allow_tf32 = True; b.cudnn.allow_tf32 = False",
    "TF32, the newer way": "b.fp32_precision = 'tf32'",
    "IEEE for convolutions": "b.cudnn.conv.fp32_precision = 'ieee'",
    "IEEE for all": "b.fp32_precision = 'ieee'",
}


@pytest.mark.parametrize("allowing", ALLOWING)
def test_settings_are_ieee_inside_and_put_back_after(allowing: str) -> None:
    """In a process of its own: some settings cannot be put back by anybody."""
    program = f"""
import torch
from torch import backends as b
from prunebench.machine.devices import arithmetic
{inspect.getsource(_every_setting)}
{ALLOWING[allowing]}
for precision in ("fp32", "bf16"):
    before = _every_setting()
    with arithmetic(torch.device("cpu"), precision):
        inside = _every_setting()
        assert set(inside.values()) - {{inside["all"], inside["benchmark"]}} <= {{"ieee"}}, inside
        if {allowing!r} not in ("IEEE for convolutions", "IEEE for all"):
            b.cuda.matmul.allow_tf32, b.cudnn.allow_tf32  # may be read: they contradict nothing
    assert before == _every_setting(), precision
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
