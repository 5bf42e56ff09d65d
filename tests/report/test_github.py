"""The action's one comment: made once, edited after that, and never somebody else's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

ACTION = Path(__file__).parents[2] / ".github" / "actions" / "gate" / "action.yml"
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


def comment_step() -> str:
    text = ACTION.read_text(encoding="utf-8")
    found = re.search(r"- name: Comment\n.*?run: \|\n(.*?)\n    - name:", text, re.DOTALL)
    assert found
    return textwrap.dedent(found[1])


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
