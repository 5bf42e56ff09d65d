"""Sparsity plans: the fraction of each prunable parameter to prune, absolute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from prunebench.errors import PlanError, UnknownNameError
from prunebench.models import prunable_parameters
from prunebench.pruning.selection import as_sparsity


def compounded(previous: float, beta: float) -> float:
    """The absolute sparsity after pruning the fraction `beta` of what `previous` left: 0.75 and 0.8 make 0.95.

    Source: the documented runs, where beta is read off a curve of the pruned model.
    """
    previous, beta = as_sparsity(previous), as_sparsity(beta)
    return previous + (1 - previous) * beta


class SparsityPlan(Mapping[str, float]):
    """Sparsity by parameter name, every value a real number in [0, 1] (`as_sparsity`).

    Sparsity is absolute: the fraction of all elements that are zero afterwards, never a fraction of what remains.

    Raises:
        PlanError: a sparsity outside [0, 1] or not a number, naming the parameter and the value.
    """

    def __init__(self, sparsity: Mapping[str, float]) -> None:
        self._sparsity = {name: as_sparsity(value, name=name) for name, value in sparsity.items()}

    def __getitem__(self, name: str) -> float:
        return self._sparsity[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sparsity)

    def __len__(self) -> int:
        return len(self._sparsity)

    def __repr__(self) -> str:
        return f"SparsityPlan({self._sparsity})"

    def check_fits(self, model: nn.Module) -> None:
        """Check that the plan lists exactly the model's prunable parameters.

        Raises:
            UnknownNameError: it lists one that the model has not.
            PlanError: it leaves one out (0 keeps a layer dense, and says so).
        """
        prunable = prunable_parameters(model)
        for name in self:
            if name not in prunable:
                raise UnknownNameError("layer", name, prunable)
        if missing := [f"'{name}'" for name in prunable if name not in self]:
            raise PlanError(
                f"sparsity plan does not list {', '.join(missing)}: give every layer a sparsity, 0 keeps it dense"
            )
