"""scikit-learn's 1,797 handwritten digits, in the shape of a small colour data set: needs no download."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from prunebench.data.examples import Dataset, Examples

SIZE = 16
TEST_IMAGES = 600
SPLIT_SEED = 0


def load_digits() -> Dataset:
    """1,197 training and 600 test images, 16x16 RGB (the three channels alike), split once and for all.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (1998), as shipped with scikit-learn: 8x8
    images with values 0 to 16, enlarged here bilinearly because the VGG halves an image four times.
    """
    from sklearn.datasets import load_digits as load_bundled  # a second to import, and only this workload needs it

    bundled = load_bundled()
    small = torch.from_numpy(bundled.images).float()[:, None] * (255 / 16)
    large = interpolate(small, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    everything = Examples(images, torch.from_numpy(bundled.target).long())
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(SPLIT_SEED))
    return Dataset(
        name="digits",
        train=everything.take(order[TEST_IMAGES:].sort().values),
        test=everything.take(order[:TEST_IMAGES].sort().values),
        classes=tuple(str(digit) for digit in bundled.target_names),
        origin="scikit-learn",
    )
