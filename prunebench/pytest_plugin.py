"""The pytest plugin: a test hands a record to the gate, and fails where the gate does.

    def test_run3(prunebench_gate):
        prunebench_gate(execute(run, setting))

    def test_sensitivity(prunebench_gate):
        prunebench_gate(sensitivity_scan(model, images, model_name="mynet", data_name="mydata"))

Loaded wherever prunebench is installed, so neither torch nor pydantic is imported until a test uses the fixture.
Verdicts travel from xdist's workers as an attribute of the test's report. pytest-benchmark is not needed; where it is
there, the verdicts are put into a benchmark's `extra_info` and into what `--benchmark-save` writes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prunebench.errors import RecordError, StorageError
from prunebench.escaping import terminal
from prunebench.pytest_options import Settings, add_options, check_thresholds, settings_of
from prunebench.pytest_plots import save_plots
from prunebench.storage.files import check_writable

if TYPE_CHECKING:
    from prunebench.gate import Verdict
    from prunebench.records import Record
    from prunebench.report.progress import ProgressBar

FIXTURE = "prunebench_gate"
ALWAYS_FAILING = ("FAIL", "INCOMPARABLE")
STRICTLY_FAILING = (*ALWAYS_FAILING, "NO_BASELINE")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A record or scan that a test handed to the gate, with its outcome; `verdicts` as JSON has them.

    `family` is `prunebench.records.family` of the record.
    """

    case: str
    family: str
    status: str
    record: str
    verdicts: list[dict[str, Any]]


@dataclass
class Session:
    """The state of the whole pytest session, in the process that reports it.

    Attributes:
        judged: by node id.
        deselected: tests that were left out, so that a baseline without a record says nothing.
        unused: baselines of the workloads and recipes seen that no test handed a record over for.
        problems: what went wrong with the step summary, and with plots.
    """

    settings: Settings
    judged: dict[str, list[Judged]] = field(default_factory=dict)
    deselected: int = 0
    is_whole: bool = True
    unused: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """Verdicts of all tests, worst first."""
        from prunebench.baselines.comparison import verdict_from
        from prunebench.gate import worst_first

        return worst_first(verdict_from(verdict) for judged in self._all() for verdict in judged.verdicts)

    def statuses(self) -> dict[str, str]:
        """The worst status by case, of all that were handed over."""
        from prunebench.baselines.comparison import verdict_from, worst_status

        verdicts: dict[str, list[Verdict]] = {}
        for judged in self._all():
            verdicts.setdefault(judged.case, []).extend(map(verdict_from, judged.verdicts))
        return {case: str(worst_status(found)) for case, found in verdicts.items()}

    def paths(self, folder: Path) -> dict[str, Path]:
        """The newest record of each case; `folder` is where pytest was called."""
        return {judged.case: folder / judged.record for judged in self._all()}

    def _all(self) -> list[Judged]:
        return [judged for cases in self.judged.values() for judged in cases]

    def find_unused(self) -> None:
        """Find the baselines of the families seen that no test handed a record over for."""
        from prunebench.baselines.shelf import list_baselines
        from prunebench.records import in_families

        kept = in_families(list_baselines(self.settings.baselines), {judged.family for judged in self._all()})
        self.unused = sorted({*kept} - self.statuses().keys())


UNUSED = "unused baselines"

SESSION = pytest.StashKey[Session]()
JUDGED = pytest.StashKey[list[Judged]]()
REPORTED = pytest.StashKey[int]()


class Gate:
    """The fixture's value. Call it with a record; the test fails, once its body is through, where the gate does."""

    def __init__(self, item: pytest.Item, settings: Settings) -> None:
        self._item = item
        self._settings = settings

    def __call__(self, *records: Record, case: str | None = None) -> list[Verdict]:
        """Keep `records` in the run folder and judge them by their floors and against their baselines.

        Several are judged together, as the seeds of one run should be. `case` says what a
        record has to be of; without it, any case will do. Returns the verdicts.

        Raises:
            RecordError: two records are of one case.
            StorageError: a record cannot be kept.
        """
        from prunebench.baselines.comparison import compare_apart
        from prunebench.gate import check_record
        from prunebench.records import RunRecord, case_id, keep_record
        from prunebench.sensitivity import Scan

        for record in records:
            if not isinstance(record, RunRecord | Scan):
                raise RecordError(f"{FIXTURE} takes records and scans, one by one, got a {type(record).__name__}")
        paths = {case_id(record): keep_record(record, self._settings.records) for record in records}
        verdicts = compare_apart(records, self._settings.baselines, thresholds=self._settings.thresholds(), case=case)
        for record in records:
            found = verdicts[case_id(record)]
            found += check_record(record) if isinstance(record, RunRecord) else []
            self._remember(record, paths[case_id(record)], found)
        return [verdict for found in verdicts.values() for verdict in found]

    def failures_kept(self, case: str) -> AbstractContextManager[None]:
        """A context for a run of `case`: one that raises leaves a record of its failure in the run folder."""
        from prunebench.records import failures_kept

        return failures_kept(case, self._settings.records)

    def _remember(self, record: Record, path: Path, verdicts: list[Verdict]) -> None:
        from prunebench.baselines.comparison import worst_status
        from prunebench.records import case_id, family

        judged = Judged(
            case=case_id(record),
            family=family(record),
            status=str(worst_status(verdicts)),
            record=_shown(path, self._item.config),
            verdicts=[{**asdict(verdict), "text": str(verdict)} for verdict in verdicts],
        )
        self._item.stash[JUDGED].append(judged)
        self._item.user_properties.append((f"prunebench.{judged.case}", judged.status))
        self._item.user_properties.append((f"prunebench.{judged.case}.record", judged.record))
        benchmark = getattr(self._item, "funcargs", {}).get("benchmark")
        if isinstance(extra := getattr(benchmark, "extra_info", None), dict):
            extra.setdefault("prunebench", {})[judged.case] = judged.status


