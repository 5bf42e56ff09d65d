"""Sizes of one model in many formats, from counts where those suffice: what a nominal size would really take."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunebench.measure.sizes import BITS
from prunebench.models import as_safetensors
from prunebench.packing.encodings import import_zstandard
from prunebench.packing.pack import packed_bytes

INDEX_BITS = 32
"""Of an index in COO and CSR, as scipy has them."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers of batch norm: in a file, but not in a nominal size."""

NOMINAL, DENSE, COO, CSR, BITMAP, GAPS, BOUND, GZIP, ZSTD, PACKED = (
    *("nominal: nonzeros alone", "dense: safetensors"),
    *("COO", "CSR", "bitmap", "gap codes (Rice)", "entropy bound"),
    *("dense, gzip", "dense, zstd", "packed"),
)

BREAK_EVEN = {
    COO: BITS / (BITS + 2 * INDEX_BITS),
    CSR: BITS / (BITS + INDEX_BITS),
    BITMAP: 1 - 1 / BITS,
    GAPS: 1 - 1 / BITS,  # where most gaps are 0, the best Rice code is the bitmap
    **dict.fromkeys((BOUND, GZIP, ZSTD, PACKED), 1.0),
}
"""Density below which a format takes less than dense float32. Compressors also shorten the values: at any density."""


@dataclass(frozen=True, kw_only=True)
class Weight:
    """Counts of a weight of two or more dimensions.

    Attributes:
        rows: its first length; all others are the columns of one matrix.
        bits: of an element.
        gap_bits: of its positions in gap codes; None where they are not known.
    """

    elements: int
    nonzeros: int
    rows: int
    bits: int = BITS
    gap_bits: int | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> Weight:
        """The counts of a tensor; -0.0 counts as a zero, as in a nominal size."""
        kept = _nonzero(tensor).reshape(-1).cpu().numpy()
        return cls(
            elements=tensor.numel(),
            nonzeros=int(kept.sum()),
            rows=tensor.shape[0],
            bits=8 * tensor.element_size(),
            gap_bits=_rice_bits(np.diff(np.flatnonzero(kept), prepend=-1) - 1),
        )

    def sizes(self) -> dict[str, float]:
        """Bits by format: of positions and values; never more than dense."""
        values = self.nonzeros * self.bits
        positions = {
            COO: self.nonzeros * 2 * INDEX_BITS,
            CSR: self.nonzeros * INDEX_BITS + (self.rows + 1) * INDEX_BITS,
            BITMAP: self.elements,
            **({GAPS: self.gap_bits} if self.gap_bits is not None else {}),
            BOUND: self.elements * _entropy(self.nonzeros / self.elements) if self.elements else 0,
        }
        return {name: min(self.elements * self.bits, bits + values) for name, bits in positions.items()}


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Bytes of a model by format, each of the whole file: weights as the format has them, everything else dense.

    Raises:
        CheckpointError: there is no such safetensors file, or something in it is no plain tensor.
        MissingExtraError: the extra `pack` is not installed.
    """
    dense = as_safetensors(state)
    nominal = sum(
        int(_nonzero(tensor).sum()) * tensor.element_size()
        for name, tensor in state.items()
        if not name.endswith(STATISTICS)
    )
    weights = [Weight.of(tensor) for tensor in state.values() if tensor.dim() >= 2]
    return {
        **sizes_from_counts(weights, dense=len(dense), nominal=nominal),
        GZIP: len(gzip.compress(dense, 6, mtime=0)),
        ZSTD: len(import_zstandard().ZstdCompressor().compress(dense)),
        PACKED: packed_bytes(state),
    }


def sizes_from_counts(weights: Iterable[Weight], *, dense: int, nominal: int) -> dict[str, int]:
    """Bytes of a model by format, for those that follow from counts; `dense` and `nominal` are bytes too."""
    weights = list(weights)
    others = dense - sum(weight.elements * weight.bits // 8 for weight in weights)
    found = {NOMINAL: nominal, DENSE: dense}
    for weight in weights:
        for name, bits in weight.sizes().items():
            found[name] = found.get(name, others) + math.ceil(bits / 8)
    return found


def _nonzero(tensor: Tensor) -> Tensor:
    return (tensor.double() if tensor.is_floating_point() else tensor) != 0  # torch cannot compare every float8


def _entropy(density: float) -> float:
    """Bits an element that say where the nonzeros are, if each is one with this chance (Shannon 1948)."""
    return sum(-share * math.log2(share) for share in (density, 1 - density) if share > 0)


def _rice_bits(gaps: NDArray[np.intp]) -> int:
    """Bits of gaps in a Rice code (Golomb 1966, Rice 1979) with the best of its parameters near the mean gap."""
    about = int(math.log2(gaps.mean() + 1)) if len(gaps) else 0
    return min(int((gaps >> k).sum()) + len(gaps) * (k + 1) for k in range(max(about - 1, 0), about + 2))
