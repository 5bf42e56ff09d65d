"""Mutation testing by a random sample: how many planted changes of the code some test notices.

    nox -s mutation -- --sample 40

mutmut writes the mutants: each is one change of one function. Of each package a sample is drawn, and each of it is
tried with the package's tests, those first whose file is named like the module, in a process forked after torch was
imported. Verdicts are kept in mutants/: a run that was stopped goes on, a larger sample holds a smaller one, and a
mutant whose function changed is tried again. After a change of tests, --again tries the survivors once more.

A mutant is killed when a test fails, or takes more than `SECONDS` of a processor. Not planted: changes outside of
functions, and what only an import would notice. Intervals are Wilson's (95 %).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from scipy.stats import binomtest
from tabulate import tabulate

FOLDER = Path("mutants").absolute()
TESTS: Mapping[str, Sequence[str]] = {
    "gate": ["tests/gate", "tests/test_floors.py", "tests/export/test_export.py"],
    "measure": ["tests/measure", "tests/records/test_histograms.py"],
    "pruning": ["tests/pruning"],
    "tasks": ["tests/test_evaluation.py", "tests/models/test_digests.py"],
}
FAST = "not (plugin or damaged or ieee or compiler or every_process or command or extra or onnx)"
"""Without tests that start processes, and the slowest."""
SECONDS = 300
KILLED, TIMEOUT, SURVIVED = "killed", "timeout", "survived"


def main() -> None:
    """Draw, try what was not tried, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=40, help="mutants of each package")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--children", type=int, default=2, help="mutants tried at a time; 0 prints what is known")
    parser.add_argument("--again", action="store_true", help="try survivors once more")
    options = parser.parse_args()
    if options.children:
        _generate(options.children)
    known = _verdicts()
    drawn: dict[str, list[str]] = {}
    for package in TESTS:  # a larger sample of the same seed holds a smaller one
        names = sorted(name for name in known if name.split(".")[1] == package)
        drawn[package] = random.Random(f"{options.seed} {package}").sample(names, len(names))[: options.sample]
    chosen = [name for names in drawn.values() for name in names]
    if options.children:
        due = {None, SURVIVED} if options.again else {None}
        _try([name for name in chosen if known[name] in due], options.children)
        known = _verdicts()
    rows = [_row(package, found) for package in drawn if any(found := [known[name] for name in drawn[package]])]
    heads = ["package", "tried", KILLED, TIMEOUT, SURVIVED, "score, %", "95 % interval"]
    print(tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True))
    print(*(f"mutmut show {name}" for name in chosen if known[name] == SURVIVED), sep="\n")


def _generate(children: int) -> None:
    from mutmut.__main__ import create_mutants  # noqa: PLC0415 - not needed for what is known
    from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir  # noqa: PLC0415

    FOLDER.mkdir(exist_ok=True)
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(children)


def _verdicts() -> Mapping[str, str | None]:
    """By mutant; None where it was not tried."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.rglob("*.meta")]
    codes = {name: code for content in contents for name, code in content["exit_code_by_key"].items()}
    words = {None: None, 0: SURVIVED, -signal.SIGXCPU: TIMEOUT, -signal.SIGALRM: TIMEOUT}
    words[-signal.SIGKILL] = None  # by the system, for want of memory
    return {name: words.get(code, KILLED) for name, code in codes.items()}


def _row(package: str, found: Sequence[str | None]) -> list[object]:
    counts = [found.count(verdict) for verdict in (KILLED, TIMEOUT, SURVIVED)]
    noticed, tried = counts[0] + counts[1], sum(counts)
    low, high = (100 * each for each in binomtest(noticed, tried).proportion_ci(0.95, method="wilson"))
    return [package, tried, *counts, f"{100 * noticed / tried:.0f}", f"{low:.0f} to {high:.0f}"]


def _try(names: list[str], children: int) -> None:
    os.chdir(FOLDER)
    os.environ |= {"PYTHONPATH": str(FOLDER), "MUTANT_UNDER_TEST": ""}
    sys.path.insert(0, str(FOLDER))
    used = {path for name in names for path in TESTS[name.split(".")[1]]}
    if used and pytest.main(["--collect-only", "-qqq", "-p", "no:randomly", *sorted(used)]):
        raise SystemExit("the tests cannot be collected in mutants/")
    running: dict[int, str] = {}
    while names or running:
        while names and len(running) < children:
            name = names.pop()
            running[_forked(name)] = name
        process, status = os.wait()
        name, code = running.pop(process), os.waitstatus_to_exitcode(status)
        meta = FOLDER / (name.rpartition(".")[0].replace(".", "/") + ".py.meta")
        content = json.loads(meta.read_text(encoding="utf-8"))
        content["exit_code_by_key"][name] = code
        meta.write_text(json.dumps(content), encoding="utf-8")
        print(f"{len(names)} to go: {name} ended with {code}", flush=True)


def _forked(name: str) -> int:
    if process := os.fork():
        return process
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(6 * SECONDS)  # one that waits forever uses no processor
    os.environ["MUTANT_UNDER_TEST"] = name
    _, package, *parts = name.split(".")[:-1]
    files = [str(file) for path in map(Path, TESTS[package]) for file in sorted(path.rglob("test_*.py")) or [path]]
    files.sort(key=lambda file: not any(part.rstrip("s") in file for part in parts))
    os._exit(pytest.main(["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-k", FAST, *files]))


if __name__ == "__main__":
    main()
