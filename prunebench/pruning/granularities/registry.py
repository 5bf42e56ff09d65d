"""Granularities by name: prunebench's own, installed packages', and a user's own classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from prunebench.errors import PlanError, PrunebenchError
from prunebench.pruning.granularities.block import Block
from prunebench.pruning.granularities.channel import Channel
from prunebench.pruning.granularities.coupled import CoupledChannel
from prunebench.pruning.granularities.element import Element
from prunebench.pruning.granularities.granularity import Granularity
from prunebench.pruning.granularities.nm import NM
from prunebench.storage.imports import entry_point_names, load_extension

GROUP = "prunebench.granularities"
"""The entry-point group in which packages name granularities of theirs."""

GRANULARITIES: Mapping[str, Granularity] = MappingProxyType(
    {each.name: each for each in (Element(), Channel(), CoupledChannel())}
)
EXAMPLES = ("2:4", "block4x1")
"""Names that stand for all of their form: N:M and blockRxC."""


def granularity_names() -> list[str]:
    """Prunebench's own granularities, examples of those with numbers in their names, and installed packages'."""
    return [*dict.fromkeys([*GRANULARITIES, *EXAMPLES, *entry_point_names(GROUP)])]


def find_granularity(name: str | Granularity, *, folder: Path | None = None) -> Granularity:
    """The granularity called `name`, or the class `package.module:name`; `folder` is where modules are looked for.

    Raises:
        UnknownNameError: no such granularity.
        ImportedNameError: it cannot be imported.
        PlanError: numbers in the name that make no sense, or what is called so is no granularity.
    """
    if isinstance(name, Granularity):
        return name
    if own := _own(name):
        return own
    made = load_extension(name, kind="granularity", group=GROUP, known=[*GRANULARITIES, *EXAMPLES], folder=folder)
    if not isinstance(made, Granularity):
        raise PlanError(f"'{name}' is no granularity: expected a class with prunebench.Granularity as its base")
    return made


def known_granularity(name: str) -> Granularity | None:
    """The granularity that a record calls `name`; None where it is not known here.

    Nothing is imported because a record says `package.module:name`.
    """
    try:
        return find_granularity(name) if name in entry_point_names(GROUP) else _own(name)
    except PrunebenchError:
        return None


def _own(name: str) -> Granularity | None:
    if found := re.fullmatch(r"(\d{1,9}):(\d{1,9})", name, re.ASCII):
        return NM(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"block(\d{1,9})x(\d{1,9})", name, re.ASCII):
        return Block(int(found[1]), int(found[2]))
    return GRANULARITIES.get(name)
