"""Every criterion and every pruning schedule at three totals: the cases, how each is run, and their floors.

Criteria are judged before fine-tuning, where they differ most; schedules prune by global magnitude and are judged after
it. All schedules have the same recipe and the same number of epochs a round.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean, variance
from typing import Any, Literal

from scipy.stats import t

from prunebench.documented.floors import Floor
from prunebench.documented.method import Method
from prunebench.documented.runs import Run
from prunebench.experiments.flow import Setting, prepare
from prunebench.experiments.requests import resolve
from prunebench.machine.devices import seeded
from prunebench.machine.layout import lay_out_
from prunebench.models import save_state
from prunebench.pruning import CRITERIA
from prunebench.pruning.schedules import find_pruning_schedule, pruning_schedule_names
from prunebench.storage.documents import read_document
from prunebench.training import TrainingProgress, train
from prunebench.workloads import RequestedRun, Workload, own_checkpoint
from prunebench.workloads.dense import built, dense_recipe

FLOORS = Path(__file__).with_name("floors.json")
CONFIDENCE, SEEDS = 0.999, 3
TOTALS, CHANNEL_TOTALS = (0.5, 0.8, 0.95), (0.1, 0.3, 0.5)
EVIDENCE_EXAMPLES = 200
ROUNDING = 0.5
"""Points that a floor is lower at least, one image of 200, for the rounding of processors that nobody measured on.

Nine cases of ResNet-20 were the same to the image with AVX2 and, by `ATEN_CPU_CAPABILITY=default`, without.
"""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much of a workload is used; None for all.

    Attributes:
        last: the layer that answers, which has no channels to prune.
        images: trained on, an epoch.
        epochs: of a round, more than one, for rewinding goes back to the first; None for the recipe's.
        without: criteria and schedules that do not fit it.
    """

    last: str
    test_images: int | None = None
    images: int | None = None
    epochs: int | None = None
    without: Mapping[str, str]


