"""Plots of fine-tuning: every epoch, the start, the best and the last, whatever the range."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from record_factory import accuracy, make_record

from prunebench.cli import main
from prunebench.documented.runs import RUNS
from prunebench.errors import PlotError
from prunebench.records import RunRecord, write_record
from prunebench.report.plots import plot_epochs


def tuned(scores: list[float], *, wrong: int = 100, on: str = "test") -> RunRecord:
    """A record of 200 images with these percents by epoch; `wrong` answers before fine-tuning."""
    record = make_record()
    assert record.finetuning is not None
    changes = {
        "selection_accuracies": scores,
        "losses": [1 / epoch for epoch in range(1, len(scores) + 1)],
        "best_epoch": 1 + scores.index(max(scores)),
        "best": accuracy(round(2 * (100 - max(scores)))),
        "last": accuracy(round(2 * (100 - scores[-1]))),
        "selected_on": on,
    }
    return record.model_copy(
        update={"finetuning": record.finetuning.model_copy(update=changes), "pruned_accuracy": accuracy(wrong)}
    )


def line(axes: Axes, label: str) -> Line2D:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return found


def drawn(axes: Axes, label: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in line(axes, label).get_xydata()]


def labels(figure: Figure) -> list[str]:
    return sorted(text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("scores", [[95.0], [90.0, 96.0, 95.0], [80.0 + epoch / 10 for epoch in range(100)]])
def test_scores_and_losses_are_those_of_the_record(scores: list[float]) -> None:
    record = tuned(scores, wrong=20)
    above, below = plot_epochs(record).axes
    assert list(enumerate(scores, 1)) == drawn(above, "test images")
    assert [(0.0, 90.0)] == drawn(above, "pruned")
    assert [98.0] * 2 == list(line(above, "dense").get_ydata())
    assert [(1.0 + scores.index(max(scores)), max(scores))] == drawn(above, "best epoch")
    assert [(epoch, pytest.approx(1 / epoch)) for epoch in range(1, len(scores) + 1)] == drawn(below, "training loss")
    low, high = above.get_ylim()
    assert low < min(90.0, *scores)
    assert max(98.0, *scores) < high


def test_the_best_and_the_last_are_named_once_where_they_are_one() -> None:
    assert ["best 96.00 %, epoch 2", "last 95.00 %", "pruned 90.00 %"] == labels(
        plot_epochs(tuned([90.0, 96.0, 95.0], wrong=20))
    )
    assert ["best and last 96.00 %", "pruned 90.00 %"] == labels(plot_epochs(tuned([96.0], wrong=20)))


def test_a_start_far_below_stands_at_the_lower_edge_with_its_number() -> None:
    figure = plot_epochs(tuned([95.0, 96.0], wrong=180))
    low, _ = figure.axes[0].get_ylim()
    assert low > 90
    assert [(0.0, low)] == drawn(figure.axes[0], "pruned")
    assert "v" == line(figure.axes[0], "pruned").get_marker()
    assert "pruned 10.00 %" in labels(figure)


def test_a_range_of_nothing_is_still_a_range() -> None:
    low, high = plot_epochs(tuned([98.0, 98.0], wrong=4)).axes[0].get_ylim()
    assert low < 98 < high


def test_where_a_split_chose_the_epoch_the_test_images_are_told_apart() -> None:
    record = tuned([93.0, 95.5, 95.0], on="validation")
    axes = plot_epochs(record).axes[0]
    assert [(1, 93.0), (2, 95.5), (3, 95.0)] == drawn(axes, "validation images")
    assert record.finetuning is not None
    assert [(2, record.finetuning.best.percent), (3, record.finetuning.last.percent)] == drawn(axes, "test images")


def test_documented_accuracies_stand_beside_the_measured_ones() -> None:
    run = RUNS["run3"]
    assert run.accuracy_by_epoch
    assert run.accuracy_before
    axes = plot_epochs(tuned([90.0]), documented=run).axes[0]
    documented = [float(score.value) for score in run.accuracy_by_epoch]
    assert list(enumerate(documented, 1)) == drawn(axes, "documented")
    assert [(0.0, float(run.accuracy_before.value))] == drawn(axes, "documented pruned")
    assert axes.get_xlim()[1] > len(documented)


def test_a_run_without_fine_tuning_has_no_epochs() -> None:
    with pytest.raises(PlotError, match="'tiny': it was not fine-tuned"):
        plot_epochs(make_record(finetuning=None))


def test_the_command_draws_documented_values_when_asked_or_where_they_compare(tmp_path: Path) -> None:
    path, output = tmp_path / "record.json", tmp_path / "plot.svg"
    record = make_record(run="run3")

    def picture(*options: str) -> bytes:
        result = CliRunner().invoke(main, ["plot", "epochs", str(path), *options, "--output", str(output)])
        assert (0, f"Plot: {output}\n") == (result.exit_code, result.stdout), result.output
        return output.read_bytes()

    write_record(record, path)
    assert picture() == picture("--no-documented") != picture("--documented")
    course = record.checkpoints.model_copy(update={"is_course_checkpoint": True})
    write_record(record.model_copy(update={"checkpoints": course}), path)
    assert picture() == picture("--documented") != picture("--no-documented")
