"""From a run by channel to a smaller file that every command takes, on a small model of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_project import DATA, invoke

from prunebench.errors import WorkloadError
from prunebench.gate import Status, check_record
from prunebench.models import read_metadata
from prunebench.models.channels import METADATA
from prunebench.records import case_id, family, in_families, read_record
from prunebench.workloads import read_configuration

pytestmark = pytest.mark.usefixtures("one_thread", "own_cache")

NET = """
from torch import nn

def build(width=8):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )
"""
TOML = """
[workload.mine]
model = "shrink_net:build"
data = "small_data:load"
keep_dense = "6.weight"
[workload.mine.recipe.dense]
epochs = 2
learning_rate = 0.1
[workload.mine.recipe.ci]
epochs = 1
learning_rate = 0.01
[run.half]
workload = "mine"
granularity = "channel"
sparsity = 0.5
[run.some]
workload = "mine"
sparsity = 0.5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shrink_net.py").write_text(NET)
    (tmp_path / "small_data.py").write_text(DATA)
    (tmp_path / "prunebench.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_by_channel_is_shrunk_and_every_command_takes_the_file(folder: Path) -> None:
    printed = invoke("run", "half", "--save", "masked.safetensors", "--json", "half.json").output
    assert "half of granularity channel on mine ci" in printed
    record = read_record("half.json")
    assert ("channel", "mine/half-ci~channel") == (record.method.granularity, case_id(record))
    assert {"0.weight": 36, "3.weight": 288, "0.bias": 0}.items() <= (record.nonzeros | {"0.bias": 0}).items()
    assert {"1.weight": 4, "1.bias": 4, "3.bias": 4}.items() <= record.nonzeros.items()
    assert Status.FAIL not in {verdict.status for verdict in check_record(record)}

    printed = invoke("shrink", "masked.safetensors", "-o", "small.safetensors").output
    assert "0 differ" in printed
    assert METADATA in read_metadata(Path("small.safetensors"))
    assert Path("small.safetensors").stat().st_size < 0.6 * Path("masked.safetensors").stat().st_size

    assert "4x4x3x3" in invoke("check", "--checkpoint", "small.safetensors").output
    assert "shrunk by 12 channels" in invoke("scan", "--checkpoint", "small.safetensors", "--json", "scan.json").output
    invoke("run", "half", "--checkpoint", "small.safetensors", "--save", "again.safetensors", "--json", "again.json")
    assert [2, 4, 3, 3] == [2, *read_record("again.json").layers[1].shape[1:]]
    invoke("shrink", "again.safetensors", "-o", "smaller.safetensors")
    assert "2x2x3x3" in invoke("check", "--checkpoint", "smaller.safetensors").output


def test_a_shrunk_model_is_exported_and_timed_beside_the_masked_one(folder: Path) -> None:
    invoke("run", "half", "--no-finetune", "--save", "masked.safetensors", "--json", "half.json")
    invoke("shrink", "masked.safetensors", "-o", "small.safetensors")
    for file in ("small.onnx", "copy.safetensors"):
        assert "200 of 200 predictions equal" in invoke("export", "small.safetensors", "-o", file).output
    assert "4x4x3x3" in invoke("check", "--checkpoint", "copy.safetensors").output
    timed = ("--batch", "2", "--threads", "1", "--launches", "8")
    printed = invoke("latency", "masked.safetensors", "small.safetensors", *timed).output
    assert [True, True] == [f"{side}.safetensors" in printed for side in ("A: masked", "B: small")]


def test_granularity_on_the_command_line_makes_another_case(folder: Path) -> None:
    invoke("run", "some", "--no-finetune", "--json", "element.json")
    invoke("run", "some", "--no-finetune", "--granularity", "channel", "--json", "channel.json")
    element, channel = read_record("element.json"), read_record("channel.json")
    assert ["mine/some-ci-oneshot", "mine/some-ci~channel-oneshot"] == [case_id(element), case_id(channel)]
    assert element.run_digest != channel.run_digest
    assert [case_id(channel)] == in_families([case_id(channel)], [family(element)])
    assert "unknown granularity 'chanel'" in invoke("run", "some", "--granularity", "chanel", code=2).output


def test_an_unknown_granularity_in_a_file_is_named(folder: Path) -> None:
    path = folder / "prunebench.toml"
    path.write_text(TOML.replace('"channel"', '"chanel"'))
    with pytest.raises(WorkloadError, match=r"run 'half': unknown granularity 'chanel'.*did you mean 'channel'"):
        read_configuration(path)


def test_a_shrunk_file_of_another_model_is_refused_in_a_line(folder: Path) -> None:
    invoke("run", "half", "--no-finetune", "--save", "masked.safetensors", "--json", "half.json")
    invoke("shrink", "masked.safetensors", "-o", "small.safetensors", "--test-images", "50")
    (folder / "prunebench.toml").write_text(TOML.replace("[workload.mine.recipe.dense]",
        "[workload.mine.model_arguments]\nwidth = 12\n[workload.mine.recipe.dense]"))  # fmt: skip
    output = invoke("shrink", "small.safetensors", "-o", "other.safetensors", code=2).output
    assert "'small.safetensors' is a shrunk model of another architecture: '3' has 12 in channels, expected 8" in output
    assert not Path("other.safetensors").exists()


def test_a_damaged_record_granularity_is_refused(folder: Path) -> None:
    invoke("run", "half", "--no-finetune", "--json", "half.json")
    content = json.loads(Path("half.json").read_text())
    assert "channel" == content["method"]["granularity"]
    content["method"]["granularity"] = "element"
    Path("half.json").write_text(json.dumps(content))
    assert "edited" in invoke("compare", "half.json", "half.json", code=2).output
