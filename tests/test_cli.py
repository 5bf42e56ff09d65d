"""The command line as a user meets it: what it prints, its exit codes, and one clear line for every bad input."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from prunebench.cli import main
from prunebench.data import CIFAR10_CLASSES
from prunebench.gate import Status, compare_records
from prunebench.gate.paired import correctness
from prunebench.measure import count_macs
from prunebench.models import build_model
from prunebench.records import read_record


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_one_clear_line(result: Result, *parts: str) -> None:
    lines = result.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert 2 == result.exit_code, result.output
    assert [lines[-1]] == errors, result.output
    for part in parts:
        assert part in errors[0]


# What a person reads


@pytest.mark.parametrize("arguments", [["--help"], ["runs"], ["run", "--help"], ["--version"]])
def test_help_and_runs_do_not_import_torch(arguments: list[str]) -> None:
    script = (
        "import sys; from prunebench.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'torch', 'pydantic', 'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_runs_shows_every_run_and_marks_what_is_not_documented() -> None:
    result = call("runs")
    assert 0 == result.exit_code
    epochs = next(line.split() for line in result.output.splitlines() if line.startswith("epochs"))
    assert ["epochs", "5", "5", "5", "-", "9"] == epochs


def test_lint_agrees_with_the_document_and_reports_its_slip() -> None:
    result = call("lint")
    assert 0 == result.exit_code
    assert "62 claims: 0 differ; known slips of the document: 1." in result.output
    assert "documented 2.13, computed 2.23" in result.output


def test_lint_exits_with_1_where_a_table_of_a_user_is_wrong(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml", claims="size_percent = 45.04")
    result = call("lint", table)
    assert 1 == result.exit_code
    assert "differs: mine: size, % of dense: documented 45.04, computed 45.0337" in result.output


def test_run_prints_the_tables_and_writes_the_record(untrained_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "record.json"
    arguments = ("--workload", "digits", "--checkpoint", untrained_checkpoint, "--no-finetune", "--json", output)
    result = call("run", "run3", *arguments, "--test-images", 50)
    assert 0 == result.exit_code, result.output
    assert "12 of 12 checks passed" in result.output
    record = read_record(output)
    assert ("run3", 2_710_807, 50) == (record.run, sum(record.nonzeros.values()), record.pruned_accuracy.images)
    conv7 = next(line.split() for line in result.output.splitlines() if line.startswith("conv7"))
    assert ["conv7", "0.90", "2,359,296", "235,930", "2,123,366", "9.4"] == conv7


def test_run_on_fewer_test_images_is_a_record_of_other_data(untrained_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("run", "run3", "--workload", "digits", "--checkpoint", untrained_checkpoint, "--no-finetune")
    records = []
    for option in ((), ("--test-images", 50), ("--test-images", 100)):
        result = call(*arguments, *option, "--json", tmp_path / "record.json")
        assert result.exit_code in {0, 1}, result.output
        records.append(read_record(tmp_path / "record.json"))
    whole, some, more = records
    assert "digits, 50 of 600 test images" == some.data.name
    assert [600, 50, 100] == [record.data.test_images for record in records]
    assert 3 == len({record.data.digest for record in records})
    assert whole.checkpoints == some.checkpoints
    right = [correctness(record.pruned_accuracy) for record in (some, more)]
    assert right[0].tolist() == right[1][:50].tolist()
    verdicts = compare_records({"c": whole}, {"c": some})
    assert {Status.INCOMPARABLE} == {verdict.status for verdict in verdicts}


def test_run_takes_a_table_of_a_user(untrained_checkpoint: Path, tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml")
    output = tmp_path / "record.json"
    asked = ("--checkpoint", untrained_checkpoint, "--test-images", 50, "--no-finetune", "--json", output)
    result = call("run", table, *asked)
    assert 0 == result.exit_code, result.output
    assert ("mine", 4_155_875) == (json.loads(output.read_text())["run"], sum(read_record(output).nonzeros.values()))


def test_data_shows_digests_of_the_digits() -> None:
    result = call("data", "--workload", "digits", "--verify")
    assert 0 == result.exit_code
    assert "1,197 training, 600 test, 3x16x16" in result.output
    assert "nothing to verify" in result.output


GROUPS = {"": main, **{name: command for name, command in main.commands.items() if isinstance(command, click.Group)}}


@pytest.mark.parametrize("name", GROUPS)
def test_every_command_says_in_a_line_of_80_columns_what_it_does(name: str) -> None:
    shown = CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=80, prog_name="prunebench").output
    commands = shown.partition("Commands:\n")[2].splitlines()
    assert {*GROUPS[name].commands} == {line.split()[0] for line in commands}
    assert [] == [line for line in commands if "..." in line or len(line) > 80]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["run", "run9"], ["unknown run 'run9'", "run1, run2"]),
        (["run", "run1", "--workload", "imagenet"], ["unknown workload 'imagenet'", "cifar10, cifar10-resnet20"]),
        (["run", "run1", "--recipe", "huge"], ["unknown recipe 'huge'", "full, quick"]),
        (["run", "run1", "--device", "tpu"], ["unknown device 'tpu'", "cpu"]),
        (["run", "absent.toml"], ["absent.toml", "No such file"]),
        (["lint", "run9"], ["unknown run 'run9'"]),
        (["train", "--workload", "imagenet"], ["unknown workload 'imagenet'"]),
        (["train", "--epochs", "1"], ["name its file with --output"]),
        (["train", "--precision", "bf16"], ["name its file with --output"]),
        (["train", "--output", "."], ["cannot write '.'", "it is a folder"]),
        (["run", "run1", "--save", "."], ["cannot write '.'", "it is a folder"]),
        (["run", "run1", "--json", "/proc/none/r.json"], ["cannot write '/proc/none/r.json'"]),
        (["run", "run1", "--seed", "18446744073709551616"], ["--seed", "9223372036854775807"]),
        (["run", "caf\udce9.toml"], ["is not UTF-8", "caf"]),
        (["data", "--workload", "cifar10", "--data", "nowhere"], ["nowhere", "(1)", "(2)", "(3)"]),
        (["scan", "--sparsities", "65,70"], ["expected numbers in [0, 1], got 65,70; did you mean 0.65,0.7?"]),
        (["scan", "--sparsities", "65%"], ["got 65%; did you mean 0.65?"]),
        (["scan", "--sparsities", "0.5,1.5e9"], ["expected numbers in [0, 1], got 0.5,1.5e9"]),
        (["scan", "--confidence", "95"], ["0.5<=x<1", "did you mean 0.95?"]),
        (["scan", "--confidence", "95%"], ["--confidence", "did you mean 0.95?"]),
        (["scan", "--within", "200"], ["--within", "0<=x<=100"]),
        (["plan", "--max-drop", "200"], ["--max-drop", "0<=x<=100"]),
        (["plan", "--size", "150"], ["--size", "0<=x<=100"]),
        (["plan", "--step", "5"], ["--step", "did you mean 0.05?"]),
        (["run", "run1", "--recipe", "Quick"], ["unknown recipe 'Quick'", "did you mean 'quick'?"]),
        (["run", "run1", "--workload", "CIFAR-10"], ["did you mean 'cifar10'?"]),
        (["run", "Run1"], ["did you mean 'run1'?"]),
        (["run", "run1", "--seed", "-1"], ["--seed", "-1"]),
        (["run", "run1", "--seed", "1e3"], ["'1e3' is not a valid integer"]),
    ],
)
def test_unknown_names_and_paths_say_what_would_do(arguments: list[str], parts: list[str]) -> None:
    assert_one_clear_line(call(*arguments), *parts)


@pytest.mark.parametrize(
    ("sparsity", "parts"),
    [
        ('"backbone.conv4.weight" = 65', ["backbone.conv4.weight", "got 65; did you mean 0.65?"]),
        ('"backbone.conv4.weight" = 65.5', ["got 65.5; did you mean 0.655?"]),
        ('"backbone.conv4.weight" = "65%"', ["got '65%'; did you mean 0.65, without quotes?"]),
        ('"backbone.conv4.weight" = "0.65"', ["got '0.65'; did you mean 0.65, without quotes?"]),
        ('"backbone.conv4.weight" = "0,65"', ["got '0,65'; did you mean 0.65, without quotes?"]),
        ("backbone.conv4.weight = 0.65", ["the layer backbone.conv4.weight without quotes", "a name with dots needs"]),
        ("[sparsity.backbone.conv4]\nweight = 0.65", ["the layer backbone.conv4.weight without quotes"]),
        ('"conv4" = 0.5', ["unknown layer 'conv4'", "did you mean 'backbone.conv4.weight'?"]),
        ("conv4 = 0.5", ["did you mean 'backbone.conv4.weight'?"]),
        ('"conv4.weight" = 0.5', ["did you mean 'backbone.conv4.weight'?"]),
        ('"backbone.conv4" = 0.5', ["did you mean 'backbone.conv4.weight'?"]),
        ('"Backbone.Conv4.weight" = 0.5', ["did you mean 'backbone.conv4.weight'?"]),
        ("fc = 0.5", ["unknown layer 'fc'"]),
        ('"backbone.conv4.weight" = 1.3', ["backbone.conv4.weight", "[0, 1]", "1.3"]),
        ('"backbone.conv4.weight" = -0.1', ["backbone.conv4.weight", "[0, 1]", "-0.1"]),
        ('"backbone.conv4.weight" = nan', ["backbone.conv4.weight", "[0, 1]", "nan"]),
        ('"backbone.conv4.weight" = "much"', ["backbone.conv4.weight", "number", "much"]),
        ('"backbone.conv9.weight" = 0.5', ["unknown layer 'backbone.conv9.weight'", "backbone.conv0.weight"]),
    ],
)
def test_a_bad_sparsity_or_layer_is_named(sparsity: str, parts: list[str], tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml", replaced=sparsity)
    assert_one_clear_line(call("run", table, "--no-finetune"), *parts)


def _other_architecture(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


def _truncated(path: Path) -> None:
    torch.save(build_model("vgg").state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {_Harmful.witness}",)

    witness = ""


def _sparse(path: Path) -> None:
    torch.save({name: tensor.to_sparse() for name, tensor in build_model("vgg").state_dict().items()}, path)


def _without_values(path: Path) -> None:
    with torch.device("meta"):
        torch.save(build_model("vgg").state_dict(), path)


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (_other_architecture, "another architecture"),
        (_truncated, "damaged, truncated"),
        (_sparse, "as a torch.sparse_coo tensor: expected plain tensors"),
        (_without_values, "as a meta tensor: expected plain tensors"),
    ],
)
def test_an_unusable_checkpoint_is_named(write: Callable[[Path], None], part: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    write(path)
    assert_one_clear_line(call("run", "run1", "--checkpoint", path, "--no-finetune"), "bad.pth", part)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "harmful.pth"
    _Harmful.witness = str(tmp_path / "it-ran")
    path.write_bytes(pickle.dumps({"state_dict": _Harmful()}))
    assert_one_clear_line(
        call("run", "run1", "--checkpoint", path, "--no-finetune"),
        "harmful.pth",
        "a pickle that torch.save did not write",
    )
    assert not (tmp_path / "it-ran").exists()


def test_cifar10_without_a_checkpoint_says_the_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunebench.data import load_digits
    from prunebench.workloads import cifar10

    monkeypatch.setattr(cifar10, "load_cifar10", lambda *_, **__: load_digits())
    result = call("run", "run1", "--workload", "cifar10")
    assert_one_clear_line(result, "--checkpoint PATH", "vgg.cifar.pretrained.pth", "prunebench train")


@pytest.mark.parametrize("damage", ["truncated", "climbs out", "class missing"])
def test_a_bad_archive_is_named_and_nothing_is_left_behind(damage: str, tmp_path: Path, own_cache: Path) -> None:
    path = tmp_path / "cifar.tar.xz"
    _write_archive(path, damage)
    result = call("data", "--workload", "cifar10", "--data", path)
    expected = {"truncated": "truncated", "climbs out": "climbs out", "class missing": "test/truck"}[damage]
    assert_one_clear_line(result, "cifar.tar.xz", expected)
    assert [] == [entry for entry in own_cache.rglob("*") if entry.is_file()]
    assert not (tmp_path.parent / "escaped.jpg").exists()


def test_no_data_and_no_network_says_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")

    def no_network(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.delenv("PRUNEBENCH_DATA", raising=False)
    monkeypatch.setattr(datasets, "CIFAR10", no_network)
    result = call("data", "--workload", "cifar10")
    assert_one_clear_line(result, "could not be downloaded", "(1)", "(2)", "(3)")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file where the cache should be")
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(occupied / "cache"))
    result = call("train")
    assert_one_clear_line(result, "cannot write", "occupied", "PRUNEBENCH_CACHE")


def test_a_full_disk_is_one_line_and_leaves_no_half_file(untrained_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "record.json"
    arguments = ["run", "run1", "--no-finetune", "--test-images", "50", "--json", str(output)]
    done = subprocess.run(
        # -B: bytecode that Python cuts at the limit would break every later import of the module.
        [sys.executable, "-B", "-m", "prunebench.cli", *arguments, "--checkpoint", str(untrained_checkpoint)],
        capture_output=True,
        text=True,
        check=False,
        # where coverage is measured its data file would be what meets the limit
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512)),
    )
    assert 2 == done.returncode, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: cannot write")
    assert [untrained_checkpoint] == sorted(tmp_path.iterdir())


def test_a_record_that_cannot_be_written_is_named(untrained_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    output = tmp_path / "file" / "record.json"
    result = call("run", "run1", "--checkpoint", untrained_checkpoint, "--no-finetune", "--json", output)
    assert_one_clear_line(result, "cannot write", "record.json")


def test_a_figure_of_absurd_precision_is_named(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml", claims="size_percent = 1e-3000000")
    assert_one_clear_line(call("lint", table), "size_percent", "more than 12 decimals")


def test_every_layer_that_a_table_leaves_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[sparsity]\n"backbone.conv0.weight" = 0\n')
    assert_one_clear_line(
        call("lint", tmp_path / "mine.toml"), "'backbone.conv1.weight', ", "'classifier.weight': give"
    )


LAYERS = [*(f"backbone.conv{i}.weight" for i in range(8)), "classifier.weight"]
RUN1 = dict(zip(LAYERS, (0, 0, 0, 0, 0.30, 0.60, 0.60, 0.80, 0), strict=True))


def test_a_run_overwrites_nothing_that_it_reads(untrained_checkpoint: Path, tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml")
    for option in ("--json", "--save"):
        for path in (table, untrained_checkpoint):
            before = path.read_bytes()
            result = call("run", table, "--checkpoint", untrained_checkpoint, "--no-finetune", option, path)
            assert_one_clear_line(result, f"{option} would overwrite", path.name)
            assert before == path.read_bytes()
    assert_one_clear_line(call("run", "run3", "--json", "x", "--save", "x"), "--json and --save would both write 'x'")


def test_training_does_not_overwrite_the_data_archive(tmp_path: Path) -> None:
    archive = tmp_path / "cifar.tar.gz"
    archive.write_bytes(b"data")
    result = call("train", "--workload", "cifar10", "--data", archive, "--output", archive)
    assert_one_clear_line(result, "--output would overwrite", "cifar.tar.gz")
    assert b"data" == archive.read_bytes()


def test_the_archive_that_the_environment_names_is_not_overwritten(
    untrained_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "cifar.tar"
    archive.write_bytes(b"data")
    monkeypatch.setenv("PRUNEBENCH_DATA", str(archive))
    cifar10 = ("--workload", "cifar10", "--checkpoint", untrained_checkpoint)
    for command in (
        ("run", "run3", *cifar10, "--json", archive),
        ("scan", *cifar10, "--json", archive),
        ("train", "--workload", "cifar10", "--output", archive),
        ("plan", "--rule", "erk", "--size", 50, *cifar10, "--json", archive),
    ):
        assert_one_clear_line(call(*command), "would overwrite", "cifar.tar")
    assert b"data" == archive.read_bytes()


def test_data_for_a_workload_that_reads_none_is_not_passed_over(untrained_checkpoint: Path, tmp_path: Path) -> None:
    """Figures for the digits in place of those for one's own data."""
    for command in (("data",), ("run", "run3", "--checkpoint", untrained_checkpoint, "--no-finetune")):
        result = call(*command, "--workload", "digits", "--data", tmp_path)
        assert_one_clear_line(result, "workload 'digits' reads no data", str(tmp_path), "cifar10")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_no_failed_check() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "prunebench.cli", "runs"], stdout=full, stderr=-1, text=True)
    assert (2, "error: cannot write the output: No space left on device\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize("where", ["sparsity", "epochs", "accuracy_by_epoch"])
def test_an_integer_of_thousands_of_digits_is_one_line(where: str, tmp_path: Path) -> None:
    huge = "0x" + "f" * 5000
    claims = "" if where == "sparsity" else f"{where} = {f'[{huge}]' if where == 'accuracy_by_epoch' else huge}"
    replaced = f'"backbone.conv0.weight" = {huge}' if where == "sparsity" else ""
    table = _write_table(tmp_path / "mine.toml", claims=claims, replaced=replaced)
    assert_one_clear_line(call("lint", table), "an integer of 20,000 bits")


def test_a_table_in_the_place_of_a_run_is_found_by_its_stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_table(tmp_path / "mine.toml")
    monkeypatch.chdir(tmp_path)
    assert_one_clear_line(call("lint", "mine"), "did you mean the table 'mine.toml'?")


@pytest.mark.parametrize(
    ("claims", "parts"),
    [
        (
            "size_percent = 0.4503",
            ["size_percent", "must be in percent", "0.4503, a fraction", "mean 45.03?"],
        ),
        ("size_percent = 0.45", ["did you mean 45?"]),
        ("accuracy_best = 0.9263", ["accuracy_best", "must be in percent", "did you mean 92.63?"]),
        ("accuracy_by_epoch = [92.79, 0.9263]", ["accuracy_by_epoch", "did you mean 92.63?"]),
        ("size_percents = 45.03", ["unknown key 'size_percents'", "did you mean 'size_percent'?"]),
    ],
)
def test_a_fraction_where_percent_belong_is_called_so(claims: str, parts: list[str], tmp_path: Path) -> None:
    assert_one_clear_line(call("lint", _write_table(tmp_path / "mine.toml", claims=claims)), *parts)


def test_a_size_under_one_percent_is_no_fraction(tmp_path: Path) -> None:
    """But wrong: the table comes to another, and not to a hundred times as much."""
    result = call("lint", _write_table(tmp_path / "mine.toml", claims="size_percent = 0.51"))
    assert 1 == result.exit_code
    assert "documented 0.51, computed 45.0337" in result.output


@pytest.mark.parametrize(("text", "instead"), [("size", "\ufeffsize"), (" = ", "\t=\t"), ("\n", "\r\n")])
def test_a_table_may_have_a_byte_order_mark_tabs_and_windows_lines(text: str, instead: str, tmp_path: Path) -> None:
    path = _write_table(tmp_path / "mine.toml", claims="size_percent = 45.03")
    path.write_bytes(path.read_text().replace(text, instead).encode())
    assert 0 == call("lint", path).exit_code


def test_a_table_in_utf_16_says_how_to_save_it(tmp_path: Path) -> None:
    path = _write_table(tmp_path / "mine.toml")
    path.write_text(path.read_text(), encoding="utf-16")
    assert_one_clear_line(call("lint", path), "mine.toml", "not text in UTF-8", "save it as UTF-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "run1", "--seed", "1" * 4200),
        ("run", "run1", "--seed", "9" * 5000),
        ("run", "x" * 5000),
        ("run", "x y " * 1250),
        ("run", "run1", "--workload", "x" * 5000),
        ("run", "run1", "--device", "x" * 5000),
        ("run", "run1", "--json", "x" * 5000),
        ("scan", "--sparsities", "x" * 5000),
        ("baseline", "show", "x" * 5000),
        ("compare", "x" * 5000),
        ("x" * 5000,),
        ("--" + "x" * 5000,),
    ],
    ids=lambda arguments: " ".join(arguments)[:20],
)
def test_messages_cut_what_is_thousands_of_characters_long(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert_one_clear_line(result)
    assert len(result.stderr) < 1000


def test_a_name_of_thousands_of_characters_in_a_table_is_cut(tmp_path: Path) -> None:
    table = _write_table(tmp_path / "mine.toml", claims=f'name = "{"x" * 5000}"')
    result = call("run", table, "--no-finetune", "--json", tmp_path / "none" / "r.json", "--recipe", "y" * 5000)
    assert_one_clear_line(result, "unknown recipe")
    assert len(result.stderr) < 1000
    assert max(map(len, call("lint", table).output.splitlines())) < 1000


def test_allocation_by_weights_needs_the_weights_and_no_images(
    untrained_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.workloads import cifar10

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("reads CIFAR-10")

    monkeypatch.setattr(cifar10, "load_cifar10", refuse)
    macs = sum(count_macs(build_model("vgg"), (3, 32, 32)).values()) / 1e6
    asked = ("--workload", "cifar10", "--checkpoint", untrained_checkpoint, "--size", 29.37)
    for rule in ("lamp", "global", "global_normalized", "erk", "uniform"):
        result = call("plan", "--rule", rule, *asked)
        assert 0 == result.exit_code, result.output
        assert "29.37" in result.output
        assert f"{macs:,.1f}" in result.output


def test_letters_that_a_terminal_has_not_are_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "prunebench.cli", "lint", "größe模型.toml"], capture_output=True, env=environment
    )
    assert 2 == done.returncode
    assert done.stderr.startswith(b"error: cannot read the table 'gr\xf6\xdfe\\u6a21")
    assert 1 == len(done.stderr.splitlines())


def _write_table(path: Path, *, claims: str = "", replaced: str = "") -> Path:
    """Run 1 as a user would write it, with claims, or with one line of the sparsities replaced."""
    lines = [f'"{name}" = {value}' for name, value in RUN1.items()]
    if replaced:
        kept = [line for line in lines if line.partition(" ")[0] != replaced.partition(" ")[0]]
        lines = [*kept, replaced]
    path.write_text("\n".join([claims, "[sparsity]", *lines]))
    return path


def _write_archive(path: Path, damage: str) -> None:
    """A small archive of class folders; too few images for CIFAR-10, but that is found last."""
    image = io.BytesIO()
    Image.new("RGB", (32, 32)).save(image, "JPEG")
    names = [f"{split}/{label}/0.jpg" for split in ("train", "test") for label in CIFAR10_CLASSES]
    if damage == "climbs out":
        names.insert(3, "../escaped.jpg")
    if damage == "class missing":
        names.remove("test/truck/0.jpg")
    with tarfile.open(path, "w:xz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(image.getvalue())
            archive.addfile(member, io.BytesIO(image.getvalue()))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
