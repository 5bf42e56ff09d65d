"""The claims linter: the documented figures agree, the one known slip is named, every planted error is caught."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from prunebench.documented.claims import Claim, lint, lint_documented, planned_nonzeros
from prunebench.documented.runs import RUNS, DocumentedRun, documented_run
from prunebench.documented.tables import find_run, read_table
from prunebench.errors import PlanError, PrunebenchError, UnknownNameError

DENSE = 9_228_362
NONZEROS = {"run1": 4_155_875, "run2": 2_504_369, "run3": 2_710_807, "run4": 1_006_216, "run5": 807_150}
SIZES = {  # MiB, percent of dense
    "run1": ("15.85", "45.03"),
    "run2": ("9.55", "27.14"),
    "run3": ("10.34", "29.37"),
    "run4": ("3.84", "10.90"),
    "run5": ("3.08", "8.75"),
}

# Run 3 with every claim that a table can make; 600 test images, so accuracies are multiples of 1/6 of a point.
CLAIMS = {
    "name": '"mine"',
    "epochs": "3",
    "test_images": "600",
    "size_mib": "10.34",
    "size_percent": "29.37",
    "dense_accuracy": "92.83",
    "accuracy_before": "90.5",
    "accuracy_best": "92.67",
    "accuracy_by_epoch": "[92.50, 92.67, 92.33]",
}
SPARSITY = {name: str(sparsity) for name, sparsity in RUNS["run3"].sparsity.items()}


def write_table(folder: Path, claims: dict[str, str] | None = None, sparsity: dict[str, str] | None = None) -> Path:
    """A TOML table with the good claims and sparsities, but for those given."""
    lines = [f"{key} = {value}" for key, value in {**CLAIMS, **(claims or {})}.items()]
    lines += ["[sparsity]"]
    lines += [f'"{name}" = {value}' for name, value in {**SPARSITY, **(sparsity or {})}.items()]
    path = folder / "table.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def differing(claims: list[Claim]) -> list[str]:
    return [claim.what for claim in claims if claim.status != "agrees"]


def claim_of(run: DocumentedRun, what: str) -> Claim:
    return next(claim for claim in lint(run) if claim.what == what)


def test_the_linted_runs_are_the_five_documented_ones() -> None:
    assert sorted(NONZEROS) == sorted(RUNS)


@pytest.mark.parametrize("name", NONZEROS)
def test_a_documented_run_keeps_its_count_of_nonzeros(name: str) -> None:
    assert (NONZEROS[name], DENSE) == planned_nonzeros(documented_run(name))


@pytest.mark.parametrize("name", SIZES)
def test_a_documented_run_has_the_size_that_its_nonzeros_give(name: str) -> None:
    run = documented_run(name)
    mib, percent = claim_of(run, "size, MiB"), claim_of(run, "size, % of dense")
    assert SIZES[name] == (mib.documented, percent.documented)
    assert ("agrees", "agrees") == (mib.status, percent.status)
    assert SIZES[name] == (f"{NONZEROS[name] * 4 / 2**20:.2f}", f"{100 * NONZEROS[name] / DENSE:.2f}")


@pytest.mark.parametrize("name", NONZEROS)
def test_every_claim_of_a_documented_run_agrees(name: str) -> None:
    assert [] == differing(lint(documented_run(name)))


def test_the_printed_difference_between_two_sizes_is_the_only_slip_and_a_known_one() -> None:
    odd = [claim for claim in lint_documented() if claim.status != "agrees"]
    assert 1 == len(odd)
    assert ("known slip", "2.13", "2.23") == (odd[0].status, odd[0].documented, odd[0].computed)
    assert "run3 - run2" == odd[0].run


def test_every_claim_says_where_it_stands() -> None:
    assert all(claim.source for claim in lint_documented())


def test_the_change_after_finetuning_is_best_less_dense() -> None:
    changes = {name: run.change_after_finetuning for name, run in RUNS.items()}
    expected = {"run1": "0.11", "run2": "-0.15", "run3": "-0.11", "run4": None, "run5": "-0.79"}
    assert {name: Decimal(value) if value else None for name, value in expected.items()} == changes


def test_a_table_without_errors_agrees_in_every_claim(tmp_path: Path) -> None:
    claims = lint(read_table(write_table(tmp_path)))
    assert [] == differing(claims)
    assert {"mine"} == {claim.run for claim in claims}
    whats = {claim.what for claim in claims}
    assert {"layers", "size, MiB", "size, % of dense", "best is the highest epoch, %", "epochs"} <= whats
    assert {"dense accuracy, %", "accuracy before, %", "accuracy best, %", "accuracy epoch 3, %"} <= whats


def test_a_table_with_nothing_but_sparsities_is_linted_too(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text("[sparsity]\n" + "".join(f'"{name}" = {value}\n' for name, value in SPARSITY.items()))
    run = read_table(path)
    assert ("bare", "vgg", "bare.toml") == (run.name, run.model, run.source)
    assert ["layers"] == [claim.what for claim in lint(run)]
    assert (NONZEROS["run3"], DENSE) == planned_nonzeros(run)


@pytest.mark.parametrize(
    ("expected", "planted"),
    [
        (["size, MiB"], {"size_mib": "10.35"}),
        (["size, MiB"], {"size_mib": "10.33"}),
        (["size, MiB"], {"size_mib": "10.3410"}),
        (["size, % of dense"], {"size_percent": "29.38"}),
        (["size, % of dense"], {"size_percent": "29.36"}),
        (["size, % of dense"], {"size_percent": "29.3"}),
        (["best is the highest epoch, %"], {"accuracy_best": "92.50"}),
        (["best is the highest epoch, %"], {"accuracy_best": "92.83"}),
        (["dense accuracy, %"], {"dense_accuracy": "92.84"}),
        (["dense accuracy, %"], {"dense_accuracy": "92.80"}),
        (["dense accuracy, %"], {"dense_accuracy": "100.17"}),
        (["dense accuracy, %"], {"dense_accuracy": "-0.17"}),
        (["accuracy before, %"], {"accuracy_before": "90.51"}),
        (["accuracy before, %"], {"accuracy_before": "90.4"}),
        (["accuracy epoch 1, %"], {"accuracy_by_epoch": "[92.51, 92.67, 92.33]"}),
        (["epochs"], {"epochs": "5"}),
        (["epochs"], {"accuracy_by_epoch": "[92.50, 92.67]"}),
        (["best is the highest epoch, %"], {"accuracy_by_epoch": "[92.50, 92.67, 92.83]"}),
    ],
)
def test_a_planted_slip_is_the_one_claim_that_differs(
    expected: list[str], planted: dict[str, str], tmp_path: Path
) -> None:
    assert expected == differing(lint(read_table(write_table(tmp_path, planted))))


@pytest.mark.parametrize("claims", [{"accuracy_best": "92.7"}, {"accuracy_by_epoch": "[92.5, 92.7, 92.3]"}])
def test_a_best_epoch_agrees_with_its_rounding(claims: dict[str, str], tmp_path: Path) -> None:
    assert [] == differing(lint(read_table(write_table(tmp_path, claims))))


@pytest.mark.parametrize("change", [{"epochs": "3"}, {}])
def test_only_its_own_table_has_the_name_of_a_documented_run(change: dict[str, str], tmp_path: Path) -> None:
    """Or it would be judged by that run's floors, and its record be taken for one of that run."""
    own = {
        **dict.fromkeys(("accuracy_best", "accuracy_before", "dense_accuracy"), "90"),
        "name": '"run3"',
        "epochs": "5",
    }
    own["accuracy_by_epoch"] = "[90.0]"
    assert "run3" == read_table(write_table(tmp_path, own)).name
    sparsity = {} if change else {"backbone.conv0.weight": "0.1"}
    with pytest.raises(PlanError, match="is called 'run3', which is a documented run with other sparsities"):
        read_table(write_table(tmp_path, own | change, sparsity))


