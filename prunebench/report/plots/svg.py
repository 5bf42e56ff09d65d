"""Figures as SVG inside a page of HTML: small, searchable, in the page's colours. Files are written in `style`."""

from __future__ import annotations

import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import matplotlib as mpl
from matplotlib.figure import Figure

from prunebench.escaping import terminal
from prunebench.report.plots.style import GREY, INK, LINES, PALE, styled

VARIABLES = {
    INK.lower(): "ink",
    GREY.lower(): "grey",
    PALE.lower(): "pale",
    LINES.lower(): "grid",
    "#ffffff": "background",
}
"""CSS variables by the colour that is used where a page does not set them."""

FONT = "'DejaVu Sans', Verdana, sans-serif"
"""The font that texts were measured in, and one as wide."""

_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"(?<=url\(#)[^)]+|(?<=^#).+")
_FAMILY = re.compile(r"font-family: [^;]+; ?")
_SHORTHAND = re.compile(r"font: (?:(\w+) )?([\d.]+px) [^;]+")
"""Of matplotlib before 3.11: weight, size, family."""


def inline_svg(figure: Figure, *, label: str) -> str:
    """An `<svg>` element to put into HTML, as wide as what it is put into.

    Colours are CSS variables (`--ink`, `--grey`, `--pale`, `--grid`, `--background`) that default to those of print.
    The same figure gives the same text. Its ids begin with a digest of it, so that many figures fit on a page.

    Args:
        label: what the figure shows, for those who do not see it.
    """
    file = io.StringIO()
    with styled():
        mpl.rcParams["svg.fonttype"] = "none"
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    root = _reduced(ET.fromstring(text), digest)  # noqa: S314 - what matplotlib has just written
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": "100%",
        "role": "img",
        "aria-label": terminal(label),
        "style": f"font-family: {FONT}; stroke-linejoin: round",  # matplotlib's style sheet would be all the page's
    }
    return ET.tostring(root, encoding="unicode")


def _reduced(root: ET.Element, digest: str) -> ET.Element:
    """The same drawing in less text: no style sheet, metadata, namespaces, unused ids, groups without attributes."""
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = dict.fromkeys(name for value in values for name in _REFERENCE.findall(value))
    ids = {name: f"p{digest}-{number}" for number, name in enumerate(used)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            name.rpartition("}")[2]: ids[value] if name == "id" else _shortened(name, value, ids)
            for name, value in element.attrib.items()
            if (name != "id" or value in ids) and not value.startswith("rotate(-0 ")
        }
        element.tail = None
        element.text = element.text if element.tag == "text" else None
    return _flat(root)


def _shortened(name: str, value: str, ids: Mapping[str, str]) -> str:
    value = _REFERENCE.sub(lambda found: ids[found[0]], value)
    if name != "style":
        return _NUMBER.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), " ".join(value.split()))
    value = _SHORTHAND.sub(r"font-weight: \1; font-size: \2", _FAMILY.sub("", value)).replace("font-weight: ; ", "")
    for colour, variable in VARIABLES.items():
        value = value.replace(colour, f"var(--{variable}, {colour})")
    return value


def _flat(element: ET.Element) -> ET.Element:
    children = []
    for child in map(_flat, element):
        if child.tag not in {"style", "metadata"}:
            children += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = [child for child in children if len(child) or child.attrib or child.text]
    return element
