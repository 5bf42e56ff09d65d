"""Labels beside points: each goes where it hides as little as it can."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from prunebench.escaping import terminal
from prunebench.report.plots.style import GREY

_LEADER = 16.0
"""Points from which on a label is joined to its point."""


class Label(NamedTuple):
    """A text and the point it belongs to, in data coordinates."""

    x: float
    y: float
    text: str


_DISTANCES = (6.0, 11.0, 18.0, 26.0, 36.0, 48.0, 62.0, 78.0)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def place_labels(axes: Axes, labels: Sequence[Label], markers: Sequence[tuple[float, float]]) -> None:
    """Put each label at the nearest free place around its point, left to right; a far one gets a leader.

    Args:
        markers: points that no label should hide. Lines are known; the limits of the axes must be set.
    """
    taken = _taken(axes, markers)
    paper: Any = {"facecolor": axes.get_facecolor(), "edgecolor": "none", "pad": 0.2}  # lines behind a label end at it
    scale = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    for label in sorted(labels):
        note = axes.annotate(
            terminal(label.text),
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            size=7.5,
            va="bottom",
            bbox=paper,
            zorder=2.5,
        )
        size = Text.get_window_extent(note)
        x, y = axes.transData.transform((label.x, label.y))
        point = float(x), float(y)
        chosen = _freest(point, size, taken, frame, scale)
        note.set_position(((chosen.x0 - point[0]) / scale, (chosen.y0 - point[1]) / scale))
        end = _nearest(chosen, point)
        if math.dist(point, end) > _LEADER * scale:
            leader = axes.transData.inverted().transform(np.array([point, end]))
            axes.plot(*leader.T, color=GREY, linewidth=0.5, label="_leader")
        taken.labels.append(chosen.padded(2 * scale, 0))


def _freest(point: tuple[float, float], size: Bbox, taken: _Taken, frame: Bbox, scale: float) -> Bbox:
    """The nearest place of a label that hides nothing, else the one that hides least."""
    tried: list[tuple[int, int, Bbox]] = []
    for distance, direction in itertools.product(_DISTANCES, _DIRECTIONS):
        place = _place(point, size.width, size.height, distance * scale, direction)
        if not (hidden := _collisions(place, point, taken, frame)):
            return place
        tried.append((hidden, len(tried), place))
    return min(tried)[-1]


def _place(
    point: tuple[float, float], width: float, height: float, distance: float, direction: tuple[int, int]
) -> Bbox:
    across, up = direction
    left = point[0] + across * distance - width * (1 - across) / 2
    low = point[1] + up * distance - height * (1 - up) / 2
    return Bbox.from_bounds(left, low, width, height)


def _collisions(place: Bbox, point: tuple[float, float], taken: _Taken, frame: Bbox) -> int:
    """The penalty of a label's place: hiding a label is worst, then a marker, a leader through a label, a line."""
    outside = not (frame.x0 <= place.x0 and place.x1 <= frame.x1 and frame.y0 <= place.y0 and place.y1 <= frame.y1)
    leader = np.linspace(point, _nearest(place, point), 12)
    crossed = sum(any(box.contains(x, y) for x, y in leader) for box in taken.labels)
    hidden = 20 * place.count_overlaps(taken.labels) + 5 * place.count_overlaps(taken.markers)
    return 50 * outside + hidden + 3 * crossed + place.count_overlaps(taken.lines)


def _nearest(place: Bbox, point: tuple[float, float]) -> tuple[float, float]:
    """The point of `place` nearest to `point`."""
    return min(max(point[0], place.x0), place.x1), min(max(point[1], place.y0), place.y1)


class _Taken(NamedTuple):
    """Things that a label should not hide, in pixels: markers, pieces of lines, and other labels."""

    markers: list[Bbox]
    lines: list[Bbox]
    labels: list[Bbox]


def _taken(axes: Axes, spots: Sequence[tuple[float, float]]) -> _Taken:
    markers = [Bbox([spot, spot]).padded(5) for spot in axes.transData.transform(spots)]
    lines = [
        Bbox(pair).padded(1)
        for line in axes.lines
        if line.get_linestyle() not in {"", "None"}
        for ends in itertools.pairwise(line.get_transform().transform(_corners(line)))
        for pair in itertools.pairwise(_pieces(*ends))
    ]
    return _Taken(markers, [Bbox([box.min, box.max]) for box in lines], [])


def _pieces(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along a line, the nearer the more it slopes: boxes between them hold little but the line."""
    return np.linspace(start, end, 2 + int(np.abs(end - start).min() // 8))


def _corners(line: Line2D) -> list[tuple[float, float]]:
    """The corners of a line, as drawn: of a stepped one too."""
    ends = [(float(x), float(y)) for x, y in np.asarray(line.get_xydata(), dtype=np.float64)]
    if line.get_drawstyle() != "steps-post":
        return ends
    steps = [[(x, y), (beyond, y)] for (x, y), (beyond, _) in itertools.pairwise(ends)]
    return [corner for step in steps for corner in step] + ends[-1:]
