"""The documented rules: how sparsity compounds, and how it is read off a sensitivity curve."""

from __future__ import annotations

from collections.abc import Mapping

from prunebench.errors import PlanError
from prunebench.planning.costs import Cost
from prunebench.planning.curves import Curves
from prunebench.pruning import compounded


def compounding(curves: Curves, *, max_drop: float, previous: Mapping[str, float] | None = None) -> dict[str, float]:
    """Each layer's sparsity: `compounded(previous, beta)`, with the beta that a scan of the pruned model allows.

    The document reads beta, the largest sparsity at which that layer alone loses at most `max_drop` points, off a scan
    of the pruned model, whose sparsities are absolute, and then takes it as a fraction of what is left. So where it
    prunes at all, it prunes more than was scanned: measure what it plans. A beta at which the scanned layer lost
    nothing because it was that sparse already is no reading, and is taken as 0.

    Args:
        previous: by layer; the sparsity of the scanned model where it is not given.

    Raises:
        PlanError: `previous` leaves a layer out, or has a sparsity outside [0, 1].
    """
    planned = {}
    for layer in curves.inventory.layers:
        if previous is not None and layer.name not in previous:
            raise PlanError(f"the previous table has no sparsity for '{layer.name}': give every layer one")
        before = layer.sparsity if previous is None else previous[layer.name]
        reading = curves[layer.name].largest_keeping(max_drop)
        planned[layer.name] = compounded(before, reading if reading > layer.sparsity else 0.0)
    return planned


def documented_reading(
    curves: Curves, *, max_drop: float, cost: Cost = "size", limit: float | None = None
) -> dict[str, float]:
    """Each layer at the largest scanned sparsity at which it alone loses at most `max_drop` points, the last first.

    Source: the documented runs, which prune later layers before earlier ones. Without a `limit` all layers are pruned;
    with one (bits, bytes or MACs of `cost`), only until the model costs no more, and the layers before stay as they
    are. The reading says nothing of how layers act together.

    Raises:
        PlanError: the limit is not met with all layers pruned; says what is reached.
    """
    inventory = curves.inventory
    planned = {layer.name: layer.sparsity for layer in inventory.layers}
    for layer in reversed(inventory.layers):
        if limit is not None and inventory.total(cost, inventory.kept(planned)) <= limit:
            return planned
        planned[layer.name] = curves[layer.name].largest_keeping(max_drop)
    reached = inventory.percent(cost, inventory.kept(planned))
    if limit is not None and inventory.total(cost, inventory.kept(planned)) > limit:
        wanted = 100 * limit / inventory.dense_total(cost)
        raise PlanError(
            f"{cost} {wanted:.2f} % of dense is not reached by layers that lose at most {max_drop:g} points each: "
            f"all of them give {reached:.2f} %; allow more points, or scan higher sparsities"
        )
    return planned
