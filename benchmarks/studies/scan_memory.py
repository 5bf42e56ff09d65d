"""Peak resident memory of a scan above the model and the data, for a batch size.

    python benchmarks/studies/scan_memory.py --batch 250
    python benchmarks/studies/scan_memory.py --mode adaptive --images 10000 --precision bf16

Random 32x32 images, two batches of them by default; the layers whose recomputation holds most. More images take no more
in an exact scan; the other modes keep activations of all of them.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from typing import get_args

import torch

from prunebench.data import Examples
from prunebench.machine.devices import Precision
from prunebench.machine.layout import lay_out_
from prunebench.machine.memory import keep_freed_memory
from prunebench.models import build_model
from prunebench.sensitivity import Mode, sensitivity_scan

LAYERS = [f"backbone.conv{index}.weight" for index in (0, 1, 2, 7)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--images", type=int)
    parser.add_argument("--mode", choices=get_args(Mode), default="exact")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    options = parser.parse_args()
    batch, images = options.batch, options.images or 2 * options.batch
    keep_freed_memory()
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    data = Examples(pixels.contiguous(memory_format=torch.channels_last), torch.zeros(images, dtype=torch.int64))
    model = lay_out_(build_model("vgg"), data.fed(data.inputs[:1]))
    with torch.inference_mode():
        model.eval()(torch.rand(2, 3, 32, 32))
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    settings = {"layers": LAYERS, "batch_size": batch, "mode": options.mode, "precision": options.precision}
    sensitivity_scan(model, data, sparsities=(0.5, 0.9), **settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind = f"{options.mode} scan, {options.precision}, {images:,} images, batch {batch}"
    print(f"{kind}: {peak - before:,.0f} MiB above the {before:,.0f} MiB of interpreter, torch, model and data")


if __name__ == "__main__":
    main()
