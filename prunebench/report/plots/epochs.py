"""Fine-tuning, epoch by epoch: the score on the images that choose the epoch, and the training loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from prunebench.documented.runs import DocumentedRun
from prunebench.errors import PlotError
from prunebench.records import FineTuning, RunRecord
from prunebench.report.plots.labels import Label, place_labels
from prunebench.report.plots.sources import record_source
from prunebench.report.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LEFT,
    RIGHT,
    VERMILLION,
    WIDTH,
    Caption,
    GivenAxes,
    Page,
    canvas,
    figure_of,
    new_page,
)

X_LABEL, Y_LABEL = "epoch of fine-tuning", "accuracy, %"

MANY = 40
"""Epochs from which on only the best and the last have a marker."""


def plot_epochs(record: RunRecord, axes: GivenAxes = None, *, documented: DocumentedRun | None = None) -> Figure:
    """Accuracy in percent by epoch of fine-tuning, with the dense model's; the training loss in a panel below.

    Epoch 0 is the pruned model before fine-tuning. Accuracies are on the images that choose the epoch; where those are
    a validation split, the dense, pruned, best and last model are also shown on the test images. Where the pruned
    model lies far below all others, a triangle at the lower edge stands for it.

    Args:
        axes: to draw into in the place of a page: one for the accuracy, or two, the second for the loss.
        documented: what a document says of the run, drawn beside it.

    Raises:
        PlotError: the run was not fine-tuned; more than two of `axes`.
    """
    if record.finetuning is None:
        raise PlotError(f"cannot draw the epochs of '{record.run}': it was not fine-tuned")
    tuned = record.finetuning
    caption = Caption(
        title=f"Fine-tuning of {record.model}, {record.run}",
        subtitle=f"accuracy on the {tuned.selected_on} images, which choose the best epoch; recipe {record.recipe}",
        sources=[record_source(record)],
    )

    def page() -> Sequence[Axes]:
        return _axes(new_page(caption, body=4.0, legend=_legend(record, tuned, documented)))

    count = 1 if axes is None or isinstance(axes, Axes) or len(axes) != 2 else 2
    with canvas(axes, panels=count, page=page, x_label=X_LABEL, y_label=Y_LABEL) as axes_of:
        _draw_scores(axes_of[0], record, tuned, documented)
        for below in axes_of[1:]:
            _draw_losses(below, tuned)
        return figure_of(axes_of)


def _axes(page: Page) -> Sequence[Axes]:
    grid = {"left": LEFT / WIDTH, "right": 1 - RIGHT / WIDTH, "height_ratios": (2.4, 1), "hspace": 0.1}
    grid |= {"bottom": page.bottom + page.height(0.42), "top": page.top - page.height(0.08)}
    above, below = page.figure.subplots(2, 1, sharex=True, gridspec_kw=grid)
    above.set_ylabel(Y_LABEL)
    below.set_xlabel(X_LABEL)
    page.figure.align_ylabels([above, below])
    return [above, below]


def _draw_scores(axes: Axes, record: RunRecord, tuned: FineTuning, documented: DocumentedRun | None) -> None:
    scores, dense, pruned = tuned.selection_accuracies, record.dense_accuracy.percent, record.pruned_accuracy.percent
    best, last = tuned.best_epoch, len(scores)
    on_test = [] if tuned.selected_on == "test" else [(best, tuned.best.percent), (last, tuned.last.percent)]
    axes.axhline(dense, color=GREY, linewidth=0.8, dashes=(5, 3), label="dense")
    known = [] if documented is None else _draw_documented(axes, documented)
    start = _set_limits(axes, [*scores, *(score for _, score in on_test), dense, *known], pruned)
    axes.plot([0, 1], [start, scores[0]], color=BLUE, linewidth=0.8, linestyle=":", label="_start")
    axes.plot(
        range(1, last + 1), scores, color=BLUE, marker="o", markersize=3.5, label=f"{tuned.selected_on} images",
        markevery=None if last <= MANY else [best - 1, last - 1],
    )  # fmt: skip
    axes.plot(best, scores[best - 1], linestyle="", marker="o", markersize=7, color=BLUE, label="best epoch")
    if on_test:
        axes.plot(*zip(*on_test, strict=True), linestyle="", marker="D", color=GREEN, label="test images")
    axes.plot(
        0, start, linestyle="", marker="o" if start == pruned else "v", markersize=6, markerfacecolor="white",
        color=BLUE, label="pruned", clip_on=False, zorder=3,
    )  # fmt: skip
    end = max(last, len(documented.accuracy_by_epoch) if documented else 0)
    axes.set_xlim(-0.06 * (end + 1), end + 0.06 * (end + 1))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    labels = [Label(0, start, f"pruned {pruned:.2f} %"), *_ends(tuned)]
    place_labels(axes, labels, [(0, start), *enumerate(scores, 1), *on_test])


def _ends(tuned: FineTuning) -> list[Label]:
    """Labels of the best and the last epoch: one where they are the same."""
    scores, best = tuned.selection_accuracies, tuned.best_epoch
    if best == len(scores):
        return [Label(best, scores[-1], f"best and last {scores[-1]:.2f} %")]
    return [
        Label(best, scores[best - 1], f"best {scores[best - 1]:.2f} %, epoch {best}"),
        Label(len(scores), scores[-1], f"last {scores[-1]:.2f} %"),
    ]


def _set_limits(axes: Axes, accuracies: Sequence[float], pruned: float) -> float:
    """Set the limits of y, and return where the pruned model is drawn: at the lower edge where it is far below."""
    low, high = min(accuracies), max(accuracies)
    if pruned >= low - 2 * max(high - low, 2.0):
        low = min(low, pruned)
    room = 0.12 * max(high - low, 1.0)
    axes.set_ylim(low - room, max(high, pruned) + room)
    return max(pruned, low - room)


def _draw_documented(axes: Axes, run: DocumentedRun) -> list[float]:
    """Draw what is documented, and return the accuracies that the limits should leave room for."""
    look: dict[str, Any] = {"color": VERMILLION, "linewidth": 0.9}
    if run.accuracy_by_epoch:
        look |= {"marker": "s", "markersize": 3}
        scores = [float(score.value) for score in run.accuracy_by_epoch]
        axes.plot(range(1, len(scores) + 1), scores, linestyle="--", label="documented", **look)
    else:
        scores = [float(run.accuracy_best.value)] if run.accuracy_best else []
        for level in scores:
            axes.axhline(level, linestyle="--", label="documented best", **look)
    if run.accuracy_before:
        axes.plot(
            0, float(run.accuracy_before.value), marker="s", markersize=5, markerfacecolor="white", linestyle="",
            color=VERMILLION, label="documented pruned",
        )  # fmt: skip
    return scores


def _draw_losses(axes: Axes, tuned: FineTuning) -> None:
    many = len(tuned.losses) > MANY
    axes.plot(
        range(1, len(tuned.losses) + 1), tuned.losses, color=GREY, linewidth=1.2, marker="" if many else "o",
        markersize=3.5, label="training loss",
    )  # fmt: skip
    axes.set_ylim(0, 1.15 * max(*tuned.losses, 1e-6))
    axes.set_ylabel("training loss")


def _legend(record: RunRecord, tuned: FineTuning, documented: DocumentedRun | None) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = [
        (Line2D([], [], color=BLUE, marker="o"), f"fine-tuned, {tuned.selected_on} images"),
        (Line2D([], [], color=BLUE, linestyle="", marker="o", markerfacecolor="white"), "pruned, before fine-tuning"),
        (Line2D([], [], color=GREY, linewidth=0.8, dashes=(5, 3)), f"dense, {record.dense_accuracy.percent:.2f} %"),
    ]
    if tuned.selected_on == "validation":
        entries.append((Line2D([], [], color=GREEN, linestyle="", marker="D"), "fine-tuned, test images"))
    if documented is not None:
        best = f", best {documented.accuracy_best.value} %" if documented.accuracy_best else ""
        entries.append((Line2D([], [], color=VERMILLION, linestyle="--", marker="s"), f"as documented{best}"))
    return entries
