"""Granularities by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prunebench.errors import UnknownNameError
from prunebench.pruning.granularities.channel import Channel
from prunebench.pruning.granularities.element import Element
from prunebench.pruning.granularities.granularity import Granularity

GRANULARITIES: Mapping[str, Granularity] = MappingProxyType({each.name: each for each in (Element(), Channel())})


def find_granularity(name: str) -> Granularity:
    """The granularity called `name`.

    Raises:
        UnknownNameError: no such granularity.
    """
    if name not in GRANULARITIES:
        raise UnknownNameError("granularity", name, GRANULARITIES)
    return GRANULARITIES[name]