@pytest.mark.parametrize("figure", ["10.34", "10.341", "10.3409", "10.3", "10"])
def test_a_size_agrees_at_every_number_of_digits_it_may_be_printed_with(figure: str, tmp_path: Path) -> None:
    assert [] == differing(lint(read_table(write_table(tmp_path, {"size_mib": figure}))))


def test_an_accuracy_that_600_images_cannot_give_may_be_right_for_10_000(tmp_path: Path) -> None:
    images = {"dense_accuracy": "92.84"}
    assert ["dense accuracy, %"] == differing(lint(read_table(write_table(tmp_path, images))))
    assert [] == differing(lint(read_table(write_table(tmp_path, {**images, "test_images": "10000"}))))


def test_an_impossible_accuracy_comes_with_the_nearest_possible_one(tmp_path: Path) -> None:
    run = read_table(write_table(tmp_path, {"dense_accuracy": "92.80"}))
    assert "nearest possible 92.8333" == claim_of(run, "dense accuracy, %").computed


def test_a_sparsity_off_by_a_hundredth_is_seen_in_the_size(tmp_path: Path) -> None:
    run = read_table(write_table(tmp_path, sparsity={"backbone.conv7.weight": "0.91"}))
    assert ["size, MiB", "size, % of dense"] == differing(lint(run))


