"""The public ResNets for CIFAR-10 in plain PyTorch: a model file as a user brings it, and an oracle of its counts.

    python tests/oracles/plain_resnet.py CIFAR10.tar.xz resnet20-12fca82f.th 20

prints how many of the 10,000 test images the dense model, and the model with every weight pruned by 0.5 and by 0.8, get
right. Architecture and weights: He et al. 2016, section 4.2, parameter-free shortcuts; trained by Yerlan Idelbayev.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.new = width - channels

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(inputs)))))
        if self.new:
            inputs = functional.pad(inputs[:, :, ::2, ::2], (0, 0, 0, 0, self.new // 2, self.new // 2))
        return functional.relu(outputs + inputs)


class Net(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks = (depth - 2) // 6
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = functional.relu(self.bn1(self.conv1(images)))
        return self.linear(self.layer3(self.layer2(self.layer1(features))).mean((2, 3)))


def resnet20() -> Net:
    return Net(20)


def resnet56() -> Net:
    return Net(56)


def loaded(path: str, depth: int, sparsity: float) -> Net:
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = Net(depth)
    model.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    for weight in model.parameters():
        if weight.dim() >= 2 and sparsity:
            smallest = weight.detach().abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())]
            weight.data.view(-1)[smallest] = 0
    return model.eval()


def right(model: Net, images: Tensor, labels: Tensor) -> Tensor:
    normalized = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.inference_mode():
        answers = [model(batch).argmax(1) for batch in normalized.split(500)]
    return torch.cat(answers) == labels


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("plain_pytorch", Path(__file__).with_name("plain_pytorch.py"))
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    images, labels = plain.test_images(sys.argv[1])
    for sparsity in (0, 0.5, 0.8):
        print(sparsity, int(right(loaded(sys.argv[2], int(sys.argv[3]), sparsity), images, labels).sum()))
