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
        x, y = (float(value) for value in axes.transData.transform((label.x, label.y)))
        places = [
            Bbox.from_bounds(
                x + across * distance * scale - size.width * (1 - across) / 2,
                y + up * distance * scale - size.height * (1 - up) / 2,
                size.width,
                size.height,
            )
            for distance in _DISTANCES
            for across, up in _DIRECTIONS
        ]
        chosen = _freest(places, taken, frame)
        note.set_position(((chosen.x0 - x) / scale, (chosen.y0 - y) / scale))
        end = min(max(x, chosen.x0), chosen.x1), min(max(y, chosen.y0), chosen.y1)
        if math.dist((x, y), end) > _LEADER * scale:
            leader = axes.transData.inverted().transform(np.array([(x, y), end]))
            axes.plot(*leader.T, color=GREY, linewidth=0.5, label="_leader")
        taken.append((chosen.padded(2 * scale, 0), _LABEL))


_OUTSIDE, _LABEL, _MARKER, _LINE = 50, 20, 5, 1
"""Penalties of a label's place: for leaving the frame, and for each thing that it hides."""


def _freest(places: Sequence[Bbox], taken: Sequence[tuple[Bbox, int]], frame: Bbox) -> Bbox:
    """The first place that hides nothing, else the first of those that hide least."""
    penalties = []
    for place in places:
        inside = frame.x0 <= place.x0 and place.x1 <= frame.x1 and frame.y0 <= place.y0 and place.y1 <= frame.y1
        hidden = sum(penalty for box, penalty in taken if place.overlaps(box))
        penalties.append(_OUTSIDE * (not inside) + hidden)
        if penalties[-1] == 0:
            break
    return places[penalties.index(min(penalties))]


def _taken(axes: Axes, spots: Sequence[tuple[float, float]]) -> list[tuple[Bbox, int]]:
    """Boxes that a label should not hide, in pixels, with their penalties: markers, and pieces of lines."""
    markers = [(Bbox([spot, spot]).padded(5), _MARKER) for spot in axes.transData.transform(spots)]
    lines = [
        Bbox(pair).padded(1)
        for line in axes.lines
        if line.get_linestyle() not in {"", "None"}
        for ends in itertools.pairwise(line.get_transform().transform(_corners(line)))
        for pair in itertools.pairwise(_pieces(*ends))
    ]
    return [*markers, *((Bbox([box.min, box.max]), _LINE) for box in lines)]


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
