"""Cases: which records are of one thing, and so are compared with each other.

A case id is `WORKLOAD/RUN-RECIPE`, for example `digits/run3-quick`. What departs from the defaults is added to it:
`-seed1`, `-bf16`, `-validation` (the best epoch chosen on a validation split), `-oneshot` (no fine-tuning), in this
order. So a record in bf16 never takes the place of one in fp32. The id of a record follows from the record alone, and
is the path of its baseline below `baselines/`: what a file's name should not hold is written as in a URL
(`my%20run-quick`), and so is a hyphen of a recipe's, or `half-long-ci` could be of two runs and recipes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote

from prunebench.errors import RecordError, UnknownNameError
from prunebench.records.record import RunRecord

VARIANTS = r"(-seed\d+)?(-bf16)?(-validation)?(-oneshot)?"
"""What `name_case` adds to a case's name."""

SCAN_VARIANTS = r"(-[^-]*[a-z][^-]*)*"
"""What a scan's case may add to the number of its images: nothing that could be a number of images itself."""

NAME = re.compile(r"[\w%~-][\w.%~-]*", re.ASCII)


def case_id(record: RunRecord) -> str:
    """The id of the case that `record` is of."""
    tuned = record.finetuning
    return name_case(
        workload=record.workload,
        run=record.run,
        recipe=record.recipe,
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
    seed: int = 0,
    precision: str = "fp32",
    select_on: str = "test",
    finetuned: bool = True,
) -> str:
    """The id of a case that may have no record yet."""
    variants = (
        f"-seed{seed}" if seed else "",
        f"-{precision}" if precision != "fp32" else "",
        f"-{select_on}" if finetuned and select_on != "test" else "",
        "" if finetuned else "-oneshot",
    )
    return f"{in_path(workload)}/{in_path(run)}-{_recipe(recipe)}{''.join(variants)}"


def check_case_id(case: str) -> str:
    """`case` itself.

    Raises:
        RecordError: it is not of the form `WORKLOAD/NAME`.
    """
    workload, slash, name = case.partition("/")
    if not (slash and NAME.fullmatch(workload) and NAME.fullmatch(name)):
        raise RecordError(f"{case!r:.120} is not a case id: expected WORKLOAD/RUN-RECIPE, such as digits/run3-quick")
    return case


def in_family(case: str, *, workload: str, recipe: str) -> bool:
    """Whether a case belongs to a workload and recipe: the cases that are judged together."""
    folder, _, name = case.partition("/")
    is_scan = name.startswith("scan-") and recipe.isdecimal()
    ending = re.escape(_recipe(recipe)) + (SCAN_VARIANTS if is_scan else VARIANTS)
    return folder == in_path(workload) and re.fullmatch(f".+-{ending}", name) is not None


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


def in_path(name: str) -> str:
    """A name as it is written in a file's name."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted or "%00"
