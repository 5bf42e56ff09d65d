"""The speed comparisons: turns, ratios, checks, and the section of the document. No time is asserted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jobs
import lab
import numpy as np
import pytest
import torch
from comparisons import equal_answers, equal_masks, equal_sizes
from report import BEGIN, END, Findings, text, write_section
from sides import Comparison, Entry, Job, Measurement, measure

from prunebench.data import Examples
from prunebench.errors import RecordError
from prunebench.models import build_model
from prunebench.pruning import keep_mask


class OneProcess:
    """Sides that run in this process and write down who ran in which round."""

    def __init__(self) -> None:
        self.turns: list[tuple[Any, int]] = []

    def run(self, process: str, job: Job, round_: int, settings: Mapping[str, Any]) -> tuple[float, float, Any]:
        self.turns.append((settings["answer"], round_))
        return settings["took"], settings["took"] / 2, job(round_, **settings)()


def job(round_: int, *, answer: int, took: float) -> Callable[[], int]:
    return lambda: answer


def agree(expected: list[int], found: list[int], label: str) -> str:
    assert expected == found
    return f"{len(found)} equal"


def comparison(answer: int = 1) -> Comparison:
    return Comparison(
        name="one",
        title="one thing",
        reference=Entry("slow", job, {"answer": 1, "took": 3.0}),
        others=(Entry("fast", job, {"answer": answer, "took": 2.0}, target=1.2),),
        agree=agree,
        rounds=2,
        images=6,
    )


def test_sides_take_turns_after_one_round_that_does_not_count() -> None:
    sides = OneProcess()
    measurement = measure(comparison(), sides)  # type: ignore[arg-type]
    assert [0, 0, 0, 0, 1, 1] == [round_ for _, round_ in sides.turns]
    assert {"slow": [3.0, 3.0], "fast": [2.0, 2.0]} == measurement.seconds
    assert {"fast": "2 equal"} == measurement.agreement


def test_long_jobs_are_not_warmed_up() -> None:
    sides = OneProcess()
    measure(replace(comparison(), warm_up=False), sides)  # type: ignore[arg-type]
    assert [0, 0, 1, 1] == [round_ for _, round_ in sides.turns]


def test_sides_that_do_not_do_the_same_are_no_comparison() -> None:
    with pytest.raises(AssertionError):
        measure(comparison(answer=2), OneProcess())  # type: ignore[arg-type]


def test_ratios_are_of_medians_and_of_neighbours() -> None:
    measurement = Measurement(
        comparison=comparison(),
        seconds={"slow": [4.0, 9.0, 5.0], "fast": [2.0, 3.0, 1.0]},
        cpu_seconds={"slow": [2.0] * 3, "fast": [4.0] * 3},
        agreement={},
    )
    ratios = measurement.ratios("fast")
    assert (2.5, 0.5, (2.0, 3.0, 5.0)) == (ratios.of_medians, ratios.of_cpu, ratios.pairs)
    assert "3.00 (2.00 .. 5.00)" == str(ratios)
    assert 3.0 == measurement.images_a_second("fast")


def test_masks_that_differ_in_one_element_are_found() -> None:
    mask, tied = np.ones((3, 4), dtype=bool), np.zeros((3, 4), dtype=bool)
    other = mask.copy()
    other[1, 2] = False
    assert "masks equal" == equal_masks([([mask], [tied])], [[mask.copy()]], "fast")
    with pytest.raises(AssertionError, match="1 elements"):
        equal_masks([([mask], [tied])], [[other]], "fast")


def test_the_lab_prunes_more_where_weights_are_equal_to_the_threshold_and_the_checks_count_them() -> None:
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(0)).round(decimals=1)  # with many ties
    table = {"weight": 0.6}
    lab_mask, mask = lab.mask_of(weight, 0.6), keep_mask(weight.abs(), 1200)
    more = lab.pruned_too_many(weight, 0.6)
    assert int(mask.sum()) == 800 == int(lab_mask.sum()) + more
    assert 0 < more == int((lab.tied(weight, 0.6) & mask).sum())
    reference = jobs._and_tied(lambda: [lab_mask.numpy()], {"weight": weight}, table)()
    assert f"masks equal, but for {more} elements" in equal_masks([reference], [[mask.numpy()]], "")
    sizes = [[(int(lab_mask.sum()), more, 90.0)]]
    assert f"but for {more} elements" in equal_sizes(sizes, [[(800, 0, 90.0)]], "")
    for wrong in (799, 801):
        with pytest.raises(AssertionError, match="sizes differ"):
            equal_sizes(sizes, [[(wrong, 0, 90.0)]], "")
    untied = mask.clone()
    untied[weight.abs() == weight.abs().max()] = False
    with pytest.raises(AssertionError, match="not equal to the threshold"):
        equal_masks([reference], [[untied.numpy()]], "")


def test_without_ties_or_pruning_the_lab_prunes_what_the_sparsity_says() -> None:
    weight = torch.arange(1.0, 11).view(2, 5)
    assert [0, 0, 0] == [lab.pruned_too_many(weight, sparsity) for sparsity in (0, 0.5, 1)]
    assert [0, 1, 1] == [int(lab.tied(weight, sparsity).sum()) for sparsity in (0, 0.5, 1)]


def test_answers_may_differ_in_fp32_where_the_logits_tie_and_nowhere_else() -> None:
    logits = np.array([[1.0, 0.0], [0.5, 0.5 + 1e-5], [0.0, 1.0]])
    found = [(np.array([0, 0, 1]), 2)]  # the second image is a tie
    assert "1 predictions differ, all ties" in equal_answers([(logits, 3)], found, "fp32")
    with pytest.raises(AssertionError, match="by up to 1 in the logits"):
        equal_answers([(logits, 3)], [(np.array([1, 1, 1]), 2)], "fp32")


def test_bf16_may_be_a_tenth_of_a_point_away() -> None:
    logits, predictions = np.eye(2)[np.zeros(2000, dtype=int)], np.zeros(2000, dtype=int)
    assert equal_answers([(logits, 1000)], [(predictions, 998)], "bf16")
    with pytest.raises(AssertionError):
        equal_answers([(logits, 1000)], [(predictions, 997)], "bf16")


ON_LITTLE = [
    (jobs.prune_by_lab, jobs.prune_by_prunebench, {}, equal_masks),
    (jobs.evaluate_by_lab, jobs.evaluate_by_prunebench, {"images": 24}, equal_answers),
]


@pytest.mark.parametrize(("lab_job", "own_job", "settings", "equal"), ON_LITTLE)
def test_the_sides_of_a_comparison_do_the_same_on_little(
    lab_job: Any, own_job: Any, settings: dict[str, int], equal: Any, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (24, 3, 16, 16), generator=generator, dtype=torch.uint8)
    few = jobs._enlarged(Examples(pixels, torch.arange(24) % 10), 48)
    torch.manual_seed(0)
    material = jobs.Material(name="random", test=few, train=few, state=build_model("vgg").state_dict())
    monkeypatch.setattr(jobs, "material", lambda: material)
    assert equal([lab_job(0, **settings)()], [own_job(0, **settings)()], "fp32")


def test_the_section_takes_its_place_and_the_rest_of_the_document_stays(tmp_path: Path) -> None:
    path = tmp_path / "document.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for section in ("new", "newer"):
        write_section(path, section)
    assert f"before\n{BEGIN}\nnewer\n{END}\nafter\n" == path.read_text()


@pytest.mark.parametrize("content", ["nothing", BEGIN, END, f"{END} {BEGIN}"])
def test_a_document_without_a_place_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "document.md"
    path.write_text(content)
    with pytest.raises(RecordError, match="has no lines"):
        write_section(path, "new")
    assert content == path.read_text()


def test_the_section_says_what_was_not_run() -> None:
    written = text(Findings())
    assert "not run on a GPU" in written
    assert "threads a side" in written