@pytest.fixture
def prunebench_gate(request: pytest.FixtureRequest) -> Generator[Gate]:
    """The gate: called with a RunRecord or a Scan, it fails the test where that is worse than its approved baseline."""
    item = request.node
    item.stash[JUDGED], item.stash[REPORTED] = [], 0
    yield Gate(item, request.config.stash[SESSION].settings)
    _fail_for(item)  # what was handed over after the test's body


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A `prunebench.toml`, or a `pyproject.toml`, that was named: never one that only lies in a folder of tests."""
    if file_path.suffix != ".toml" or not parent.session.isinitpath(file_path):
        return None
    from prunebench.pytest_toml import TomlFile

    found: pytest.Collector = TomlFile.from_parent(parent, path=file_path)
    return found


@pytest.fixture(scope="session")
def prunebench_progress(pytestconfig: pytest.Config) -> Generator[ProgressBar]:
    """A bar on the terminal, past pytest's capturing, so that minutes of training are seen to pass."""
    from prunebench.report.progress import ProgressBar

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    settings: dict[str, Any] = {}
    if capture:
        settings["around"] = capture.global_and_fixture_disabled
    if reporter:
        settings["fresh_line"] = reporter.ensure_newline
    with ProgressBar(**settings) as bar:
        yield bar


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "prunebench(case=None): the test hands a record to the gate, of that case where it is given, and fails where "
        f"it does not; tests that use the fixture {FIXTURE} have it by themselves",
    )
    config.stash[SESSION] = Session(settings=settings_of(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()) and item.get_closest_marker("prunebench") is None:
            item.add_marker("prunebench")
    if any(item.get_closest_marker("prunebench") for item in items):
        check_thresholds(items[0].config.stash[SESSION].settings)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find out now, and not after an hour of work, whether records can be kept."""
    if session.config.option.collectonly or not any(item.get_closest_marker("prunebench") for item in session.items):
        return
    _check_folder(session.config.stash[SESSION].settings.records, "--prunebench-records")


def _check_folder(folder: Path, option: str) -> None:
    try:
        check_writable(folder)
    except StorageError as error:
        raise pytest.UsageError(f"prunebench: {error}; name another with {option}") from None


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[SESSION].deselected += len(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    _fail_for(item)
    if (marker := item.get_closest_marker("prunebench")) is not None:
        _fail_for_silence(item, marker)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown" and (judged := item.stash.get(JUDGED, [])):
        report.prunebench = json.dumps([asdict(entry) for entry in judged], default=str)  # type: ignore[attr-defined]
    return report


class _Collector:
    """A plugin that takes verdicts out of the reports; registered where reports are shown, not in xdist's workers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if text := getattr(report, "prunebench", None):
            self._session.judged[report.nodeid] = [Judged(**entry) for entry in json.loads(text)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        sent = getattr(node, "workeroutput", None) or {}
        self._session.deselected = max(self._session.deselected, sent.get("prunebench_deselected", 0))

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        if statuses := self._session.statuses():
            output_json["prunebench"] = statuses


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if not _is_worker(config):
        if (plots := config.stash[SESSION].settings.plots) and not config.option.collectonly:
            _check_folder(plots, "--save-plots")
        config.pluginmanager.register(_Collector(config.stash[SESSION]), "prunebench-collector")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config, state = session.config, session.config.stash[SESSION]
    if _is_worker(config):
        config.workeroutput["prunebench_deselected"] = state.deselected  # type: ignore[attr-defined]
        return
    if not state.judged:
        return
    state.find_unused()
    state.is_whole = exitstatus in (0, 1) and not state.deselected and not _is_part(session)
    if state.unused and state.is_whole and state.settings.strict and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    from prunebench.report.markdown import append_step_summary, markdown_summary

    try:
        append_step_summary(markdown_summary(state.verdicts(), notes=_notes(state)))
    except StorageError as error:  # a summary that nobody can read is no reason to lose the session
        state.problems.append(str(error))
    if state.settings.plots:
        state.problems += save_plots(state.paths(config.invocation_params.dir), state.settings.plots)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    state = config.stash[SESSION]
    if _is_worker(config) or not state.judged:
        return
    from prunebench.report import notable, passed_lines
    from prunebench.report.markdown import in_github_actions, workflow_commands

    verdicts = state.verdicts()
    terminalreporter.write_sep("=", "prunebench gate")
    shown, lines = notable(verdicts)
    for verdict in shown:
        failed = _fails(str(verdict.status), verdict.advisory, state.settings)
        terminalreporter.write_line(terminal(verdict), red=failed, yellow=not failed)
    for line in [*lines, *passed_lines(verdicts, cases=len(state.statuses()))]:
        terminalreporter.write_line(terminal(line))
    for note in _notes(state):
        failed = state.settings.strict and note.startswith(UNUSED)
        terminalreporter.write_line(terminal(note), red=failed, yellow=not failed)
    if plots := state.settings.plots:
        terminalreporter.write_line(terminal(f"plots: {_shown(plots, config)}"))
    if in_github_actions():
        for line in workflow_commands(verdicts):
            terminalreporter.write_line(line)


def _fail_for(item: pytest.Item) -> None:
    """Fail for the verdicts that were not failed for yet."""
    judged = item.stash.get(JUDGED, [])
    new = judged[item.stash.get(REPORTED, 0) :]
    item.stash[REPORTED] = len(judged)
    lines = [line for entry in new for line in _failure(entry, item.config.stash[SESSION].settings)]
    if lines:
        pytest.fail("\n".join(map(terminal, lines)), pytrace=False)


def _failure(judged: Judged, settings: Settings) -> list[str]:
    failed = [verdict for verdict in judged.verdicts if _verdict_fails(verdict, settings)]
    if not failed:
        return []
    command = ["prunebench", "baseline", "approve", judged.record, "--only", judged.case]
    if any(verdict["status"] == "INCOMPARABLE" for verdict in failed):
        command += ["--incomparable", judged.case]
    meant = f"if this is meant, commit, run again, and: {shlex.join(command)} --reason '...'"
    if any(verdict["tier"] == "floor" for verdict in failed):
        meant = "counts follow from the run's sparsities: look at what was pruned"
    if any(verdict["tier"] == "floor" and not str(verdict["rule"]).startswith("exact") for verdict in failed):
        meant = (
            "a floor is a promise and no baseline that could be approved: mend what fell, or change the promise where "
            "it stands, in prunebench.toml or in prunebench's source (docs/gate.md)"
        )
    return [
        f"prunebench gate: {len(failed)} of {len(judged.verdicts)} checks of {judged.case} failed",
        *(verdict["text"] for verdict in failed),
        f"record: {judged.record}",
        meant,
    ]


def _verdict_fails(verdict: Mapping[str, Any], settings: Settings) -> bool:
    return _fails(str(verdict["status"]), bool(verdict.get("advisory")), settings)


def _fails(status: str, advisory: bool, settings: Settings) -> bool:
    return not advisory and status in (STRICTLY_FAILING if settings.strict else ALWAYS_FAILING)


def _fail_for_silence(item: pytest.Item, marker: pytest.Mark) -> None:
    handed = [judged.case for judged in item.stash.get(JUDGED, [])]
    wanted = marker.kwargs.get("case", marker.args[0] if marker.args else None)
    if wanted is not None and not any(wanted in (case, case.partition("/")[2]) for case in handed):
        about = f"prunebench gate: no record of {wanted} was handed over, but of: {_listed(handed)}"
        pytest.fail(terminal(about), pytrace=False)
    if not handed:
        pytest.fail(f"prunebench gate: the test handed no record to {FIXTURE}", pytrace=False)


def _notes(state: Session) -> list[str]:
    notes = [*state.problems]
    if state.unused and state.is_whole:
        fails = ", which fails the session (strict)" if state.settings.strict else ""
        notes.append(f"{UNUSED}, no test handed over a record of them{fails}: {_listed(state.unused)}")
    elif state.unused:
        notes.append(f"part of the tests ran; without a record are: {_listed(state.unused)}")
    return notes


def _is_part(session: pytest.Session) -> bool:
    """True where tests were named one by one, chosen by an earlier result or by what they time, or stopped early."""
    option = session.config.option
    return bool(
        session.shouldstop
        or session.shouldfail
        or any("::" in argument for argument in session.config.args)
        or getattr(option, "lf", False)
        or getattr(option, "stepwise", False)
        or getattr(option, "ignore", None)
        or getattr(option, "ignore_glob", None)
        or getattr(option, "benchmark_skip", False)
        or getattr(option, "benchmark_only", False)
    )


def _is_worker(config: pytest.Config) -> bool:
    """True in one of xdist's workers, which report to another process."""
    return hasattr(config, "workerinput")


def _shown(path: Path, config: pytest.Config) -> str:
    return os.path.relpath(path, config.invocation_params.dir)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
