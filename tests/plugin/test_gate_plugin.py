"""The plugin: the gate's failures fail the test: alone, under xdist, in any order, with pytest-benchmark, without."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
from record_factory import make_baseline, make_record

# Before pytester, which forgets what was imported within a run: torch cannot come twice.
import prunebench.baselines.comparison
import prunebench.gate.thresholds
from prunebench.baselines.collected import collect
from prunebench.baselines.shelf import write_baseline
from prunebench.records import RunRecord, read_record

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HERE = Path(prunebench.baselines.comparison.__file__).parents[2]

TESTS = """
from record_factory import make_record

def test_same(prunebench_gate):
    prunebench_gate(make_record())

def test_bigger(prunebench_gate):
    prunebench_gate(make_record(run="bigger", pruned_file_bytes=1000))

def test_nothing_to_do_with_it():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with tests and baselines of `tiny` and `bigger`, outside of any code host's runner."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{ROOT / 'tests'}")
    pytester.syspathinsert(ROOT / "tests")
    pytester.makepyfile(TESTS)
    based(pytester, make_record(), make_record(run="bigger"))
    return pytester


def based(pytester: pytest.Pytester, *records: RunRecord) -> None:
    for record in records:
        write_baseline(make_baseline(record), pytester.path / "baselines")


def options(*arguments: str) -> list[str]:
    """With the plugin, also where it is not installed; without hypothesis, which takes a second to say nothing."""
    installed = any(entry.name == "prunebench" for entry in entry_points(group="pytest11"))
    return [*([] if installed else ["-p", "prunebench.pytest_plugin"]), "-p", "no:hypothesispytest", *arguments]


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*options(*arguments))


def test_a_regression_fails_its_own_test_only(project: pytest.Pytester) -> None:
    result = run(project, "-p", "no:randomly")
    result.assert_outcomes(passed=2, failed=1)
    assert 1 == result.ret
    result.stdout.fnmatch_lines(
        [
            "*prunebench gate: * of * checks of digits/bigger-quick failed",
            "FAIL  digits/bigger-quick",
            "  File size changed: pruned * became 1,000 bytes. Any change fails.",
            "record: .prunebench/records/*-digits-bigger-quick.json",
            "  next: Mend it; if it is meant, commit, run again, and approve it:",
            "    prunebench baseline approve .prunebench/records --only digits/bigger-quick --reason '...'",
            "*= prunebench: accuracy in percent, worst first =*",
            "digits/bigger-quick *FAIL *98.00 *95.00 *97.00 *97.00 *-1.00",
            "digits/tiny-quick *PASS *98.00 *95.00 *97.00 *97.00 *-1.00",
            "*= prunebench gate =*",
            "FAIL  Not the same as the baseline: 1 check failed in digits/bigger-quick.",
            "FAIL  digits/bigger-quick",
            "  next: *",
            "    prunebench baseline approve .prunebench/records --only digits/bigger-quick --reason '...'",
            "* checks passed, 2 cases. The others: 1 FAIL*",
            "A drop in accuracy of * points or more would have been found everywhere*",
        ]
    )
    kept = sorted((project.path / ".prunebench" / "records").iterdir())
    assert {"tiny", "bigger"} == {read_record(path).run for path in kept}


def test_last_failed_runs_the_failed_one_again(project: pytest.Pytester) -> None:
    run(project)
    result = run(project, "--lf", "--prunebench-strict=yes")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["part of the tests ran; without a record are: digits/tiny-quick"])


def test_junit_has_the_failure_and_the_properties(project: pytest.Pytester) -> None:
    run(project, "--junitxml=report.xml")
    cases = {case.get("name"): case for case in ElementTree.parse(project.path / "report.xml").iter("testcase")}
    failure = cases["test_bigger"].find("failure")
    assert failure is not None
    assert "digits/bigger-quick" in (failure.get("message") or "")
    properties = {entry.get("name"): entry.get("value") for entry in cases["test_bigger"].iter("property")}
    assert "FAIL" == properties["prunebench.digits/bigger-quick"]
    assert (
        "PASS"
        == {entry.get("name"): entry.get("value") for entry in cases["test_same"].iter("property")}[
            "prunebench.digits/tiny-quick"
        ]
    )
    assert [] == list(cases["test_nothing_to_do_with_it"].iter("property"))


