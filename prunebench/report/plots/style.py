"""The style of all plots: palette, page, heading, legend, panels, writing. What each plot shows is in its own module.

Figures are made for a page 8 inches wide, in print as on a screen: series differ in colour, in lightness, in line style
and in marker, and no text is smaller than 6.5 points. Nothing of pyplot, and on a page nothing of the user's own
matplotlib settings, so that the same numbers give the same bytes. Axes that a user gives are the user's.
"""

from __future__ import annotations

import contextlib
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prunebench.errors import PlotError
from prunebench.escaping import terminal
from prunebench.storage.files import replacing

SUFFIXES = (".pdf", ".png", ".svg")
DPI = 150

WIDTH = 8.0
LEFT, RIGHT = 0.68, 0.12
"""Inches: the page, and what its axes leave free of it."""

TITLE, SMALL, TINY, LINE = 11.0, 8.0, 6.5, 8.5
"""Points: three sizes of text, and the height of a line of the smallest."""

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
INK, GREY, PALE, LINES = "#222222", "#666666", "#BBBBBB", "#E2E2E2"
"""Colours that the colour-blind tell apart; source: Okabe and Ito, Color Universal Design (2008)."""


@dataclass(frozen=True)
class SeriesStyle:
    """The look of a series, its own in color, line and marker; the first is the widest, to show below."""

    color: str
    line: Literal["-", "--", "-.", ":"]
    marker: str
    width: float


SERIES = (
    SeriesStyle(BLUE, "-", "o", 2.0),
    SeriesStyle(VERMILLION, "--", "s", 1.3),
    SeriesStyle(GREEN, "-.", "^", 1.3),
    SeriesStyle(PURPLE, ":", "D", 1.3),
)

MORE_SERIES = (
    *SERIES,
    SeriesStyle(ORANGE, "-", "v", 1.3),
    SeriesStyle(SKY, "--", "P", 1.3),
    SeriesStyle(INK, "-.", "X", 1.3),
    SeriesStyle(GREY, ":", "*", 1.3),
)
"""For plots of many methods."""

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": SMALL,
    "text.color": INK,
    "text.parse_math": False,  # a file or layer may be called anything
    "axes.labelsize": SMALL,
    "axes.labelcolor": INK,
    "axes.titlesize": SMALL,
    "axes.titley": 1.0,  # found out by matplotlib, it takes half of the time that a title does
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINES,
    "grid.linewidth": 0.6,
    "xtick.bottom": False,  # the grid says where a number belongs
    "ytick.left": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "hatch.linewidth": 0.6,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "prunebench",
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's defaults and this style, whatever the user's settings are; those are back when the block ends."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


GivenAxes = Axes | Sequence[Axes] | np.ndarray | None
"""One Axes, or some in any shape, as `pyplot.subplots` gives them; None for a page of our own."""


@contextlib.contextmanager
def canvas(
    given: GivenAxes, *, panels: int, x_label: str, y_label: str, page: Callable[[], Sequence[Axes]]
) -> Iterator[Sequence[Axes]]:
    """The axes to draw into: those `given`, labelled, in the user's settings; else those of a new `page`, in our style.

    Raises:
        PlotError: other than `panels` axes are given.
    """
    if given is None:
        with styled():
            yield page()
        return
    axes = [each for each in np.asarray(given, dtype=object).flat if isinstance(each, Axes)]
    if len(axes) != panels:
        raise PlotError(f"axes must be as many matplotlib Axes as there are panels, {panels}, got {len(axes)}")
    with mpl.rc_context({"text.parse_math": False}):  # a layer may be called anything
        for each in axes:
            each.set(xlabel=x_label, ylabel=y_label)
        yield axes


def figure_of(axes_of: Sequence[Axes]) -> Figure:
    """The figure that some axes are in, also where that is divided into subfigures."""
    return axes_of[0].figure.figure


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The text around the axes: what is shown; on what; where the numbers come from, a line each."""

    title: str
    subtitle: str
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A figure with its heading, legend and footnote; the axes go between `bottom` and `top` (fractions of height)."""

    figure: Figure
    bottom: float
    top: float

    def height(self, inches: float) -> float:
        """A length as a fraction of the figure's height."""
        return inches / float(self.figure.get_figheight())


def new_page(caption: Caption, *, body: float, legend: Sequence[tuple[Artist, str]] = ()) -> Page:
    """A page with `body` inches of height for axes and their labels. Call it, and draw, inside `styled`."""
    labels = [label if len(label) <= 100 else f"…{label[-99:]}" for label in (terminal(text) for _, text in legend)]
    sources = map(terminal, caption.sources)
    columns = _legend_columns(labels)
    legend_height = 0.02 + 0.17 * math.ceil(len(legend) / columns)
    notes = [line for source in sources for line in textwrap.wrap(source, 148, subsequent_indent="   ")]
    header, footer = 0.54 + legend_height, 0.08 + 0.13 * len(notes)
    height = header + body + footer
    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasAgg(figure)
    title = textwrap.shorten(terminal(caption.title), 95, placeholder=" ...")
    figure.text(0.12 / WIDTH, 1 - 0.10 / height, title, size=TITLE, weight="bold", va="top")
    figure.text(0.12 / WIDTH, 1 - 0.33 / height, terminal(caption.subtitle), color=GREY, va="top")
    if legend:
        figure.legend(
            [handle for handle, _ in legend],
            labels,
            loc="upper left",
            bbox_to_anchor=(0.12 / WIDTH, 1 - 0.50 / height),
            ncols=columns,
            borderpad=0,
            borderaxespad=0,
            labelspacing=0.5,
            columnspacing=1.6,
            handlelength=2.6,
        )
    for number, line in enumerate(reversed(notes)):
        figure.text(0.12 / WIDTH, (0.08 + 0.13 * number) / height, line, size=TINY, color=GREY, va="bottom")
    return Page(figure, bottom=footer / height, top=1 - header / height)


