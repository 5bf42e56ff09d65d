"""An adaptive scan or a decision replayed from the answers of an exact scan: no model is run.

For choosing a half-width before paying for it, and for measuring how often intervals hold and decisions are right.
"""

from __future__ import annotations

import numpy as np

from prunebench.errors import ScanError, UnknownNameError
from prunebench.sensitivity.adaptive.asking import ask_until_settled
from prunebench.sensitivity.adaptive.bounds import HalfWidth
from prunebench.sensitivity.adaptive.order import MINIMUM_WEIGHTS, order_of, unpacked_uncertainty
from prunebench.sensitivity.adaptive.stopping import OpenPoint, Settings, points_of
from prunebench.sensitivity.answers import unpacked
from prunebench.sensitivity.exact import BATCH_SIZE
from prunebench.sensitivity.scan import Mode, Scan


def replay(
    exact: Scan,
    adaptive: Scan,
    *,
    mode: Mode,
    half_width: HalfWidth | None = None,
    within: float = 1.0,
    confidence: float = 0.95,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Scan:
    """The scan that `sensitivity_scan` would have made with these settings, had every answer been as in `exact`.

    Args:
        adaptive: any adaptive scan or decision of the same model and images, such as one of a single point: it holds
            how uncertain the model is of each image.

    Raises:
        UnknownNameError: `mode` is neither `adaptive` nor `decision`.
        ScanError: a point of `exact` was not answered for every image, `adaptive` is no such scan, or a setting is out
            of range.
    """
    if mode not in MINIMUM_WEIGHTS:
        raise UnknownNameError("mode", mode, MINIMUM_WEIGHTS)
    settings = Settings(
        mode=mode, half_width=half_width or HalfWidth(), within=within, confidence=confidence, seed=seed
    )
    if adaptive.base_uncertainty is None or adaptive.base_bits != exact.base_bits:
        raise ScanError(
            f"a scan of mode {adaptive.mode} that does not say how uncertain this model is of each image: expected an "
            "adaptive scan or a decision of the same model and images"
        )
    try:
        uncertainty = unpacked_uncertainty(adaptive.base_uncertainty, exact.images)
    except ValueError as error:
        raise ScanError(f"the scan's base_uncertainty is damaged: {error}") from error
    order, points = order_of(mode, uncertainty, seed=seed), []
    for point in exact.points:
        if point.correct_bits is None:
            raise ScanError(f"{point.layer} at {point.sparsity:g} has {point.images:,} of {exact.images:,} answers: "
                            "only an exact scan can be replayed")  # fmt: skip
        answers = unpacked(point.correct_bits, exact.images).astype(np.int8)
        points.append(OpenPoint(layer=point.layer, sparsity=point.sparsity, answers=answers, order=order))
    base = unpacked(exact.base_bits, exact.images).astype(np.int8)
    ask_until_settled(lambda *_: None, points, base, settings, batch_size=batch_size)  # every answer is known
    found = {
        **settings.described(),
        "mode": mode,
        "seed": seed,
        "batch_size": batch_size,
        "base_uncertainty": adaptive.base_uncertainty,
        "points": points_of(points, base, settings),
    }
    return exact.model_copy(update=found)
