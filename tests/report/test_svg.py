"""SVG for a page: one element that is whole, small, searchable, and harmless to its neighbours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib as mpl
import pytest
from gate.scan_documents import make_scan
from matplotlib.figure import Figure
from record_factory import make_record

from prunebench.report.plots import (
    inline_svg,
    plot_epochs,
    plot_frontier,
    plot_parameters,
    plot_sensitivity,
    plot_weights,
)
from prunebench.report.plots.svg import VARIABLES

FIGURES: dict[str, Callable[[], Figure]] = {
    "epochs": lambda: plot_epochs(make_record()),
    "frontier": lambda: plot_frontier([make_record()]),
    "parameters": lambda: plot_parameters(make_record()),
    "sensitivity": lambda: plot_sensitivity(make_scan()),
    "weights": lambda: plot_weights(make_record(histograms=True)),
}

LABEL = 'Runs "a" & <b>\n\x1b[31m'


@pytest.fixture(params=FIGURES)
def figure(request: pytest.FixtureRequest) -> Figure:
    return FIGURES[request.param]()


def test_it_is_one_element_with_a_name_and_no_size_of_its_own(figure: Figure) -> None:
    text = inline_svg(figure, label=LABEL)
    root = ET.fromstring(text)
    assert ("<svg ", "svg", "img", "100%") == (text[:5], root.tag, root.get("role"), root.get("width"))
    assert 'Runs "a" & <b>\\n\\x1b[31m' == root.get("aria-label")
    assert root.get("height") is None
    assert re.fullmatch(r"0 0 576 \d+(\.\d)?", root.attrib["viewBox"])


def test_it_brings_nothing_that_leaks_into_the_page_or_points_out_of_it(figure: Figure) -> None:
    text = inline_svg(figure, label="")
    assert {element.tag for element in ET.fromstring(text).iter()} <= {
        "svg", "g", "path", "text", "use", "defs", "clipPath", "rect", "pattern",
    }  # fmt: skip
    for part in ("http", "<?xml", "<!DOCTYPE", "xlink", "xmlns"):
        assert part not in text


def test_texts_are_texts() -> None:
    root = ET.fromstring(inline_svg(FIGURES["parameters"](), label=""))
    shown = [element.text for element in root.iter("text")]
    assert "Elements of each layer of vgg, tiny" in shown
    assert "conv0" in shown


def test_references_are_to_ids_inside_and_no_other_figure_has_them() -> None:
    seen: set[str] = set()
    for number in range(2):
        for draw in (*FIGURES.values(), lambda: plot_epochs(make_record(run=f"other {number}"))):  # noqa: B023
            root = ET.fromstring(inline_svg(draw(), label=""))
            text = ET.tostring(root, encoding="unicode")
            ids = [value for element in root.iter() if (value := element.get("id"))]
            referred = {*re.findall(r"url\(#([^)]+)\)", text), *re.findall(r'href="#([^"]+)"', text)}
            assert referred == {*ids}
            assert len(ids) == len({*ids}) > 0
            if number == 0:
                assert not seen & {*ids}
                seen |= {*ids}


def test_colours_of_the_page_are_variables_with_the_colours_of_print_as_defaults(figure: Figure) -> None:
    text = inline_svg(figure, label="")
    for colour, name in VARIABLES.items():
        assert colour not in text.replace(f"var(--{name}, {colour})", "")
    for name in ("ink", "grey", "grid", "background"):
        assert f"var(--{name}, #" in text
    assert "#000000" not in text
    for element in ET.fromstring(text).iter("text"):
        assert "fill: var(--" in element.attrib["style"], "black is nothing to read on a dark page"


def test_the_same_figure_gives_the_same_text_whatever_the_users_settings() -> None:
    first = inline_svg(FIGURES["weights"](), label="a")
    with mpl.rc_context({"svg.fonttype": "path", "font.size": 30, "svg.hashsalt": None}):
        assert first == inline_svg(FIGURES["weights"](), label="a")


def test_a_figure_of_nine_layers_is_small() -> None:
    record = make_record(histograms=True)
    layers = [record.layers[0].model_copy(update={"name": f"conv{number}.weight"}) for number in range(9)]
    nine = record.model_copy(update={"layers": layers})
    sizes = {plot.__name__: len(inline_svg(plot(nine), label="")) for plot in (plot_epochs, plot_parameters)}
    assert max(sizes.values()) < 20_000, sizes
    assert len(inline_svg(plot_weights(nine), label="")) < 60_000
