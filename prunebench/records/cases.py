"""Cases: records are compared with those of the same case.

A case id is `WORKLOAD/RUN-RECIPE`, for example `digits/run3-quick`. What departs from the defaults is added to it:
`~taylor`, `~2%3A4`, `~gradual` (criterion, granularity and pruning schedule, each where it is not the documented one),
`-seed1`, `-bf16`, `-validation` (the best epoch chosen on a validation split), `-oneshot` (no fine-tuning), in this
order. So a record in bf16 never takes the place of one in fp32. The id of a record follows from the record alone, and
is the path of its baseline below `baselines/`: what a file's name should not hold is written as in a URL
(`my%20run-quick`), and so is a hyphen of a recipe's, or `half-long-ci` could be of two runs and recipes.

A scan's case id is `DATA/scan-MODEL-IMAGES`, for example `digits/scan-vgg-600`. What departs from the usual is added:
`-kept29` (a base model of which 29 % of the elements are not zero), `-random` (a criterion other than magnitude),
`~channel` (a granularity other than element), `-bf16`, `-adaptive`, in this order. No run's begins with `scan-`: its
hyphen is written as in a URL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote

from prunebench.documented.method import ELEMENT, ONE_SHOT, Method
from prunebench.errors import RecordError, UnknownNameError
from prunebench.pruning import GRANULARITIES
from prunebench.records.record import Record
from prunebench.sensitivity import Scan

VARIANTS = r"(~[^~]+?)*(-seed\d+)?(-bf16)?(-validation)?(-oneshot)?"
"""Additions of `name_case` to a run's case."""

SCAN_VARIANTS = r"([-~][^-]*[a-z][^-]*|~[^-~]+)*"
"""Additions to the number of a scan's images: nothing that could be a number of images itself."""

NAME = re.compile(r"[\w%~-][\w.%~-]*", re.ASCII)


def case_id(record: Record) -> str:
    """The id of the case that `record` is of."""
    if isinstance(record, Scan):
        return _scan_case(record)
    tuned = record.finetuning
    return name_case(
        workload=record.workload,
        run=record.run,
        recipe=record.recipe,
        method=record.method,
        seed=record.seed,
        precision=record.precision,
        select_on=tuned.selected_on if tuned else "test",
        finetuned=tuned is not None,
    )


def name_case(
    *,
    workload: str,
    run: str,
    recipe: str,
    method: Method | None = None,
    seed: int = 0,
    precision: str = "fp32",
    select_on: str = "test",
    finetuned: bool = True,
) -> str:
    """The id of a case that may have no record yet."""
    variants = (
        *(f"~{in_path(part)}" for part in _departures(method or Method())),
        f"-seed{seed}" if seed else "",
        f"-{precision}" if precision != "fp32" else "",
        f"-{select_on}" if finetuned and select_on != "test" else "",
        "" if finetuned else "-oneshot",
    )
    name = in_path(run).replace("-", "%2D", 1) if run.startswith("scan-") else in_path(run)
    return f"{in_path(workload)}/{name}-{_recipe(recipe)}{''.join(variants)}"


def _departures(method: Method) -> Iterator[str]:
    """Names of what departs from the documented method. Allocation, total and settings are the run's, as a table is."""
    if method.criterion != "magnitude":
        yield method.criterion
    if method.granularity != ELEMENT:
        yield method.granularity
    if method.pruning_schedule != ONE_SHOT:
        yield method.pruning_schedule
    if method.recalibrated:
        yield "recalibrated"


def _scan_case(scan: Scan) -> str:
    kept = round(100 * scan.nonzeros / scan.elements)
    variants = (
        "" if kept == 100 else f"-kept{kept}",
        "" if scan.criterion == "magnitude" else f"-{in_path(scan.criterion)}",
        "" if scan.granularity == ELEMENT else f"~{in_path(scan.granularity)}",
        "" if scan.precision == "fp32" else f"-{scan.precision}",
        "" if scan.mode == "exact" else f"-{scan.mode}",
    )
    return f"{in_path(scan.data)}/scan-{in_path(scan.model)}-{scan.images}{''.join(variants)}"


def check_case_id(case: str) -> str:
    """`case` itself.

    Raises:
        RecordError: it is not of the form `WORKLOAD/NAME`.
    """
    workload, slash, name = case.partition("/")
    if not (slash and NAME.fullmatch(workload) and NAME.fullmatch(name)):
        raise RecordError(f"{case!r:.120} is not a case id: expected WORKLOAD/RUN-RECIPE, such as digits/run3-quick")
    return case


def family(record: Record) -> str:
    """The cases that are judged together with that of `record`, as a regular expression over all of an id.

    Those of one workload and recipe; of a scan, those of the same data and number of images.
    """
    if isinstance(record, Scan):
        return f"{re.escape(in_path(record.data))}/scan-.+-{record.images}{SCAN_VARIANTS}"
    return f"{re.escape(in_path(record.workload))}/(?!scan-).+-{re.escape(_recipe(record.recipe))}{VARIANTS}"


def in_families(cases: Iterable[str], families: Collection[str]) -> list[str]:
    """Those of `cases` that one of `families` has."""
    return [case for case in cases if any(re.fullmatch(pattern, case) for pattern in families)]


def _granularity(name: str) -> str:
    if name in GRANULARITIES or re.fullmatch(r"block\d+x\d+|\d+:\d+", name, re.ASCII):
        return in_path(name)
    return "".join(f"%{byte:02X}" for byte in name[:1].encode()) + in_path(name[1:]).replace("-", "%2D")


def _recipe(name: str) -> str:
    return in_path(name).replace("-", "%2D")


def chosen_cases(wanted: Iterable[str], known: Collection[str], *, first: Collection[str] = ()) -> list[str]:
    """The cases that `wanted` names, in full or by what follows the slash where only one ends so.

    Args:
        first: those of `known` that are meant where a short name fits one of them and others too.

    Raises:
        UnknownNameError: a name that no case has, or more than one.
        RecordError: there are no cases at all.
    """
    found = []
    for name in wanted:
        matches = [case for case in known if name in (case, case.partition("/")[2])]
        nearest = [case for case in matches if case in first]
        matches = nearest if len(nearest) == 1 else matches
        if not known:
            raise RecordError(f"unknown case {name!r}: there is none")
        if len(matches) != 1:
            raise UnknownNameError("case", name, known)
        found.append(matches[0])
    return list(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def in_path(name: str) -> str:
    """A name as it is written in a file's name."""
    quoted = quote(name, safe="").replace("~", "%7E")  # which begins a part of the method
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted or "%00"
