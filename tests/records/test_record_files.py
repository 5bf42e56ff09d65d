"""Record files: whole, sorted, recognised when edited, never overwritten."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from record_factory import make_record, make_signature

from prunebench.baselines.collected import collect
from prunebench.data import Augmentation
from prunebench.errors import RecordError
from prunebench.gate.comparability import training_differences
from prunebench.records import FineTuning, failures_kept, keep_record, read_record, write_record
from prunebench.storage.documents import render
from prunebench.training import Recipe


def test_what_was_written_is_read(tmp_path: Path) -> None:
    record = make_record()
    write_record(record, tmp_path / "a.json")
    assert record == read_record(tmp_path / "a.json")


def test_a_recipes_settings_are_equal_in_memory_and_in_the_file(tmp_path: Path) -> None:
    """Else every run would differ from its baseline, for a tuple is read as a list."""
    tuned = make_record().finetuning
    assert tuned is not None
    settings = asdict(Recipe(epochs=2, batch_size=8, learning_rate=0.1, augmentation=Augmentation()))
    done = make_signature(steps=250, optimizer={})
    record = make_record(finetuning=FineTuning(**{**dict(tuned), "settings": settings, "signature": done}))
    write_record(record, tmp_path / "a.json")
    assert [] == training_differences(read_record(tmp_path / "a.json"), record)


def test_keys_are_sorted_and_lines_are_short(tmp_path: Path) -> None:
    record = make_record()
    losses = [0.1 + index / 7 for index in range(200)]
    signature = make_signature(learning_rates=losses)
    long = {"losses": losses, "selection_accuracies": [96.0] * 199 + [97.0], "best_epoch": 200, "signature": signature}
    write_record(
        record.model_copy(update={"finetuning": record.finetuning.model_copy(update=long)}),
        tmp_path / "a.json",
    )
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(json.loads(text), sort_keys=True))
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert max(len(line) for line in text.splitlines()) <= 120
    assert losses == read_record(tmp_path / "a.json").finetuning.losses
    assert '"shape": [4, 3, 3, 3]' in text


def test_spaces_and_the_order_of_keys_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_record(make_record(), path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert make_record() == read_record(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "expected a JSON object, got a list"),
        ("{}", "schema_version must be a whole number"),
        ('{"schema_version": true}', "schema_version must be a whole number"),
        ('{"schema_version": 1}', "no digest"),
        ('{"schema_version": 99}', "reads up to 1: upgrade"),
        ('{"schema_version": 1, "schema_version": 1}', "the same key twice"),
        ('{"schema_version": 1, "seed": NaN}', "NaN is not a number"),
        ('{"schema_version": 1, "seed": 1e999, "digest": "0"}', "damaged"),
        ("[" * 100_000, "not JSON"),
        ('{"schema_version": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_record(make_record(), path)
    path.write_text(path.read_text().replace('"correct": 190', '"correct": 191'))
    with pytest.raises(RecordError, match="was edited or damaged"):
        read_record(path)


def test_an_older_version_is_no_longer_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(render({**make_record().model_dump(mode="json"), "schema_version": 0}))
    with pytest.raises(RecordError, match="schema version 0, which this prunebench no longer reads"):
        read_record(path)


def test_records_of_the_same_instant_are_all_kept(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    paths = {keep_record(make_record(wrong=wrong), tmp_path, now=now) for wrong in range(5)}
    assert list(range(196, 201)) == sorted(read_record(path).pruned_accuracy.correct for path in paths)
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}


def test_a_run_of_any_name_is_kept(tmp_path: Path) -> None:
    record = make_record(run="../my run: ä|%\n")
    assert record == read_record(keep_record(record, tmp_path / "records"))
    assert [] == [path for path in tmp_path.iterdir() if path.name != "records"]


def test_a_failed_run_is_kept_and_hides_the_older_success(tmp_path: Path) -> None:
    keep_record(make_record(), tmp_path)
    with pytest.raises(ZeroDivisionError), failures_kept("digits/tiny-quick", tmp_path):
        _ = 1 / 0
    found = collect(tmp_path)
    assert {} == found.records
    assert "its newest run failed: ZeroDivisionError" in found.unusable["digits/tiny-quick"]
    failed = next(path for path in tmp_path.iterdir() if path.name.endswith("-failed.json"))
    with pytest.raises(RecordError, match="is of a run that failed: ZeroDivisionError"):
        read_record(failed)


def test_a_success_after_a_failure_counts(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), failures_kept("digits/tiny-quick", tmp_path):
        _ = 1 / 0
    record = make_record(created=datetime.now(UTC).isoformat())
    keep_record(record, tmp_path)
    assert {"digits/tiny-quick": record} == collect(tmp_path).records


def test_of_several_records_the_newest_counts(tmp_path: Path) -> None:
    newer = make_record(created="2026-03-01T00:00:00+00:00")
    write_record(newer, tmp_path / "a.json")
    write_record(make_record(created="2026-02-01T00:00:00+00:00"), tmp_path / "b.json")
    assert {"digits/tiny-quick": newer} == collect(tmp_path).records