def test_under_xdist_and_in_any_order_the_summary_is_whole(project: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    based(project, make_record(run="unused"))
    result = run(project, "-n2", "--prunebench-strict=yes", "--junitxml=report.xml")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "digits/bigger-quick *FAIL *-1.00",
            "*= prunebench gate =*",
            "FAIL  digits/bigger-quick",
            "* checks passed, 2 cases. The others: 1 FAIL*",
            "A drop in accuracy of * points or more would have been found everywhere*",
            "unused baselines*fails the session (strict): digits/unused-quick",
        ]
    )
    properties = ElementTree.parse(project.path / "report.xml").iter("property")
    assert "prunebench.digits/bigger-quick" in {entry.get("name") for entry in properties}


def test_any_order_gives_the_same_verdicts(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_randomly")
    for seed in (1, 2):
        run(project, f"--randomly-seed={seed}").assert_outcomes(passed=2, failed=1)


BENCHMARKS = """
from record_factory import make_record

def test_same(benchmark, prunebench_gate):
    prunebench_gate(benchmark.pedantic(make_record, rounds=2))

def test_bigger(prunebench_gate, benchmark):
    prunebench_gate(benchmark.pedantic(make_record, kwargs={"run": "bigger", "extra_nonzeros": 1}))
"""


@pytest.mark.parametrize("arguments", [(), ("--benchmark-disable",), ("--benchmark-only",)])
def test_the_gate_judges_with_benchmarking_on_or_off(project: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    pytest.importorskip("pytest_benchmark")
    project.makepyfile(BENCHMARKS)
    run(project, *arguments).assert_outcomes(passed=1, failed=1)


def test_saved_benchmarks_carry_the_verdicts_and_compare(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark")
    project.makepyfile(BENCHMARKS)
    run(project, "--benchmark-save=first").assert_outcomes(passed=1, failed=1)
    (saved,) = project.path.glob(".benchmarks/*/*_first.json")
    content = json.loads(saved.read_text())
    assert {"digits/tiny-quick": "PASS", "digits/bigger-quick": "FAIL"} == content["prunebench"]
    extra = {entry["name"]: entry["extra_info"]["prunebench"] for entry in content["benchmarks"]}
    assert {"digits/tiny-quick": "PASS"} == extra["test_same"]
    run(project, "--benchmark-compare", "--benchmark-save=second").assert_outcomes(passed=1, failed=1)


def test_pytest_benchmark_is_not_needed(project: pytest.Pytester) -> None:
    run(project, "-p", "no:benchmark").assert_outcomes(passed=2, failed=1)


def test_another_plugins_benchmark_fixture_will_do(project: pytest.Pytester) -> None:
    """As pytest-codspeed's, which has no `extra_info`."""
    project.makeconftest("""
        import pytest

        @pytest.fixture
        def benchmark():
            return lambda function: function()
    """)
    project.makepyfile("""
        from record_factory import make_record

        def test_same(benchmark, prunebench_gate):
            prunebench_gate(benchmark(make_record))
    """)
    run(project, "-p", "no:benchmark").assert_outcomes(passed=1)


def test_a_missing_baseline_is_reported_and_fails_in_strict_mode(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import make_record
        def test_new(prunebench_gate):
            prunebench_gate(make_record(run="new"))
    """)
    result = run(project)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["NO_BASELINE  digits/new-quick", "  Nobody has approved a baseline yet*"])
    result = run(project, "--prunebench-strict", "yes")
    result.assert_outcomes(failed=1)
    assert 1 == result.ret


def test_an_unused_baseline_is_reported_and_fails_in_strict_mode(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import make_record
        def test_same(prunebench_gate):
            prunebench_gate(make_record())
        def test_other():
            pass
    """)
    based(project, make_record(run="full", recipe="full"))
    result = run(project)
    assert 0 == result.ret
    result.stdout.fnmatch_lines(["unused baselines*: digits/bigger-quick"])
    assert 1 == run(project, "--prunebench-strict=yes").ret
    project.makeini("[pytest]\nprunebench_strict = true")
    assert 1 == run(project).ret
    assert 0 == run(project, "--prunebench-strict=no").ret
    alone = f"{next(project.path.glob('test_*.py')).name}::test_same"
    for part in (("-k", "same"), (alone,), ("--benchmark-skip",)):
        assert 0 == run(project, *part).ret


def test_an_edited_baseline_fails_the_test_and_is_named(project: pytest.Pytester) -> None:
    path = project.path / "baselines" / "digits" / "tiny-quick.json"
    path.write_text(path.read_text().replace('"reason": "first"', '"reason": "edited"'))
    result = run(project)
    result.assert_outcomes(passed=1, failed=2)
    assert "digits/tiny-quick.json' was edited or damaged" in " ".join(str(result.stdout).split())


def test_a_test_that_hands_nothing_over_fails(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from record_factory import make_record

        def test_silent(prunebench_gate):
            pass

        @pytest.mark.prunebench(case="bigger-quick")
        def test_of_another_case(prunebench_gate):
            prunebench_gate(make_record())

        @pytest.mark.prunebench("digits/tiny-quick")
        def test_of_its_case(prunebench_gate):
            prunebench_gate(make_record(), case="tiny-quick")

        def test_that_expects_another(prunebench_gate):
            prunebench_gate(make_record(finetuning=None), case="digits/tiny-quick")

        def test_skipped(prunebench_gate):
            pytest.skip("no GPU")
    """)
    result = run(project, "--strict-markers", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=3, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*the test handed no record to prunebench_gate",
            "*no record of bigger-quick was handed over, but of: digits/tiny-quick",
            "*record: it is of digits/tiny-quick-oneshot*",
        ]
    )


def test_every_record_of_a_test_is_judged_and_its_own_failure_comes_first(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import make_record

        def test_both(prunebench_gate):
            first = prunebench_gate(make_record(run="bigger", extra_nonzeros=1))
            second = prunebench_gate(make_record())
            assert {"FAIL", "PASS"} >= {verdict.status for verdict in (*first, *second)}

        def test_own(prunebench_gate):
            prunebench_gate(make_record(run="bigger", extra_nonzeros=1))
            assert "my own" == "failure"
    """)
    result = run(project)
    result.assert_outcomes(failed=2, errors=1)  # the gate's own failure of the second shows at its teardown
    result.stdout.fnmatch_lines(["*assert 'my own' == 'failure'*"])
    result.stdout.fnmatch_lines(["* checks passed, 2 cases*"])


def test_a_run_that_raises_leaves_its_failure_in_the_run_folder(project: pytest.Pytester) -> None:
    project.makepyfile("""
        def test_broken(prunebench_gate):
            with prunebench_gate.failures_kept("digits/tiny-quick"):
                raise ValueError("it broke")
    """)
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: it broke"])
    found = collect(project.path / ".prunebench" / "records")
    assert ["digits/tiny-quick"] == list(found.unusable)


def test_what_a_record_promises_is_checked_whatever_its_baseline_says(project: pytest.Pytester) -> None:
    """Counts by its sparsities, and its floors; each limit itself is allowed."""
    based(project, make_record(run="wrong", extra_nonzeros=1))
    project.makepyfile("""
        from prunebench.documented.floors import Floor
        from record_factory import make_record

        def test_counts(prunebench_gate):
            prunebench_gate(make_record(run="wrong", extra_nonzeros=1))

        def test_kept(prunebench_gate):
            prunebench_gate(make_record(floors=[Floor(figure="accuracy_best", least=97.0, rule="promised")]))

        def test_missed(prunebench_gate):
            prunebench_gate(make_record(floors=[Floor(figure="change", least=-0.9, rule="promised")]))
    """)
    result = run(project, "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "  In classifier.weight * weights are kept; the sparsities leave exactly *.",
            "*the counts follow from the run's sparsities*",
            "  Change of accuracy, best epoch: -1.00 points. Promised: at least -0.90*",
            "*A floor is a promise, which no approval changes*",
        ]
    )
    result.stdout.no_fnmatch_line("*baseline approve*")  # which would refuse it


def test_github_gets_a_summary_and_annotations(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = project.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(project).stdout.no_fnmatch_line("::error*")
    assert "**❌ FAIL**\n\n- **digits/bigger-quick**" in summary.read_text()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    run(project).stdout.fnmatch_lines(["::error title=FAIL digits/bigger-quick::*"])


def test_a_step_summary_that_cannot_be_written_is_reported(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))
    result = run(project)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["cannot write the step summary*"])


def test_folders_come_from_the_options_or_the_ini_file(project: pytest.Pytester) -> None:
    (project.path / "baselines").rename(project.path / "approved")
    run(project, "--prunebench-baselines", "approved", "--prunebench-records=kept").assert_outcomes(passed=2, failed=1)
    assert 2 == len(list((project.path / "kept").iterdir()))
    project.makeini(
        "[pytest]\nprunebench_baselines = approved\nprunebench_records = elsewhere\nprunebench_alpha = 0.05"
    )
    run(project, "--prunebench-margin", "1").assert_outcomes(passed=2, failed=1)
    assert 2 == len(list((project.path / "elsewhere").iterdir()))


def test_times_and_the_spread_of_seeds_are_options(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import accuracy, make_record
        def slower(old):
            return old.timings.model_copy(update={"evaluate": [2 * seconds for seconds in old.timings.evaluate]})
        def test_slow(prunebench_gate):
            prunebench_gate(make_record(timings=slower(make_record())))
        def test_worse(prunebench_gate):
            less = {"best": accuracy(10), "last": accuracy(10), "selection_accuracies": [94.0, 95.0]}
            tuned = make_record().finetuning.model_copy(update=less)
            prunebench_gate(make_record(run="bigger", finetuning=tuned))
    """)
    run(project).assert_outcomes(passed=1, failed=1)
    run(project, "--prunebench-times=no").assert_outcomes(passed=2)
    narrow = ("--prunebench-seed-spread=0", "--prunebench-alpha=0.45")
    run(project, "--prunebench-times=no", *narrow).assert_outcomes(passed=1, failed=1)
    project.makeini("[pytest]\nprunebench_times = no\nprunebench_seed_spread = 0\nprunebench_alpha = 0.45")
    run(project).assert_outcomes(passed=1, failed=1)
    run(project, "--prunebench-seed-spread=2").assert_outcomes(passed=2)


def test_the_command_that_is_advised_is_the_one_that_works(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import digest, make_record
        def test_other_data(prunebench_gate):
            other = make_record().data.model_copy(update={"digest": digest("other data")})
            prunebench_gate(make_record(data=other))
    """)
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*baseline approve * --only digits/tiny-quick --incomparable digits/tiny-quick *"])


def test_the_worst_of_a_case_is_what_is_saved(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark")
    project.makepyfile("""
        from record_factory import make_record
        def test_worse(prunebench_gate):
            prunebench_gate(make_record(extra_nonzeros=1))
        def test_same_again(prunebench_gate, benchmark):
            benchmark(int)
            prunebench_gate(make_record())
    """)
    run(project, "-p", "no:randomly", "--benchmark-json=saved.json").assert_outcomes(passed=1, failed=1)
    assert {"digits/tiny-quick": "FAIL"} == json.loads((project.path / "saved.json").read_text())["prunebench"]


@pytest.mark.parametrize("argument", ["--prunebench-strict=perhaps", "--prunebench-alpha=much", "--prunebench-strict"])
def test_a_bad_value_is_a_usage_error(project: pytest.Pytester, argument: str) -> None:
    assert pytest.ExitCode.USAGE_ERROR == run(project, argument).ret


@pytest.mark.parametrize("argument", ["--prunebench-alpha=5", "--prunebench-margin=nan", "--prunebench-seed-spread=-1"])
def test_a_value_out_of_range_is_a_usage_error_before_any_test(project: pytest.Pytester, argument: str) -> None:
    result = run(project, argument)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    result.stderr.fnmatch_lines(["*prunebench: *must be*got*"])
    assert "passed" not in result.stdout.str()


def test_what_is_no_record_is_named(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from record_factory import make_record

        def test_a_list(prunebench_gate):
            prunebench_gate([make_record()])
    """)
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*prunebench_gate takes records and scans, one by one, got a list*"])


def test_alpha_is_shared_by_the_family(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    compare = prunebench.baselines.comparison.compare_records

    def remember(*sides: object, thresholds: prunebench.gate.thresholds.Thresholds) -> list:
        seen.append(thresholds.alpha)
        return compare(*sides, thresholds=thresholds)

    monkeypatch.setattr(prunebench.baselines.comparison, "compare_records", remember)
    based(project, *(make_record(seed=seed) for seed in (1, 2)), make_record(run="not-counted", recipe="full"))
    project.makepyfile("""
        from record_factory import make_record

        def test_one(prunebench_gate):
            prunebench_gate(make_record(run="bigger"))

        def test_seeds(prunebench_gate):
            prunebench_gate(*(make_record(seed=seed) for seed in (0, 1, 2)))
    """)
    result = run(project, "-p", "no:randomly", "--prunebench-alpha=0.04", "--prunebench-strict=yes")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["* checks passed, 4 cases*"])
    assert pytest.approx([0.01, 0.03]) == seen


def test_sessions_without_records_say_and_import_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*prunebench gate*")
    code = "import sys, prunebench.pytest_plugin; sys.exit(bool({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=HERE).returncode


def test_nothing_that_a_record_holds_is_a_line_or_command_of_its_own(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    nasty = r"\n::error::a\x1b[31m\u202e\u2028##[error]b"
    project.makepyfile(
        f"""
        from record_factory import make_record, Data, digest
        other = Data(name="{nasty}", digest=digest("other"), train_images=9, test_images=200)
        def test_worse(prunebench_gate):
            prunebench_gate(make_record(data=other, model="{nasty}"))
        def test_other_name(prunebench_gate):
            prunebench_gate(make_record(run="$(reboot)", extra_nonzeros=1, model="{nasty}"), case="{nasty}")
        """
    )
    based(project, make_record(run="$(reboot)"))
    result = run(project, "-p", "no:randomly", "-rA", "--color=no")
    result.assert_outcomes(failed=2)
    assert [] == [line for line in result.outlines if not line.isprintable() or "##[" in line]
    commands = [line for line in result.outlines if line.lstrip().startswith("::")]
    assert 2 <= len(commands)
    assert all(line.startswith(("::error title=INCOMPARABLE ", "::error title=FAIL ")) for line in commands)
    assert any("\\n::error::a\\x1b[31m" in line for line in result.outlines)


def test_records_that_cannot_be_kept_are_one_line_before_the_first_test(project: pytest.Pytester) -> None:
    """As in a checkout that is read-only; root may write anywhere else."""
    (project.path / ".prunebench").write_text("a file where the folder should be")
    result = run(project)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    (line,) = [line for line in result.errlines if line.startswith("ERROR")]
    assert "cannot write" in line
    assert "--prunebench-records" in line
    assert pytest.ExitCode.OK == run(project, "-k", "nothing").ret
    assert pytest.ExitCode.OK == run(project, "--collect-only").ret


PLOTTED = """
from gate.scan_documents import make_scan
from record_factory import make_record

def test_runs(prunebench_gate):
    prunebench_gate(make_record(histograms=True), make_record(run="a b", finetuning=None))

def test_scan(prunebench_gate):
    prunebench_gate(make_scan())
"""

PLOTS = [
    "digits/a%20b-quick-oneshot-parameters.svg",
    "digits/scan-vgg-10000-sensitivity.svg",
    "digits/tiny-quick-epochs.svg",
    "digits/tiny-quick-parameters.svg",
    "digits/tiny-quick-weights.svg",
    "frontier.svg",
]


@pytest.mark.parametrize("options", [["--save-plots", "pictures"], ["--save-plots=pictures", "-n2"], []])
def test_plots_of_what_was_handed_over_are_saved_once(options: list[str], project: pytest.Pytester) -> None:
    project.makepyfile(PLOTTED)
    if not options:
        project.makeini("[pytest]\nprunebench_plots = pictures")
    result = run(project, "-p", "no:randomly", *options)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["plots: pictures"])
    folder = project.path / "pictures"
    assert PLOTS == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    for path in folder.rglob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize("options", [[], ["-n2"]])
def test_a_folder_for_plots_that_cannot_be_written_is_one_error_before_the_tests(
    options: list[str], project: pytest.Pytester
) -> None:
    (project.path / "taken").write_text("")
    result = run(project, "--save-plots", "taken", *options)
    assert pytest.ExitCode.USAGE_ERROR == result.ret
    errors = [line for line in result.outlines + result.errlines if line.startswith("ERROR")]
    assert 1 == len(errors), errors
    assert "taken" in errors[0]
    assert "--save-plots" in errors[0]
    assert not (project.path / ".prunebench").exists()


def test_a_plot_that_cannot_be_drawn_is_a_note_and_the_others_are_there(project: pytest.Pytester) -> None:
    project.makepyfile(
        "from record_factory import make_record\n"
        "def test_series(prunebench_gate):\n"
        "    prunebench_gate(*(make_record(workload=f'w{number}') for number in range(5)))"
    )
    result = run(project, "--save-plots", "pictures")
    result.stdout.fnmatch_lines(["no plot frontier: cannot tell 5 series apart*"])
    assert 10 == len(list((project.path / "pictures").rglob("*.svg")))
    assert 0 == result.ret
