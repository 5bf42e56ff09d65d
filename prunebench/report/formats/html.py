"""The report as a page: one file with its style, its script and its plots in it; it loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import metadata, resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from prunebench.documented.runs import RUNS
from prunebench.escaping import terminal
from prunebench.report.content import (
    PlanSection,
    Report,
    RunSection,
    ScanSection,
    command,
    difference_table,
    figures,
    overview,
    provenance,
    reach_table,
    sight_table,
    timings_table,
)
from prunebench.report.plans import plan_table
from prunebench.report.plots import (
    SERIES,
    FrontierPoint,
    documented_points,
    inline_svg,
    plot_epochs,
    plot_frontier,
    plot_parameters,
    plot_sensitivity,
    plot_weights,
    record_points,
)
from prunebench.report.scans import scan_heading, scan_table
from prunebench.report.sentences import blocks
from prunebench.report.tables import accuracy_table, heading, layer_table, short_name
from prunebench.report.versions import versions_lines, versions_table

WORDS = (
    ("sparsity", "The fraction of a layer's weights that were pruned, that is, set to zero: 0 is none, 1 is all."),
    ("dense, pruned, fine-tuned", "The model before pruning; after it; after training on with the zeros kept."),
    ("nominal size", "Four bytes for each weight that is not zero. A file is not smaller by itself."),
    ("change", "Accuracy of the fine-tuned model less that of the dense one, in points (percent of the test images)."),
    ("documented", "What the document that a run comes from says of it."),
    ("floor", "A figure that a run must keep, whatever it was before."),
    ("baseline", "A record that a person approved; new records are compared with it."),
    ("FAIL, IMPROVED, PASS", "Worse than the baseline or under a floor; better; neither."),
    ("INCONCLUSIVE", "Perhaps worse: there are too few images or samples to tell."),
    ("INCOMPARABLE, NO_BASELINE", "Nothing was compared, so nothing is known. This is no pass."),
)


class Html:
    """One self-contained page of HTML."""

    name, suffix = "html", ".html"

    def render(self, report: Report) -> str:
        """The whole page."""
        sections = [*report.runs, *report.scans]
        return (
            templates()
            .get_template("page.html.j2")
            .render(
                report=report,
                versions=report.across and versions_table(report.across),
                versions_lines=versions_lines(report.across) if report.across else [],
                blocks=blocks(report.findings),
                runs=[_run(section) for section in report.runs],
                scans=[_scan(section) for section in report.scans],
                plans=[_plan(section) for section in report.plans],
                frontiers=_frontiers(report),
                overview=overview(report.runs),
                glance=_glance(report.runs),
                sight=sight_table(report.verdicts),
                anchors={section.case: section.anchor for section in sections},
                all_figures=_all_figures(report.runs),
                words=WORDS,
                version=metadata.version("prunebench"),
                style=_file("style.css"),
                script=_file("script.js"),
            )
        )


HTML = Html()


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


@cache
def templates() -> Environment:
    """The page's templates. What is put in is escaped; the filter `shown` makes visible what cannot be seen."""
    environment = Environment(
        loader=PackageLoader("prunebench.report.formats", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters["shown"] = terminal
    return environment


def _run(section: RunSection) -> dict[str, Any]:
    record, documented = section.record, section.documented
    tuned, of = record.finetuning, section.case
    return {
        "section": section,
        "heading": heading(record.run, record, [documented] if documented else []).replace("\n", ". "),
        "command": command(record),
        "placeholder": not record.checkpoints.is_own,
        "measured": accuracy_table(record, documented),
        "difference": difference_table(section),
        "layers": layer_table(record),
        "timings": timings_table(section),
        "provenance": provenance(record, section.approval),
        "epochs": tuned and inline_svg(plot_epochs(record, documented=documented), label=f"Accuracy by epoch of {of}"),
        "parameters": inline_svg(plot_parameters(record), label=f"Kept and pruned elements of each layer of {of}"),
        "weights": _weights(section),
    }


def _weights(section: RunSection) -> str:
    if any(layer.histogram is None for layer in section.record.layers):
        return ""
    return inline_svg(plot_weights(section.record), label=f"Weights of each layer of {section.case}, before and after")


def _scan(section: ScanSection) -> dict[str, Any]:
    scan = section.record
    return {
        "section": section,
        "heading": scan_heading(scan).split("\n"),
        "reach": reach_table(scan),
        "points": scan_table(scan),
        "curves": inline_svg(plot_sensitivity(scan), label=f"Accuracy of {scan.model} by the sparsity of one layer"),
        "provenance": provenance(scan, section.approval),
    }


def _plan(section: PlanSection) -> dict[str, Any]:
    plan = section.record.plan
    assert plan is not None, "plans that are not made yet are left out"
    facts = [
        ("rule", plan.rule),
        *(("made from", line) for line in plan.source),
        ("nominal size, % of dense", f"{plan.size_percent:.2f}"),
        ("multiply-accumulates, % of dense", f"{plan.macs_percent:.2f}"),
    ]
    reported = section.record.reported
    accuracies = {
        "accuracy of the base model, %": reported.base if reported else plan.base_accuracy,
        "predicted accuracy, %": reported.predicted if reported else plan.predicted_accuracy,
        "measured accuracy, %": reported and reported.measured,
        "measured after fine-tuning, %": reported and reported.finetuned,
    }
    facts += [(name, f"{value:.2f}") for name, value in accuracies.items() if value is not None]
    return {"name": section.name, "facts": facts, "layers": plan_table(plan)}


def _frontiers(report: Report) -> list[str]:
    """One plot, or as many as there are series too many for one."""
    points = record_points(section.record for section in report.runs)
    if any(section.documented for section in report.runs):
        points += documented_points(RUNS.values())
    points += [_planned(section) for section in report.plans]
    series: dict[str, list[FrontierPoint]] = {}
    for point in points:
        if point.accuracy is not None:
            series.setdefault(point.series, []).append(point)
    label = "Size against accuracy of runs, plans and documented runs"
    return [
        inline_svg(plot_frontier([point for name in some for point in series[name]]), label=label)
        for some in (list(series)[start : start + len(SERIES)] for start in range(0, len(series), len(SERIES)))
    ]


def _planned(section: PlanSection) -> FrontierPoint:
    plan, reported = section.record.plan, section.record.reported
    assert plan is not None, "plans that are not made yet are left out"
    return FrontierPoint(
        label=section.name,
        series=f"plans of {plan.model} ({'measured' if reported else 'predicted'})",
        size_percent=plan.size_percent,
        pruned=reported.measured if reported else plan.predicted_accuracy,
        tuned=reported.finetuned if reported else None,
        dense=reported.base if reported else plan.base_accuracy,
    )


def _glance(runs: Sequence[RunSection]) -> list[tuple[str, str]]:
    """The answers that most readers look for first."""
    if not runs:
        return []
    smallest = min(runs, key=lambda run: run.record.size_percent)
    layers = [(layer.sparsity, layer.name, run.case) for run in runs for layer in run.record.layers]
    sparsity, name, case = max(layers)
    facts = [
        ("smallest run", f"{smallest.case}: {smallest.record.size_percent:.2f} % of the dense model's nominal size"),
        ("layer pruned most", f"{short_name(name)} of {case}: {100 * sparsity:.4g} % of its weights are pruned"),
    ]
    changes = [(run.record.change_after_finetuning, run) for run in runs]
    known = [(change, run.case) for change, run in changes if change is not None]
    if known:
        change, case = min(known)
        facts.append(("largest loss to the dense model", f"{case}: {change:+.2f} points after fine-tuning"))
    return facts


def _all_figures(runs: Sequence[RunSection]) -> list[dict[str, Any]]:
    """Figures that the script compares two runs by; references are runs too."""
    found = []
    for section in runs:
        found.append({"name": section.case, "figures": figures(section.record)})
        if section.reference is not None:
            found.append({"name": f"{section.case} (baseline)", "figures": figures(section.reference)})
    return found
