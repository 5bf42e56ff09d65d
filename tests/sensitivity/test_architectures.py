"""The study of architectures says of two small ones what it should, and leaves out those it knows."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "benchmarks/studies/architectures.py"


def test_two_architectures_are_equal_to_plain_code_and_known_ones_are_left_out(tmp_path: Path) -> None:
    models, rows = runpy.run_path(str(STUDY))["MODELS"], tmp_path / "rows"
    known = [name for name in models if name not in {"lstm", "perceptron"}]
    rows.write_text("".join(json.dumps({"model": name, "images": 20, "scan": False}) + "\n" for name in known))
    found = subprocess.run(
        [sys.executable, STUDY, "--images", "20", "--keep", rows],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    made = [json.loads(line) for line in rows.read_text().splitlines()][len(known) :]
    assert {"lstm", "perceptron"} == {row["model"] for row in made}
    assert all(row["prune"] and row["MACs"] and row["scan"] and row["changed %"] > 5 for row in made)
    assert ["suffix", "suffix"] == [row["way"] for row in made]
    lines = {line.split("|")[1].strip(): line for line in found.stdout.splitlines()}
    assert list(models) == list(lines)[2:]
    assert "ratio" in lines["model"]
    assert "DIFFERS" in lines["gru"]
    assert 3 == lines["lstm"].count(" equal ")
