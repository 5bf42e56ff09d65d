"""The picture of the shapes in docs/measurements/runs.md: four test images of each kind, in the order of the classes.

The command: `python benchmarks/studies/shapes_picture.py docs/plots/shapes.png`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from prunebench.data import load_shapes

ROWS, SCALE, GAP = 4, 3, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    data = load_shapes()
    images = data.test.inputs[: ROWS * len(data.classes)].repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
    framed = torch.nn.functional.pad(images, (GAP, GAP, GAP, GAP), value=255).permute(0, 2, 3, 1)
    rows = [torch.cat([*row], dim=1) for row in framed.unflatten(0, (ROWS, len(data.classes)))]
    Image.fromarray(torch.cat(rows).numpy()).save(options.output)
    print(", ".join(data.classes))


if __name__ == "__main__":
    main()
