"""`prunebench pack`, `unpack` and `sizes` as a user meets them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from packing.packing_states import bits_of, filled, mixed_state
from record_factory import make_baseline, make_record

from prunebench.baselines.shelf import write_baseline
from prunebench.cli import main
from prunebench.models import save_state
from prunebench.packing import unpack
from prunebench.records import write_record


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_clear_line(result: Result, *parts: str) -> None:
    assert (2, 1) == (result.exit_code, len(result.stderr.splitlines())), result.output
    assert all(part in result.stderr for part in ("error: ", *parts)), result.stderr


@pytest.fixture
def state(tmp_path: Path) -> dict[str, torch.Tensor]:
    """Written as state.safetensors, with metadata."""
    state = mixed_state()
    save_state(state, tmp_path / "state.safetensors", metadata={"workload": "digits"})
    return state


def test_a_safetensors_file_comes_back_byte_for_byte(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    packed = call("pack", tmp_path / "state.safetensors", "-o", tmp_path / "state.pbz")
    assert 0 == packed.exit_code, packed.output
    assert "Packed: " in packed.output
    done = call("unpack", tmp_path / "state.pbz", "-o", tmp_path / "back.safetensors")
    assert 0 == done.exit_code, done.output
    assert f"{len(state)} tensors, weights " in done.output
    assert (tmp_path / "state.safetensors").read_bytes() == (tmp_path / "back.safetensors").read_bytes()
    call("pack", tmp_path / "state.safetensors", "-o", tmp_path / "again.pbz")
    assert (tmp_path / "state.pbz").read_bytes() == (tmp_path / "again.pbz").read_bytes()
    assert (tmp_path / "state.pbz").stat().st_size < (tmp_path / "state.safetensors").stat().st_size


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pytorch_file_comes_back_as_save_state_writes_it(wrapped: bool, tmp_path: Path) -> None:
    state = mixed_state() | {"turns": filled("complex64", (5, 4), density=0.5)}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "net.pth")
    save_state(state, tmp_path / "expected.safetensors")
    assert 0 == call("pack", tmp_path / "net.pth", "-o", tmp_path / "net.pbz").exit_code
    assert 0 == call("unpack", tmp_path / "net.pbz", "-o", tmp_path / "back.safetensors").exit_code
    assert (tmp_path / "expected.safetensors").read_bytes() == (tmp_path / "back.safetensors").read_bytes()


def test_a_type_that_safetensors_has_not_stays_packed(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3, dtype=torch.complex128)}, tmp_path / "net.pth")
    assert 0 == call("pack", tmp_path / "net.pth", "-o", tmp_path / "net.pbz").exit_code
    result = call("unpack", tmp_path / "net.pbz", "-o", tmp_path / "back.safetensors")
    assert_one_clear_line(result, "safetensors has no type for torch.complex128")
    assert bits_of(torch.ones(3, dtype=torch.complex128)) == bits_of(unpack(tmp_path / "net.pbz")["a"])


def test_a_damaged_file_leaves_the_output_as_it_was(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    call("pack", tmp_path / "state.safetensors", "-o", tmp_path / "state.pbz")
    data = bytearray((tmp_path / "state.pbz").read_bytes())
    data[-50] ^= 1
    (tmp_path / "state.pbz").write_bytes(data)
    (tmp_path / "back.safetensors").write_text("kept")
    result = call("unpack", tmp_path / "state.pbz", "-o", tmp_path / "back.safetensors")
    assert_one_clear_line(result, "state.pbz", "damaged")
    assert "kept" == (tmp_path / "back.safetensors").read_text()


@pytest.mark.parametrize("command", ["pack", "unpack"])
def test_what_is_read_is_never_overwritten(command: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    assert_one_clear_line(call(command, path, "-o", path), "--output would overwrite")
    assert_one_clear_line(call(command, tmp_path / "absent", "-o", tmp_path / "out"), "absent")


def test_sizes_stand_side_by_side(tmp_path: Path) -> None:
    sparse = filled("float32", (300, 300), density=0.1)
    save_state({"a": sparse}, tmp_path / "sparse.safetensors")
    dense = (tmp_path / "sparse.safetensors").stat().st_size
    coo = dense - 4 * 90_000 + (4 + 2 * 4) * int(sparse.count_nonzero())
    write_record(make_record(), tmp_path / "record.json")
    result = call("sizes", tmp_path / "sparse.safetensors", tmp_path / "record.json")
    assert 0 == result.exit_code, result.output
    rows = {line[:24].strip(): line[24:].split() for line in result.output.splitlines()}
    assert ["33.3", f"{coo / 2**20:.3f}", f"{100 * coo / dense:.2f}"] == rows["COO"][:3]
    assert ["-", "-"] == rows["packed"][3:]
    assert rows["COO"][3:] != ["-", "-"]


def test_sizes_of_a_record_are_those_of_its_baseline_and_need_no_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    write_record(make_record(), tmp_path / "record.json")
    baseline = write_baseline(make_baseline(make_record()), tmp_path / "baselines")
    first, other = (call("sizes", path).output.splitlines()[-6:] for path in (tmp_path / "record.json", baseline))
    assert "entropy bound" in first[-1]
    assert [line.split() for line in first] == [line.split() for line in other]


def test_sizes_of_what_has_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.json").write_text("{}")
    assert_one_clear_line(call("sizes", tmp_path / "scan.json"), "scan.json")
    assert_one_clear_line(call("sizes", tmp_path / "absent.pth"), "absent.pth")


@pytest.mark.parametrize("package", ["zstandard", "constriction"])
@pytest.mark.parametrize("command", ["pack", "sizes"])
def test_without_the_extra_the_command_names_it(
    command: str, package: str, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    output = ["-o", tmp_path / "out.pbz"] if command == "pack" else []
    result = call(command, tmp_path / "state.safetensors", *output)
    assert_one_clear_line(result, f"needs {package}: pip install 'prunebench[pack]'")
    assert not (tmp_path / "out.pbz").exists()


def test_without_the_extra_every_module_can_be_imported_and_other_commands_work() -> None:
    script = (
        "import sys; sys.modules['zstandard'] = sys.modules['constriction'] = None\n"
        "import importlib, pkgutil, prunebench\n"
        "for module in pkgutil.walk_packages(prunebench.__path__, 'prunebench.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "from prunebench.cli import main; main(['lint'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
