"""Peak resident memory of gathering a criterion's evidence on the CIFAR VGG above the model and the data, and its time.

    python benchmarks/studies/evidence_memory.py taylor --examples 10000
    python benchmarks/studies/evidence_memory.py wanda --examples 10000

Random 32x32 images; memory and time do not depend on what they show. One criterion a process: a peak is a process's.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import torch

from prunebench.data import Examples
from prunebench.machine.layout import lay_out_
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import build_model
from prunebench.pruning import find_criterion, gather_evidence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("criterion")
    parser.add_argument("--examples", type=int, default=1_000)
    options = parser.parse_args()
    criterion = find_criterion(options.criterion)
    keep_freed_memory()
    pixels = torch.randint(0, 256, (options.examples, 3, 32, 32), dtype=torch.uint8)
    targets = torch.randint(0, 10, (options.examples,))
    data = Examples(pixels.contiguous(memory_format=torch.channels_last), targets)
    model = lay_out_(build_model("vgg"), data.fed(data.inputs[:1]))
    with torch.inference_mode():
        model.eval()(torch.rand(2, 3, 32, 32))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    start = time.perf_counter()
    gather_evidence(model, data, needs=criterion.needs, examples=options.examples)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{criterion.name}, {options.examples:,} examples: {peak - before:,.0f} MiB above the {before:,.0f} MiB of "
        f"interpreter, torch, model and data; {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