@pytest.mark.parametrize(
    ("expected", "sparsity"),
    [
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got 1.3", {"backbone.conv4.weight": "1.3"}),
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got -0.1", {"backbone.conv4.weight": "-0.1"}),
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got nan", {"backbone.conv4.weight": "nan"}),
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got inf", {"backbone.conv4.weight": "inf"}),
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got 60", {"backbone.conv4.weight": "60"}),
        ("sparsity of 'backbone.conv4.weight' must be in [0, 1], got 1000", {"backbone.conv4.weight": "1" + "0" * 400}),
        (
            "sparsity of 'backbone.conv4.weight' must be a number in [0, 1], got '0.6'",
            {"backbone.conv4.weight": '"0.6"'},
        ),
        ("sparsity of 'backbone.conv4.weight' must be a number in [0, 1], got True", {"backbone.conv4.weight": "true"}),
    ],
)
def test_an_impossible_sparsity_is_refused_by_layer_and_value(
    expected: str, sparsity: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(PlanError) as caught:
        read_table(write_table(tmp_path, sparsity=sparsity))
    assert str(caught.value).startswith(expected)


def test_an_unknown_layer_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown layer 'backbone\.conv8\.weight': .* did you mean"):
        read_table(write_table(tmp_path, sparsity={"backbone.conv8.weight": "0.5"}))


def test_a_missing_layer_is_refused_by_name(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    kept = [line for line in path.read_text().splitlines() if "conv5" not in line]
    path.write_text("\n".join(kept))
    with pytest.raises(PlanError, match=r"sparsity plan does not list 'backbone\.conv5\.weight'"):
        read_table(path)


@pytest.mark.parametrize(
    ("expected", "planted"),
    [
        ("has an unknown key 'sizes_mib': expected one of sparsity, name, model", {"sizes_mib": "10.34"}),
        ("'size_mib' in the table '{path}' must be a number, got '10.34'", {"size_mib": '"10.34"'}),
        ("'size_mib' in the table '{path}' must be a number, got True", {"size_mib": "true"}),
        ("'size_percent' in the table '{path}' must be a number, got Decimal('NaN')", {"size_percent": "nan"}),
        ("'size_percent' in the table '{path}' must be a number, got Decimal('Infinity')", {"size_percent": "inf"}),
        ("'accuracy_best' in the table '{path}' must be a number, got ", {"accuracy_best": "1e999999"}),
        (
            "'accuracy_by_epoch' in the table '{path}' must be a list, got Decimal('92.5')",
            {"accuracy_by_epoch": "92.5"},
        ),
        ("'accuracy_by_epoch' in the table '{path}' must be a number, got 'x'", {"accuracy_by_epoch": '["x"]'}),
        ("'epochs' in the table '{path}' must be a positive whole number, got Decimal('5.0')", {"epochs": "5.0"}),
        ("'epochs' in the table '{path}' must be a positive whole number, got 0", {"epochs": "0"}),
        ("'test_images' in the table '{path}' must be a positive whole number, got 0", {"test_images": "0"}),
        ("'name' in the table '{path}' must be text, got 3", {"name": "3"}),
        ("the table '{path}' is not TOML: ", {"size_mib": "10,34"}),
        ("the table '{path}' is not TOML: ", {"size_mib": "1e9999999999999999999999"}),
        ("the table '{path}' is not TOML: ", {"epochs": "9" * 5000}),
        ("the table '{path}' is not TOML: ", {"name": "[" * 5000 + "]" * 5000}),
        ("unknown model 'vgg16': expected one of ", {"model": '"vgg16"'}),
    ],
)
def test_a_claim_of_the_wrong_kind_is_refused_by_key_and_value(
    expected: str, planted: dict[str, str], tmp_path: Path
) -> None:
    path = write_table(tmp_path, planted)
    with pytest.raises(PrunebenchError) as caught:
        read_table(path)
    assert expected.format(path=path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"epochs = 5\n", b"sparsity = 0.5\n", b"[sparsity]\n"])
def test_a_table_without_sparsities_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"has no \[sparsity\] section"):
        read_table(path)


def test_a_table_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match="is not text in UTF-8: save it as UTF-8"):
        read_table(path)
    with pytest.raises(PlanError, match=r"cannot read the table .*No such file"):
        read_table(tmp_path / "absent.toml")
    with pytest.raises(PlanError, match=r"cannot read the table .*Is a directory"):
        read_table(tmp_path)


def test_figures_keep_the_digits_they_are_written_with(tmp_path: Path) -> None:
    run = read_table(write_table(tmp_path, {"size_percent": "29.370"}))
    assert run.size_percent is not None
    assert "29.370" == str(run.size_percent.value)
    assert Decimal("0.0005") == run.size_percent.tolerance
    assert ["size, % of dense"] == differing(lint(run))


def test_a_run_is_found_by_its_name_or_by_the_path_of_a_table(tmp_path: Path) -> None:
    assert RUNS["run3"] is find_run("run3")
    assert "mine" == find_run(str(write_table(tmp_path))).name
    with pytest.raises(UnknownNameError, match="unknown run 'run9': expected one of run1, run2, run3, run4, run5"):
        find_run("run9")