AMOUNTS: Mapping[str, Amount] = {
    "digits": Amount(last="classifier.weight", test_images=200, images=128, epochs=2, without={}),
    "digits-vit": Amount(last="head.weight", without={"bn_scale": "it has no batch norm"}),
    "cifar10-resnet20-padding": Amount(
        last="linear.weight", test_images=2000, images=1536, epochs=2,
        without={"weight-rewinding": "nobody has the early weights of the published checkpoint"},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """One criterion or pruning schedule at one total, on one workload."""

    workload: str
    kind: Literal["criterion", "schedule"]
    name: str
    total: float

    @property
    def id(self) -> str:
        """As the floors and pytest call it."""
        return f"{self.workload}/{self.name}-{self.total:g}"

    def method(self) -> Method:
        """By channel all layers lose the same share; else one threshold goes through all of them."""
        if self.kind == "schedule":
            takes_rounds = "rounds" in vars(find_pruning_schedule(self.name))
            settings = {"rounds": 2} if takes_rounds else {}
            rewound = {"rewind_to": 1} if self.name.endswith("rewinding") else {}
            return Method(allocation="global", total=self.total, pruning_schedule=self.name,
                          schedule_settings=settings | rewound)  # fmt: skip
        if CRITERIA[self.name].by_channel:
            last = {AMOUNTS[self.workload].last: 0.0}
            return Method(
                criterion=self.name, granularity="channel", allocation="uniform", total=self.total, limits=last
            )
        return Method(criterion=self.name, allocation="global", total=self.total, evidence_examples=EVIDENCE_EXAMPLES)

    @property
    def figure(self) -> Literal["accuracy_before", "change"]:
        """The figure that has a floor."""
        return "accuracy_before" if self.kind == "criterion" else "change"

    def run(self, setting: Setting, floors: Sequence[Floor] = ()) -> Run:
        """The run on a dense model."""
        method = self.method()
        needs_early = find_pruning_schedule(method.pruning_schedule).rewinds_weights
        asked = RequestedRun(
            name=f"{self.name}-{self.total:g}", workload=self.workload, method=method, floors=tuple(floors),
            early=early_weights(setting) if needs_early else None, source="benchmarks/methods",
        )  # fmt: skip
        return resolve(asked, setting.workload, setting.dense.model, setting.data, seed=setting.seed)


def cases(workload: str) -> Iterator[Case]:
    """All of a workload, cheap ones first."""
    for name, criterion in CRITERIA.items():
        for total in CHANNEL_TOTALS if criterion.by_channel else TOTALS:
            if name not in AMOUNTS[workload].without:
                yield Case(workload=workload, kind="criterion", name=name, total=total)
    for name in pruning_schedule_names():
        for total in TOTALS:
            if name not in AMOUNTS[workload].without:
                yield Case(workload=workload, kind="schedule", name=name, total=total)


def prepared(workload: Workload, amount: Amount, **options: Any) -> Setting:
    """The workload as the cases use it; `options` are those of `prunebench.experiments.flow.prepare`."""
    setting = prepare(workload, "quick", test_images=amount.test_images, **options)
    recipe = replace(setting.recipe, epochs=amount.epochs or setting.recipe.epochs, images_per_epoch=amount.images)
    return replace(setting, recipe=recipe)


class _Stop(TrainingProgress):
    def epoch_done(self, epoch: object, epochs: int) -> None:  # noqa: ARG002 - as the base says
        raise StopIteration


def early_weights(setting: Setting) -> Path:
    """The checkpoint of the weights after the first epoch of the dense training; made once."""
    path = own_checkpoint(setting.workload, setting.data, seed=setting.seed).with_suffix(".early.safetensors")
    if not path.exists():
        with seeded(setting.device, setting.seed):
            model = built(setting.workload)
        lay_out_(model, setting.data.test.fed(setting.data.test.inputs[:1]))
        recipe, few = dense_recipe(setting.workload), setting.data.test
        try:
            train(model, setting.data.train, recipe, selection=few, task=setting.workload.task, seed=setting.seed,
                  progress=_Stop())  # fmt: skip
        except StopIteration:
            save_state(model.state_dict(), path)
    return path


def floors_of(values: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """The floor of each case from the figures of its seeds, with the 95 % interval of their mean.

    A floor is the lower prediction limit for one more seed. So few seeds say little of a spread: it
    is the larger of the case's own and that of all cases of its kind and total, by whose seeds t goes.
    """
    values = {name: [round(value, 2) for value in found] for name, found in values.items()}
    known = {case.id: case for workload in AMOUNTS for case in cases(workload)}
    groups: dict[object, list[str]] = defaultdict(list)
    for name in values:
        case = known[name]
        groups[case.workload, case.kind, (TOTALS + CHANNEL_TOTALS).index(case.total)].append(name)
    found = {}
    for names in groups.values():
        freedom = sum(len(values[name]) - 1 for name in names)
        pooled = sum(variance(values[name]) * (len(values[name]) - 1) for name in names) / freedom
        for name in names:
            n, own, middle = len(values[name]), variance(values[name]), mean(values[name])
            half = float(t.ppf(0.975, n - 1)) * math.sqrt(own / n)
            away = max(ROUNDING, float(t.ppf(CONFIDENCE, freedom)) * math.sqrt(max(own, pooled) * (1 + 1 / n)))
            found[name] = {
                "n": n,
                "values": values[name],
                "interval": [round(middle - half, 2), round(middle + half, 2)],
                "least": math.floor(10 * (middle - away)) / 10,
            }
    return found


def kept_floors(path: Path = FLOORS) -> dict[str, dict[str, Any]]:
    """The content of `floors.json`, by case."""
    found: dict[str, dict[str, Any]] = read_document(path)["floors"] if path.exists() else {}
    return found


@cache
def _stored() -> dict[str, dict[str, Any]]:
    return kept_floors()


def floor(case: Case) -> Floor | None:
    """The floor of a case; None where none was measured, or so few seeds leave one that guards nothing."""
    kept = _stored().get(case.id)
    if kept is None or kept["least"] <= (0 if case.figure == "accuracy_before" else -100):
        return None
    return Floor(figure=case.figure, least=kept["least"], rule=f"floor of benchmarks/methods, {kept['n']} seeds")
