"""The study of architectures says of two small ones what it should, and leaves out those it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_architectures_are_equal_to_plain_code(tmp_path: Path) -> None:
    known = {"model": "gru", "images": 20, "scan": False}
    (tmp_path / "rows").write_text(json.dumps(known) + "\n")
    command = [sys.executable, ROOT / "benchmarks/studies/architectures.py", "lstm", "gru", "perceptron"]
    found = subprocess.run(
        [*command, "--images", "20", "--keep", tmp_path / "rows"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert ["gru", "lstm", "perceptron"] == [row["model"] for row in rows]
    assert all(row["prune"] and row["MACs"] and row["scan"] and row["changed %"] > 5 for row in rows[1:])
    assert ["suffix", "suffix"] == [row["way"] for row in rows[1:]]
    header, _, lstm, gru, perceptron = found.stdout.splitlines()
    assert "ratio" in header
    assert ("lstm", "gru", "perceptron") == tuple(line.split("|")[1].strip() for line in (lstm, gru, perceptron))
    assert "DIFFERS" in gru
    assert lstm.count(" equal ") == perceptron.count(" equal ") == 3
