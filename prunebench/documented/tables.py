"""Sparsity tables that a user wrote: a TOML file becomes a run like the documented ones.

name = "mine"                     # optional: the file's name
model = "vgg"                     # optional
epochs = 5                        # optional, as every claim below
size_percent = 29.37              # figures keep the digits they are written with
accuracy_by_epoch = [92.79, 92.84]

[sparsity]
"backbone.conv0.weight" = 0
"backbone.conv1.weight" = 0.5
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunebench.documented.runs import RUNS, Cited, DocumentedRun, documented_run
from prunebench.errors import PlanError, did_you_mean
from prunebench.escaping import shown
from prunebench.models import build_model
from prunebench.pruning import SparsityPlan, pruned_count

FIGURES = ("size_mib", "size_percent", "accuracy_before", "accuracy_best", "dense_accuracy")
ACCURACIES = ("accuracy_before", "accuracy_best", "dense_accuracy", "accuracy_by_epoch")
WHOLE_NUMBERS = ("epochs", "test_images")
TEXTS = ("name", "model", "source")
MOST_BITS = 4096
"""Of an integer: more than a thousand digits."""
MOST_DECIMALS = 12
"""Of a figure: a document prints two or three."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The model that a sparsity table is for: its name, and what builds it."""

    name: str
    build: Callable[[], nn.Module]


def find_run(name: str, architecture: Architecture | None = None) -> DocumentedRun:
    """The documented run of that name, or the table in the TOML file at that path, for `architecture` if it is given.

    Raises:
        UnknownNameError: neither; also a layer or model in the table that does not exist.
        PlanError: the table cannot be read, or a sparsity is not in [0, 1].
    """
    path = table_file(name)
    if path is None and name not in RUNS and _is_file(f"{name}.toml"):
        raise PlanError(f"unknown run {name!r}: did you mean the table '{name}.toml'?")
    return documented_run(name) if path is None else read_table(path, architecture)


def table_file(name: str) -> Path | None:
    """The file that `find_run` reads; None for a documented run, and for what is neither."""
    path = Path(name)
    return path if name not in RUNS and (path.suffix == ".toml" or _is_file(name)) else None


def _is_file(name: str) -> bool:
    return os.path.isfile(name)  # noqa: PTH113 - False, and no error, for a name that is too long


def read_table(path: Path, architecture: Architecture | None = None) -> DocumentedRun:
    """A run from a TOML file; its sparsities are checked against `architecture`, or the model that it names itself.

    Raises:
        PlanError: unreadable, a key that is unknown or of the wrong type, a sparsity not in [0, 1], a layer left out,
            or a table that is for another model.
        UnknownNameError: a layer that does not exist, or a model.
        ModelError: its model cannot be built.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise PlanError(f"cannot read the table '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"the table '{path}' is not text in UTF-8: save it as UTF-8 ({error.reason})") from error
    except (ValueError, ArithmeticError, RecursionError) as error:  # not TOML, or no number fits
        raise PlanError(f"the table '{path}' is not TOML: {error}") from error
    _refuse_huge(path, content)
    sparsity = content.pop("sparsity", None)
    if not isinstance(sparsity, dict) or not sparsity:
        raise PlanError(f"the table '{path}' has no [sparsity] section: expected \"layer name\" = sparsity lines")
    claims = _claims(path, content)
    if architecture and claims.setdefault("model", architecture.name) != architecture.name:
        raise PlanError(
            f"the table '{path}' is for model '{claims['model']}', the workload has '{architecture.name}': name the "
            "workload it is for with --workload"
        )
    run = DocumentedRun(sparsity=_sparsities(path, sparsity), **claims)
    with torch.device("meta"):  # names and shapes are enough
        model = architecture.build() if architecture else build_model(run.model)
    plan = SparsityPlan(run.sparsity)
    plan.check_fits(model)
    _check_is_no_other(run, path)
    _check_is_no_fraction(run, path, plan, {name: weight.numel() for name, weight in model.named_parameters()})
    return run


def _check_is_no_fraction(run: DocumentedRun, path: Path, plan: SparsityPlan, numels: Mapping[str, int]) -> None:
    """Refuse a size that is a fraction: one under 1 % is allowed, unless the table comes to a hundred times as much."""
    claimed = run.size_percent
    if claimed is None or claimed.value > 1:
        return
    pruned = sum(pruned_count(numels[name], sparsity) for name, sparsity in plan.items())
    if claimed.agrees_with(1 - Decimal(pruned) / sum(numels.values())):
        raise _not_percent(path, "size_percent", claimed.value)


def _check_is_no_other(run: DocumentedRun, path: Path) -> None:
    """Refuse another table under a documented run's name, which brings its floors and its baselines."""
    documented = RUNS.get(run.name)
    if documented and (run.sparsity, run.model, run.epochs) != (
        documented.sparsity,
        documented.model,
        documented.epochs,
    ):
        raise PlanError(
            f"the table '{path}' is called '{run.name}', which is a documented run with other sparsities, model or "
            'epochs: give it another name, by its file or by name = "..." in it'
        )


