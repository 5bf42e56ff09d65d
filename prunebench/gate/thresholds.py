"""The limits of a comparison with a baseline. Floors, which need no baseline, are in `floors`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prunebench.errors import ThresholdError

SEED_DEVIATIONS = 4
"""How many standard deviations of the difference of two trainings the seed may make."""

SEED_STANDARD_DEVIATION: Mapping[float, float] = MappingProxyType({0.5: 0.21, 0.1: 0.33, 0.05: 0.36, 0.0: 0.66})
"""Points that the accuracy of one training has from seed to seed, by the least density it is for.

Measured on 22,590 public retrainings of pruned networks. Between 10 and 50 % density they give 0.27 to 0.33: the
largest is taken.
"""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits at which a comparison with a baseline fails. Source of each rule: docs/explanation/gate.md.

    Attributes:
        alpha: one-sided probability of a false alarm, over all paired accuracy tests of one call (Holm); apart
            from them, for each kept epoch, over its groups of seeds (Bonferroni).
        margin: points of accuracy; a smaller drop never fails.
        power: probability with which the printed smallest effect would have failed.
        seed_spread: points by which two trainings that differ in nothing but rounding or seed may lie apart; a
            single-seed comparison fails at `margin + seed_spread` only. None goes by density: `seed_spread_at`.
        time_ratio: new over old seconds; a smaller ratio never fails.
        time_minimum_seconds: seconds; a smaller difference never fails.
        times: whether times are judged at all.

    Raises:
        ThresholdError: a value outside its range.
    """

    alpha: float = 0.01
    margin: float = 0.5
    power: float = 0.9
    seed_spread: float | None = None
    time_ratio: float = 1.5
    time_minimum_seconds: float = 0.05
    times: bool = True

    def __post_init__(self) -> None:
        allowed = {
            "alpha": (0 < self.alpha < 0.5, "between 0 and 0.5"),
            "margin": (0 < self.margin < 100, "between 0 and 100 points"),
            "power": (0.5 <= self.power < 1, "at least 0.5 and below 1"),
            "seed_spread": (0 <= (self.seed_spread or 0) < 100, "at least 0 and below 100 points"),
            "time_ratio": (1 < self.time_ratio < math.inf, "above 1"),
            "time_minimum_seconds": (0 <= self.time_minimum_seconds < math.inf, "at least 0"),
        }
        for name, (is_allowed, expected) in allowed.items():
            if not is_allowed:
                raise ThresholdError(f"{name} must be {expected}, got {getattr(self, name)!r}")

    def seed_spread_at(self, density: float) -> float:
        """Points, for a model of this density (0..1): `SEED_DEVIATIONS` standard deviations of a difference.

        `seed_spread` itself where it was set.
        """
        if self.seed_spread is not None:
            return self.seed_spread
        deviation = next(value for least, value in SEED_STANDARD_DEVIATION.items() if density >= least)
        return SEED_DEVIATIONS * math.sqrt(2) * deviation


DEFAULTS = Thresholds()
