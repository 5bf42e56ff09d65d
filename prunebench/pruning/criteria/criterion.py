"""The base of a criterion. Which units its scores then prune is a granularity's to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from prunebench.errors import PlanError
from prunebench.pruning.evidence import Evidence, Need
from prunebench.pruning.granularities.granularity import Aggregation


class Criterion:
    """A rule that says how important each element of a weight is; the least important are pruned first.

    A criterion of one's own is a subclass with `name` and either `score`, of one weight, or `scores`, of all.

    Attributes:
        name: as records, TOML files and the command line call it.
        needs: the fields of `Evidence` that it reads.
        aggregation: of a unit of several elements, such as a channel.
        by_channel: True where scores are of whole output channels, (out,), and not of elements.
    """

    name: str
    needs: frozenset[Need] = frozenset()
    aggregation: Aggregation = "l2"
    by_channel: bool = False

    def scores(self, model: nn.Module, names: Sequence[str], evidence: Evidence) -> Mapping[str, Tensor]:
        """The scores of the weights called `names`, each of the weight's shape: floats of either sign, no NaN.

        Raises:
            PlanError: `evidence` does not hold what it needs.
        """
        weights = dict(model.named_parameters())
        return _ByLayer(names, lambda name: self.score(name, weights[name].detach(), evidence))

    def score(self, name: str, weight: Tensor, evidence: Evidence) -> Tensor:
        """The scores of one weight, on its device or the CPU."""
        raise NotImplementedError(f"criterion '{self.name}' has neither score nor scores")


class _ByLayer(Mapping[str, Tensor]):
    """Scores that are computed each time they are asked for: a model's at once take as much memory as its weights."""

    def __init__(self, names: Sequence[str], score: Callable[[str], Tensor]) -> None:
        self._names, self._score = names, score

    def __getitem__(self, name: str) -> Tensor:
        return self._score(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # and computes no score for it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def scores_of(
    criterion: Criterion, model: nn.Module, names: Sequence[str], evidence: Evidence | None
) -> Mapping[str, Tensor]:
    """The scores that `criterion` gives the weights called `names`; without evidence by an empty one.

    Raises:
        PlanError: it leaves one out. Or, here or as scores are read, as `Criterion.scores`.
    """
    found = criterion.scores(model, names, evidence or Evidence())
    if missing := set(names) - set(found):
        raise PlanError(f"criterion '{criterion.name}' gives no scores of '{min(missing)}'")
    return found
