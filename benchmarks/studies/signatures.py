"""How far the signatures of equal trainings lie apart: where the tolerances of `prunebench.gate.signature` come from.

    python benchmarks/studies/floors.py --workload shapes --seeds 3       # once as it is, then with other threads and
    OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 python benchmarks/studies/floors.py --workload shapes --seeds 1
    python benchmarks/studies/signatures.py .prunebench/records           # instructions, then read all records

Records of one workload, recipe and run are trainings that should pass for one another, whatever their seed, dense
model, threads and instructions. Every pair of them is compared as the gate does. The proposed factor is the largest
that was seen, to the power 1.5: half as far again on a logarithmic scale. False alarms are counted by leaving each
record out: the factor comes from the others, and the record is judged against each of them.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tabulate import tabulate

from prunebench.gate.signature import CALIBRATED, CHECKS, Figures, figures, largest_factor
from prunebench.records import RunRecord, read_record

POWER = 1.5
"""Of the largest factor seen: what the tolerance is set to."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of records")
    options = parser.parse_args()
    paths = sorted(path for folder in options.folders for path in folder.rglob("*.json"))
    print(table(read_record(path) for path in paths if "scans" not in path.parts))


def table(records: Iterable[RunRecord]) -> str:
    """By workload, recipe and kind of figure: factors between equal trainings, and what follows from them."""
    families: dict[str, dict[str, list[Mapping[str, Figures]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.finetuning is not None:
            families[f"{record.workload}/{record.recipe}"][record.run].append(figures(record))
    rows = []
    for family, runs in sorted(families.items()):
        for kind in CHECKS:
            trainings = [[each[kind] for each in run] for run in runs.values()]
            factors = np.array(
                [largest_factor(*pair)[1] for run in trainings for pair in itertools.combinations(run, 2) if pair[0]]
            )
            if not len(factors):
                continue
            alarms, judged = left_out(trainings)
            in_force = getattr(CALIBRATED[family], kind) if family in CALIBRATED else float("nan")
            rows.append(
                [
                    family,
                    kind,
                    sum(map(len, trainings)),
                    len(factors),
                    *(f"{np.quantile(factors, share):.3f}" for share in (0.5, 0.95, 1)),
                    f"{factors.max() ** POWER:.3f}",
                    f"{in_force:g}",
                    int((factors > in_force).sum()),
                    f"{alarms} of {judged}",
                ]
            )
    headers = ["workload", "figure", "trainings", "pairs", "median", "95 %", "largest", "proposed", "in force",
               "outside", "left out: outside"]  # fmt: skip
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def left_out(runs: list[list[Figures]]) -> tuple[int, int]:
    """False alarms, and comparisons, where the factor comes from the trainings but one and judges that one."""
    alarms = judged = 0
    for run, index in ((each, index) for each in runs for index in range(len(each))):
        others = [
            [each for position, each in enumerate(trainings) if trainings is not run or position != index]
            for trainings in runs
        ]
        seen = [largest_factor(*pair)[1] for each in others for pair in itertools.combinations(each, 2)]
        if not seen:
            continue
        factors = [largest_factor(run[index], other)[1] for position, other in enumerate(run) if position != index]
        alarms += sum(factor > max(seen) ** POWER for factor in factors)
        judged += len(factors)
    return alarms, judged


if __name__ == "__main__":
    main()