def _legend_columns(labels: Sequence[str]) -> int:
    longest = max((len(label) for label in labels), default=1)
    return max(1, min(len(labels), int((WIDTH - 0.3) * 72 // (longest * 4.6 + 40))))  # 4.6: points a letter of 8


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Small multiples: how many panels, and inches a panel takes.

    Attributes:
        heading: above each panel.
        own_x: each panel has its own x axis, so that its numbers stand below it.
        own_y: each panel has its own y axis, so that its numbers stand beside it.
    """

    panels: int
    panel: float
    heading: float = 0.22
    own_x: bool = False
    own_y: bool = False

    @property
    def columns(self) -> int:
        """The number of columns, more where there are many panels."""
        return min(self.panels, 3 if self.panels <= 12 else 4 if self.panels <= 24 else 5)

    @property
    def rows(self) -> int:
        """The number of rows that the panels take."""
        return math.ceil(self.panels / self.columns)

    @property
    def gap(self) -> float:
        """Inches between a panel and the next one below."""
        return self.heading + (0.22 if self.own_x else 0.06)

    @property
    def between(self) -> float:
        """Room between two columns, as a share of a panel's width."""
        return 0.34 if self.own_y else 0.12 if self.own_x else 0.08

    @property
    def body(self) -> float:
        """Inches for all of it, axis labels included."""
        return self.heading + self.rows * self.panel + (self.rows - 1) * self.gap + 0.42


def panels(page: Page, grid: Grid, *, x_label: str, y_label: str) -> list[Axes]:
    """One axes a panel, row by row; they share x and y unless each has its own."""
    figure = page.figure
    table = figure.subplots(
        grid.rows,
        grid.columns,
        squeeze=False,
        sharex=not grid.own_x,
        sharey=not grid.own_y,
        gridspec_kw={
            "left": LEFT / WIDTH,
            "right": 1 - RIGHT / WIDTH,
            "bottom": page.bottom + page.height(0.42),
            "top": page.top - page.height(grid.heading),
            "hspace": grid.gap / grid.panel,
            "wspace": grid.between,
        },
    )
    axes = list(table.flat)
    for unused in axes[grid.panels :]:
        unused.remove()
    for above in axes[grid.panels - grid.columns : grid.panels]:  # the lowest of its column
        above.tick_params(labelbottom=True)
    middle = (LEFT + WIDTH - RIGHT) / 2 / WIDTH
    figure.supxlabel(x_label, x=middle, y=page.bottom + page.height(0.04), va="bottom", size=SMALL)
    figure.supylabel(y_label, x=0.12 / WIDTH, y=(page.bottom + page.top) / 2, va="center", ha="left", size=SMALL)
    return axes[: grid.panels]


def panel_titles(axes_of: Sequence[Axes], layers: Mapping[str, int], *, above: int = 0) -> None:
    """Each layer and how many elements it holds, above its panel and above so many small lines; all of one size."""
    names = short_names(layers)
    texts = [f"{names[name]} ({short_count(elements)})" for name, elements in layers.items()]
    width = axes_of[0].get_window_extent().width / axes_of[0].figure.dpi * 72
    room = width / (0.6 * max(len(text) for text in texts))
    for axes, text in zip(axes_of, texts, strict=True):
        title = axes.set_title(text, loc="left", pad=3 + LINE * above)
        title.set_fontsize(min(title.get_fontsize(), max(TINY, room)))


def short_count(count: int) -> str:
    """2359296 as `2.36 M`."""
    for unit, name in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= 0.9995 * unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def short_names(names: Iterable[str], *, longest: int = 18) -> dict[str, str]:
    """Layers as people say them: `backbone.conv4.weight` as `conv4`.

    Outer modules are left out while the names stay different and begin with a letter. Of a name still longer than
    `longest` that part is kept where it differs from its neighbours, which mostly is its end.
    """
    short = {name: terminal(name.removesuffix(".weight")) for name in names}
    while True:
        inner = {name: text.partition(".")[2] or text for name, text in short.items()}
        if inner == short or len({*inner.values()}) < len(short) or any(text[0].isdigit() for text in inner.values()):
            break
        short = inner
    return dict(zip(short, _cut([*short.values()], longest), strict=True))


def _cut(texts: Sequence[str], longest: int) -> list[str]:
    """The end of each text; of those that end alike, what comes before that."""
    cut = [text if len(text) <= longest else f"…{text[1 - longest :]}" for text in texts]
    for alike in {text for text in cut if cut.count(text) > 1}:
        places = [place for place, text in enumerate(cut) if text == alike]
        if len({texts[place] for place in places}) == 1:
            continue
        shared = len(os.path.commonprefix([texts[place][::-1] for place in places]))  # noqa: RUF071 - letter by letter
        fewer = _cut([texts[place][:-shared] for place in places], longest - 1)
        for place, text in zip(places, fewer, strict=True):
            cut[place] = f"{text.removesuffix('…')}…"
    return cut


def check_suffix(path: Path) -> None:
    """Find out before the work whether a figure can be written there.

    Raises:
        PlotError: the file's suffix is that of no known format.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PlotError(f"cannot draw '{path}': its suffix must be one of {', '.join(SUFFIXES)}, got '{path.suffix}'")


def write_figure(figure: Figure, path: Path) -> None:
    """Write as PNG, SVG or PDF, by suffix; whole or not at all. The same figure gives the same bytes.

    Raises:
        PlotError: another suffix.
        StorageError: the file cannot be written.
    """
    check_suffix(path)
    kind = path.suffix.lower()[1:]
    undated: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with styled(), replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, metadata=undated[kind])
