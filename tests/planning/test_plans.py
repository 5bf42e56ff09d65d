"""The plan and its table: exact, and read back as written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning.scan_factory import VGG_SHAPES, make_curves, vgg_scan

from prunebench.documented.claims import lint
from prunebench.documented.runs import RUNS
from prunebench.documented.tables import read_table
from prunebench.errors import RecordError
from prunebench.planning import Curves, Measured, Plan, PlanRecord, Reported, Trial, make_plan, read_plan, write_plan
from prunebench.report.plans import cost_table, plan_accuracy_table, plan_table, trials_table

VGG = Curves.of_scan(vgg_scan())
FRACTIONS = st.lists(st.floats(0, 1), min_size=9, max_size=9)


def vgg_plan(sparsity: dict[str, float]) -> Plan:
    return make_plan("erk", sparsity, VGG.inventory, model="vgg", source=['a "line"'], curves=VGG)


@given(FRACTIONS)
def test_a_table_prunes_exactly_what_was_planned(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    plan = vgg_plan(dict(zip(VGG_SHAPES, values, strict=True)))
    path = tmp_path_factory.mktemp("plan") / "table.toml"
    path.write_text(plan.as_toml, encoding="utf-8")
    table = read_table(path)
    kept = VGG.inventory.kept(table.sparsity)
    assert {layer.name: layer.kept for layer in plan.layers} == kept
    assert list(VGG_SHAPES) == list(table.sparsity)
    assert {"agrees"} == {claim.status for claim in lint(table)}


def test_a_plan_of_a_documented_run_says_its_documented_figures() -> None:
    plan = vgg_plan(dict(RUNS["run3"].sparsity))
    assert (2_710_807, "29.37") == (plan.nonzeros, f"{plan.size_percent:.2f}")
    assert dict(RUNS["run3"].sparsity) == plan.sparsity


def test_beyond_the_scan_nothing_is_predicted() -> None:
    plan = vgg_plan(dict.fromkeys(VGG_SHAPES, 0.99))
    assert plan.predicted_accuracy is None
    assert {None} == {layer.drop for layer in plan.layers}


def test_a_record_comes_back_as_written_and_not_when_edited(tmp_path: Path) -> None:
    trial = Trial(kind="start", sparsity={"a": 0.1}, nonzeros=90, measured=Measured(accuracy=80.0))
    plan = make_plan("optimal", {"a": 0.5}, make_curves({"a": {}}).inventory, model="vgg")
    record = PlanRecord(base_digest="0" * 64, plan=plan, trials=[trial])
    write_plan(record, tmp_path / "plan.json")
    assert record == read_plan(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace('"accuracy": 80.0', '"accuracy": 81.0'))
    with pytest.raises(RecordError, match="edited or damaged"):
        read_plan(tmp_path / "plan.json")


# What a person reads


def test_the_layer_table_adds_up() -> None:
    lines = str(plan_table(vgg_plan(dict(RUNS["run3"].sparsity)))).splitlines()
    assert ["conv7", "0.9000", "2,359,296", "235,930", "8.70", "3.19"] == lines[9].split()
    assert ["all", "0.7063", "9,228,362", "2,710,807", "100.00"] == lines[-1].split()


def test_the_cost_table_is_in_mib_and_mmacs() -> None:
    lines = str(cost_table(vgg_plan(dict(RUNS["run3"].sparsity)), VGG.inventory)).splitlines()
    assert "10.34 35.20 29.37" == " ".join(lines[2].split()[-3:])
    assert "605.8" == lines[4].split()[-2]


def test_the_costs_of_a_small_model_are_in_smaller_units() -> None:
    curves = make_curves({"a": {0.5: 80.0}})
    lines = str(
        cost_table(make_plan("uniform", {"a": 0.5}, curves.inventory, model="m"), curves.inventory)
    ).splitlines()
    assert "nominal size, KiB 0.20 0.39 50.00" == " ".join(lines[2].split())
    assert "kMACs an image 0.05 0.10 50.00" == " ".join(lines[4].split())


def test_a_table_is_toml_whatever_names_hold() -> None:
    inventory = make_curves({"a": {0.5: 80.0}}).inventory
    lines = ["two\nlines", "a bell \a", "no text \udce9"]
    plan = make_plan("uniform", {"a": 0.5}, inventory, model='a "sign" \U0001f6a6 \x7f\n', source=lines)
    assert ('a "sign" \U0001f6a6 \x7f\n', {"a": 0.5}) == (
        tomllib.loads(plan.as_toml)["model"],
        tomllib.loads(plan.as_toml)["sparsity"],
    )


def test_a_table_for_a_pruned_model_claims_no_size_in_percent_of_the_dense_one() -> None:
    layers = {"a": {0.5: 80.0}}
    for nonzeros, claimed in ((100, True), (60, False)):
        inventory = make_curves(layers, nonzeros={"a": nonzeros}).inventory
        table = make_plan("uniform", {"a": 0.5}, inventory, model="m").as_toml
        assert claimed == ("size_percent" in table)


def test_the_accuracy_table_shows_measured_beside_predicted() -> None:
    table = plan_accuracy_table(Reported(images=50, base=90.0, predicted=80.0, measured=78.5, finetuned=89.0))
    assert ["50", "test", "images", "90.00", "80.00", "78.50", "-1.50", "89.00"] == str(table).splitlines()[-1].split()
    table = plan_accuracy_table(Reported(images=50, base=90.0, measured=78.5))
    assert ["90.00", "-", "78.50", "-"] == str(table).splitlines()[-1].split()[3:]


def test_of_a_search_only_what_helped_is_told() -> None:
    def trial(kind: str, accuracy: float) -> Trial:
        return Trial(kind=kind, sparsity={"a": accuracy}, nonzeros=50, measured=Measured(accuracy=accuracy))

    trials = [trial("base", 90), trial("start", 70), trial("search", 60), trial("search", 75)]
    lines = str(trials_table(trials, elements=100, best=trials[-1])).splitlines()[2:]
    assert ["base", "start", "search"] == [line.split()[0] for line in lines]
    assert "best" == lines[-1].split()[-1]
