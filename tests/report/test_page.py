"""The page: verdict first, whole without a network, names as text; and in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from gate.scan_documents import make_scan
from record_factory import make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.records import keep_record, write_record

NAMES = {
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "template": "{{ 7 * 7 }}",
    "end of script": "</script><script>alert(2)</script>",
    "direction": "\u202egnp.exe",
}
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
CHROMIUM = next((path for name in BROWSERS if (path := shutil.which(name))), "")


def written(folder: Path, *arguments: str, output: str = "report.html") -> str:
    """The report on the records in `folder`."""
    path = folder / output
    options = ["--against", str(folder / "baselines"), "--output", str(path)]
    result = CliRunner().invoke(main, ["report", *(arguments or [str(folder / "records")]), *options])
    assert 0 == result.exit_code, result.output
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of many outcomes, beside their baselines."""
    place = tmp_path_factory.mktemp("report")
    pairs = [
        (make_record(run="good", histograms=True), make_record(run="good")),
        (make_record(run="less accurate", wrong=70), make_record(run="less accurate")),
        (make_record(run="smaller", sparsity=0.8, wrong=14), make_record(run="smaller", sparsity=0.8)),
        *((make_record(run=name), None) for name in NAMES.values()),
    ]
    for record, baseline in pairs:
        keep_record(record, place / "records")
        if baseline is not None:
            write_baseline(make_baseline(baseline), place / "baselines")
    keep_record(make_scan(), place / "records")
    return place


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return written(folder)


