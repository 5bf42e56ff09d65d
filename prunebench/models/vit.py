"""A small vision transformer, for images of 16x16: attention, hermetic and quick to train."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class SmallViT(nn.Module):
    """Patches of 4x4, a class token, learned positions, pre-norm blocks of attention and MLP (Dosovitskiy et al. 2021).

    Input: float images (n, 3, size, size). Output: logits (n, classes).
    """

    def __init__(
        self, *, size: int = 16, patch: int = 4, width: int = 96, depth: int = 4, heads: int = 4, classes: int = 10
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Embedding((size // patch) ** 2 + 1, width)
        self.blocks = nn.Sequential(*(AttentionBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, 3, size, size)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), 1, -1), patches], dim=1) + self.positions.weight
        return cast(Tensor, self.head(self.norm(self.blocks(tokens)[:, 0])))


class AttentionBlock(nn.Module):
    """Self-attention, then an MLP four times as wide, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (n, length, width)."""
        split = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(split[0], split[1], split[2])
        tokens = tokens + self.projection(attended.transpose(1, 2).flatten(2))
        return tokens + cast(Tensor, self.contract(gelu(self.expand(self.norm2(tokens)))))
