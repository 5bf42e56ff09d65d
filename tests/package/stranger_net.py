"""A stranger's model and data: nothing here knows prunebench."""

import torch
from sklearn.datasets import load_digits
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


def load():
    digits = load_digits()
    images, targets = torch.tensor(digits.images).float()[:, None] / 16, torch.tensor(digits.target)
    return (images[:1200], targets[:1200]), (images[1200:], targets[1200:])
