"""Peak resident memory of an exact scan above the model and the data, for a batch size.

    python benchmarks/studies/scan_memory.py --batch 250

Two batches of random 32x32 images; the layers whose recomputation holds most. More images take no more.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path

import torch

from prunebench.data import ImageSet
from prunebench.layout import lay_out_
from prunebench.memory import keep_freed_memory
from prunebench.models import build_model
from prunebench.sensitivity import sensitivity_scan

LAYERS = [f"backbone.conv{index}.weight" for index in (0, 1, 2, 7)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=250)
    batch = parser.parse_args().batch
    keep_freed_memory()
    pixels = torch.randint(0, 256, (2 * batch, 3, 32, 32), dtype=torch.uint8)
    data = ImageSet(pixels.contiguous(memory_format=torch.channels_last), torch.zeros(2 * batch, dtype=torch.int64))
    model = lay_out_(build_model("vgg"), data)
    with torch.inference_mode():
        model.eval()(torch.rand(2, 3, 32, 32))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    sensitivity_scan(model, data, sparsities=(0.5, 0.9), layers=LAYERS, batch_size=batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"batch {batch}: {peak - before:,.0f} MiB above the {before:,.0f} MiB of interpreter, torch, model and data")


if __name__ == "__main__":
    main()