def _sparsities(path: Path, section: dict[str, Any]) -> dict[str, float]:
    for name, value in section.items():
        if isinstance(value, dict):
            raise PlanError(
                f"the table '{path}' has the layer {_dotted(name, value)} without quotes: a name with dots needs them, "
                'as in "backbone.conv3.weight" = 0.65'
            )
        if isinstance(value, str):
            raise PlanError(f"sparsity of '{name}' must be a number in [0, 1], got {value!r}{_number_hint(value)}")
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in section.items()}


def _dotted(name: str, value: Any) -> str:
    """The first name that TOML's dots took apart, in one piece again."""
    while isinstance(value, dict) and value:
        inner, value = next(iter(value.items()))
        name = f"{name}.{inner}"
    return shown(name, most=100)


def _number_hint(text: str) -> str:
    try:
        number = float(text.strip().removesuffix("%").replace(",", "."))
    except ValueError:
        return ""
    meant = number / 100 if text.strip().endswith("%") or 1 < number <= 100 else number
    return f"; did you mean {meant:g}, without quotes?" if 0 <= meant <= 1 else ""


def _refuse_huge(path: Path, content: Any) -> None:
    """Refuse integers of thousands of digits, which Python does not print: no later error could name them."""
    if isinstance(content, int) and (bits := content.bit_length()) > MOST_BITS:
        raise PlanError(f"the table '{path}' holds an integer of {bits:,} bits: expected {MOST_BITS:,} at most")
    if isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            _refuse_huge(path, value)


def _claims(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = {"name": path.stem, "source": str(path.name)}
    for key, value in content.items():
        if (key in TEXTS and isinstance(value, str)) or (
            key in WHOLE_NUMBERS and isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63
        ):
            claims[key] = value
        elif key in FIGURES:
            claims[key] = _figure(path, key, value)
        elif key == "accuracy_by_epoch" and isinstance(value, list):
            claims[key] = tuple(_figure(path, key, entry) for entry in value)
        elif key in (*TEXTS, *WHOLE_NUMBERS, "accuracy_by_epoch"):
            expected = "text" if key in TEXTS else "a positive whole number" if key in WHOLE_NUMBERS else "a list"
            raise PlanError(f"'{key}' in the table '{path}' must be {expected}, got {value!r}")
        else:
            known = ("sparsity", *TEXTS, *WHOLE_NUMBERS, *FIGURES, "accuracy_by_epoch")
            raise PlanError(
                f"the table '{path}' has an unknown key '{key}': expected one of {', '.join(known)}"
                f"{did_you_mean(key, known)}"
            )
    return claims


def _figure(path: Path, key: str, value: Any) -> Cited:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not math.isfinite(float(Decimal(value))):
        raise PlanError(f"'{key}' in the table '{path}' must be a number, got {value!r}")
    if key in ACCURACIES and 0 < value < 1:  # less than one image in a hundred, where ten classes are
        raise _not_percent(path, key, value)
    if Decimal(value).as_tuple().exponent < -MOST_DECIMALS:  # type: ignore[operator]  # it is finite
        raise PlanError(f"'{key}' in the table '{path}' has more than {MOST_DECIMALS} decimals: {value}")
    return Cited(Decimal(value), path.name)


def _not_percent(path: Path, key: str, value: Decimal | int) -> PlanError:
    meant = Decimal(value).scaleb(2)
    return PlanError(
        f"'{key}' in the table '{path}' must be in percent, got {value}, a fraction; did you mean {meant:f}?"
    )