class Elements(HTMLParser):
    """Elements of a page, in order, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]


def test_the_worst_comes_first(page: str) -> None:
    assert re.search(r"<h1>.*?FAIL.*?less%20accurate", page, re.DOTALL)
    statuses = [attributes["data-status"] for tag, attributes in Elements(page).elements if "data-status" in attributes]
    assert ["FAIL", "NO_BASELINE"] == list(dict.fromkeys(statuses))[:2]


def test_the_page_loads_nothing(page: str) -> None:
    found = Elements(page)
    assert {"#"} == {link[0] for name in ("href", "xlink:href") for link in found.attributes(name)}
    assert [] == [tag for tag, _ in found.elements if tag in {"link", "img", "iframe", "object", "base"}]
    assert [] == found.attributes("src")
    assert "@import" not in page
    assert [] == re.findall(r"url\((?!#)", page)


def test_links_lead_somewhere_and_ids_are_unique(page: str) -> None:
    found = Elements(page)
    ids = found.attributes("id")
    assert len(ids) == len({*ids})
    assert set() == {link[1:] for link in found.attributes("href")} - {*ids}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_are_text(page: str, name: str) -> None:
    found = Elements(page)
    assert 2 == sum(tag == "script" for tag, _ in found.elements), "the figures, and the page's own"
    assert [] == [attribute for _, attributes in found.elements for attribute in attributes if attribute[:2] == "on"]
    shown = name.replace("\u202e", "\\u202e")
    assert shown in found.text, "in the run's heading, as text"
    assert "\u202e" not in page


def test_a_record_may_be_an_approved_baseline_that_nothing_is_compared_with(folder: Path) -> None:
    text = written(folder, str(folder / "baselines"), output="approved.html")
    assert "Nothing was compared with a baseline." in text
    assert "approved baseline" in text
    assert "FAIL" not in re.search(r"<h1>.*?</h1>", text, re.DOTALL)[0]


def test_the_same_records_give_the_same_page(folder: Path, page: str) -> None:
    def undated(text: str) -> str:
        return re.sub(r"made \d{4}-[^<]*", "", text)

    assert undated(page) == undated(written(folder, output="again.html"))


def test_markdown_has_the_headline_first_and_stays_within_what_a_comment_takes(folder: Path) -> None:
    many = folder / "many"
    for number in range(60):
        keep_record(make_record(run=f"run number {number} " + "x" * 200), many)
    text = written(folder, str(many), str(folder / "records"), output="report.md")
    assert text.startswith("<!-- prunebench report -->\n\n## ❌ prunebench: ")
    assert 65_536 > len(text)
    assert text.count("<details>") == text.count("</details>")


def test_a_record_left_out_is_named(folder: Path, tmp_path: Path) -> None:
    older = make_record(run="good", created="2020-01-01T00:00:00+00:00")
    write_record(older, tmp_path / "older.json")
    text = written(folder, str(folder / "records"), str(tmp_path / "older.json"), output="two.html")
    assert "is older than" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "report.pdf"], "suffix must be one of .html, .md, .json, got '.pdf'"),
        (["--output", "report.html", "--format", "pdf"], "unknown report format 'pdf'"),
        (["nothing.json", "--output", "report.html"], "nothing.json"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", *arguments])
    assert 2 == result.exit_code
    assert message in result.output
    assert 1 == result.output.count("\n")
    assert [] == [*tmp_path.iterdir()]


class Browser:
    """A page in Chromium, and what it said and asked for meanwhile."""

    def __init__(self, chromium: Any, path: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = chromium.new_context(**options).new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, table: str, column: int) -> list[str]:
        """The texts of a column, of the rows that are shown."""
        cells = self.page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({column})").all_inner_texts()
        return [cell.strip() for cell in cells]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, folder: Path, page: str) -> Iterator[Browser]:
    browser = Browser(chromium, folder / "report.html")
    yield browser
    assert ([], 1) == (browser.complaints, len(browser.requests)), browser.requests
    browser.page.context.close()


RUNS = "#runs table.sortable"


def test_sorting_by_size_and_back(opened: Browser) -> None:
    sizes = [float(cell.split()[0]) for cell in opened.column(RUNS, 3)]
    header = opened.page.locator(f"{RUNS} thead button", has_text="size, %")
    header.click()
    assert sorted(sizes) == [float(cell.split()[0]) for cell in opened.column(RUNS, 3)]
    header.focus()
    opened.page.keyboard.press("Enter")
    assert sorted(sizes, reverse=True) == [float(cell.split()[0]) for cell in opened.column(RUNS, 3)]
    assert "descending" == opened.page.locator(f"{RUNS} thead th[aria-sort]").get_attribute("aria-sort")


def test_filters(opened: Browser) -> None:
    opened.page.get_by_label("Show only runs with").fill("SMALLER")
    assert ["digits/smaller-quick"] == opened.column(RUNS, 1)
    opened.page.get_by_label("FAIL", exact=True).uncheck()
    shown = opened.page.locator("#findings .finding:visible").all()
    assert "FAIL" not in {finding.get_attribute("data-status") for finding in shown}
    assert shown


def test_two_runs_side_by_side(opened: Browser) -> None:
    opened.page.get_by_label("Left").select_option("digits/good-quick")
    opened.page.get_by_label("Right").select_option("digits/smaller-quick")
    rows = dict(zip(opened.column("#diff", 1), opened.column("#diff", 4), strict=True))
    assert "-2" == rows["accuracy pruned, %"]
    assert float(rows["nonzero elements"]) < 0


def test_the_keyboard_reaches_the_findings_first(opened: Browser) -> None:
    opened.page.keyboard.press("Tab")
    assert "To the findings" == opened.page.evaluate("document.activeElement.textContent")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_url("**/report.html#findings")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessible_and_as_wide_as_the_window(chromium: Any, folder: Path, page: str, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    size = {"width": width, "height": 900}
    browser = Browser(chromium, folder / "report.html", viewport=size, color_scheme=scheme, bypass_csp=True)
    found = axe.Axe().run(browser.page).response["violations"]
    assert [] == [(each["id"], each["impact"]) for each in found if each["impact"] in {"serious", "critical"}]
    assert width >= browser.page.evaluate("document.documentElement.scrollWidth")
    browser.page.context.close()


def test_whole_without_scripts_and_in_print(chromium: Any, folder: Path, page: str) -> None:
    browser = Browser(chromium, folder / "report.html", java_script_enabled=False)
    assert 8 == browser.page.locator(f"{RUNS} tbody tr").count()
    assert browser.page.locator("#diff").is_hidden()
    browser.page.emulate_media(media="print")
    assert browser.page.locator("nav").is_hidden()
    assert browser.page.get_by_text("Seconds, with their spread").first.is_visible(), "folded parts are printed"
    browser.page.context.close()
