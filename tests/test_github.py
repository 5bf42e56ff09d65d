"""What runs on GitHub: whole YAML, nothing typed by others in a command, few rights; and the action's one comment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
ACTION = ".github/actions/gate/action.yml"
CALLED = ".github/workflows/project-gate.yml"
CALLING = "docs/templates/prunebench.yml"
SESSIONS = ".github/workflows/sessions.yml"
WORKFLOWS = (".github/workflows/gate.yml", SESSIONS, CALLED, CALLING, "docs/templates/approve.yml")
GH = """#!/usr/bin/env python3
import json, pathlib, sys
store = pathlib.Path("comments.json")
comments = json.loads(store.read_text())
arguments = sys.argv[2:]
if "--method" not in arguments:  # what `--jq` would answer, for the filter that the step asks with
    mark, bot = "<!-- prunebench report -->", "github-actions[bot]"
    assert f'startswith("{mark}")' in arguments[-1] and bot in arguments[-1]
    print("\\n".join(str(c["id"]) for c in comments if c["user"] == bot and c["body"].startswith(mark)))
    sys.exit()
method, path = arguments[1:3]
body = pathlib.Path(next(a for a in arguments if a.startswith("body=@")).removeprefix("body=@")).read_text()
if method == "POST":
    comments.append({"id": len(comments) + 1, "user": "github-actions[bot]", "body": body})
else:
    next(c for c in comments if c["id"] == int(path.rsplit("/")[-1]))["body"] = body
store.write_text(json.dumps(comments))
"""


def read(path: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def parts(path: str) -> Iterator[dict[str, Any]]:
    """The jobs that call a workflow, and all steps."""
    document = read(path)
    for job in document.get("jobs", {"": document.get("runs")}).values():
        yield from job.get("steps", [job])


def comment_step() -> str:
    (found,) = (step["run"] for step in parts(ACTION) if step["name"] == "Comment")
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS])
def test_commands_are_bash_that_takes_what_others_typed_from_the_environment(path: str) -> None:
    commands = [part["run"] for part in parts(path) if "run" in part]
    assert "${{" not in "".join(commands)
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    assert commands or any("uses" in part for part in parts(path))


@pytest.mark.parametrize("path", [ACTION, *WORKFLOWS])
def test_what_is_used_is_ours_of_this_release_or_a_major_version(path: str) -> None:
    for used in (part["uses"] for part in parts(path) if "uses" in part):
        assert re.fullmatch(rf"\./.*|actions/[a-z-]+@v\d+|OWNER/prunebench/.*@v{VERSION}", used)


@pytest.mark.parametrize("path", WORKFLOWS)
def test_a_workflow_has_the_rights_that_it_needs_and_no_others(path: str) -> None:
    approving = path.endswith("approve.yml")
    expected = {"contents": "write" if approving else "read"}
    expected |= {"actions": "read"} if approving else {} if path == SESSIONS else {"pull-requests": "write"}
    assert expected == read(path)["permissions"]
    for checkout in (part for part in parts(path) if part.get("uses", "").startswith("actions/checkout@")):
        assert approving == checkout.get("with", {}).get("persist-credentials", True), "for code of a pull request too"


@pytest.mark.parametrize(("caller", "callee"), [(CALLING, CALLED), (CALLED, ACTION), (WORKFLOWS[0], ACTION)])
def test_a_caller_gives_the_inputs_that_are_required_and_no_others(caller: str, callee: str) -> None:
    document = read(callee)
    inputs = (
        document["inputs"] if callee == ACTION else document[True]["workflow_call"]["inputs"]
    )  # `on` is YAML for true
    where = str(Path(callee).parent if callee == ACTION else callee)
    (given,) = (part["with"] for part in parts(caller) if where in part.get("uses", ""))
    assert {name for name, each in inputs.items() if each.get("required")} <= set(given) <= set(inputs)


@pytest.mark.parametrize("path", [".ci/run", SESSIONS])
def test_what_checks_a_change_calls_sessions_that_exist(path: str) -> None:
    if path == SESSIONS:
        called = {name for job in read(path)["jobs"].values() for name in job["strategy"]["matrix"]["session"]}
    else:
        called = set(re.findall(r"^ +session ([a-z_ ]+\b)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE))
    sessions = re.findall(r"^def ([a-z]\w+)\(", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"lint", "types", "tests", "docs"} <= {name for each in called for name in each.split()} <= set(sessions)


def test_hooks_of_the_template_exist() -> None:
    hooks = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
    (repository,) = read("docs/templates/pre-commit-config.yaml")["repos"]
    assert hooks == {hook["id"] for hook in repository["hooks"]}
    assert f"v{VERSION}" == repository["rev"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_one_comment_is_made_and_then_edited(tmp_path: Path) -> None:
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    others = [{"id": 1, "user": "somebody", "body": "<!-- prunebench report -->\nnot ours"}]
    (tmp_path / "comments.json").write_text(json.dumps(others))
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_REPOSITORY": "a/b", "PR": "7"}
    for text in ("first", "second"):
        (tmp_path / "report.md").write_text(f"<!-- prunebench report -->\n{text}")
        subprocess.run(["bash", "-e", "-c", comment_step()], cwd=tmp_path, env=environment, check=True)
    theirs, ours = json.loads((tmp_path / "comments.json").read_text())
    assert others[0] == theirs
    assert "<!-- prunebench report -->\nsecond" == ours["body"]


def test_nothing_is_said_where_there_is_no_report(tmp_path: Path) -> None:
    subprocess.run(["bash", "-e", "-c", comment_step()], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=True)
