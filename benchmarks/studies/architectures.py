"""What holds of architectures that people have: pruning, multiply-accumulates and exact scans against plain code.

    python benchmarks/studies/architectures.py --keep rows.jsonl > table.md        # all of them, 500 images
    python benchmarks/studies/architectures.py resnet18 lstm --images 120          # these two

Models are built, not downloaded, and take small images, so that the answers of all points take seconds. Batch norm sees
some images first, and scores are centred, so that answers differ from image to image. What is compared:

- prune: the zeros of every prunable weight at 60 %, against a stable sort of the absolute values;
- MACs: their sum, against half of what `torch.utils.flop_counter` counts, less products of two activations (attention);
- scan: the answers of all points, bit for bit, against a loop that prunes a weight, runs every batch, and restores it;
- ratio: time of that loop over the scan's, of one thread's processor time, the least of up to three rounds of both, in
  turns. Six layers, evenly spaced, at two sparsities; both answer for the unpruned model too.

`--keep` adds a line a model to a file, and leaves out those that are in it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from prunebench.data import Examples, to_float
from prunebench.measure import count_macs
from prunebench.models import build_model, output_of, prunable_parameters
from prunebench.pruning import prune_
from prunebench.sensitivity import sensitivity_scan
from prunebench.sensitivity.answers import packed

CLASSES, LAYERS, SPARSITIES, BATCH = 10, 6, (0.5, 0.9), 250
ROUNDS, ENOUGH = 3, 15.0
"""At most so many rounds, and none more once so many seconds were measured."""

ATTENTION = ("bmm", "baddbmm", "scaled_dot_product")


def of_torchvision(name: str, **settings: Any) -> nn.Module:
    model: nn.Module = get_model(name, weights=None, num_classes=CLASSES, **settings)
    return model


def of_timm(name: str, **settings: Any) -> nn.Module:
    model: nn.Module = import_module("timm").create_model(name, num_classes=CLASSES, **settings)
    return model


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self, kind: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.layers = kind(3 * 32, 64, num_layers=2, batch_first=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Scores from the last row's state."""
        scores: Tensor = self.head(self.layers(images.transpose(1, 2).flatten(2))[0][:, -1])
        return scores


class Encoder(nn.Module):
    """torch's own transformer over rows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3 * 32, 64)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Scores from the rows' mean."""
        scores: Tensor = self.head(self.layers(self.embedding(images.transpose(1, 2).flatten(2))).mean(1))
        return scores


class Words(nn.Module):
    """Hugging Face's BERT; every fourth pixel of a channel is a word."""

    def __init__(self) -> None:
        super().__init__()
        transformers = import_module("transformers")
        config = transformers.BertConfig(vocab_size=256, num_labels=CLASSES, **SMALL)
        self.bert = transformers.BertForSequenceClassification(config)

    def forward(self, images: Tensor) -> Any:
        """An object with logits."""
        return self.bert(input_ids=(255 * images[:, 0, ::4]).long().flatten(1))


def of_transformers(kind: str, **settings: Any) -> nn.Module:
    transformers = import_module("transformers")
    config = getattr(transformers, f"{kind}Config")(num_labels=CLASSES, **settings)
    model: nn.Module = getattr(transformers, f"{kind}ForImageClassification")(config)
    return model


def perceptron() -> nn.Module:
    hidden = [layer for _ in range(5) for layer in (nn.Linear(512, 512), nn.ReLU(inplace=True))]
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 512), nn.ReLU(), *hidden, nn.Linear(512, CLASSES))


NARROW = {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [1, 1, 1, 1]}
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
MODELS: dict[str, tuple[str, int, Callable[[], nn.Module]]] = {
    "vgg": ("prunebench", 16, lambda: build_model("vgg")),
    "perceptron": ("torch.nn", 32, perceptron),
    "lstm": ("torch.nn", 32, lambda: Recurrent(nn.LSTM)),
    "gru": ("torch.nn", 32, lambda: Recurrent(nn.GRU)),
    "transformer encoder": ("torch.nn", 32, Encoder),
    **{
        name: ("torchvision", size, lambda name=name: of_torchvision(name))  # type: ignore[misc]
        for name, size in {
            "resnet18": 32, "resnet50": 32, "resnext50_32x4d": 32, "densenet121": 32,
            "efficientnet_b0": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "mnasnet1_0": 32,
            "regnet_y_400mf": 32, "shufflenet_v2_x1_0": 32, "squeezenet1_1": 32, "convnext_tiny": 32, "swin_t": 32,
        }.items()
    },
    "googlenet": ("torchvision", 32, lambda: of_torchvision("googlenet", init_weights=False)),
    "inception_v3": (
        "torchvision", 75, lambda: of_torchvision("inception_v3", init_weights=False, aux_logits=False)
    ),
    "vit_b_16": ("torchvision", 32, lambda: of_torchvision("vit_b_16", image_size=32)),
    **{
        name: ("timm", size, lambda name=name: of_timm(name))  # type: ignore[misc]
        for name, size in {
            "resnet10t": 32, "convmixer_1024_20_ks9_p14": 32, "poolformer_s12": 32, "ghostnet_100": 32, "repvgg_a0": 32,
            "mobilevit_xxs": 64, "edgenext_xx_small": 64,
        }.items()
    },
    **{
        name: ("timm", 32, lambda name=name: of_timm(name, img_size=32))  # type: ignore[misc]
        for name in ("vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s16_224", "resmlp_12_224")
    },
    "bert": ("transformers", 32, Words),
    "vit": ("transformers", 32, lambda: of_transformers("ViT", image_size=32, patch_size=8, **SMALL)),
    "resnet": ("transformers", 32, lambda: of_transformers("ResNet", **NARROW)),
}  # fmt: skip


def settled(model: nn.Module, images: Tensor) -> nn.Module:
    """In evaluation mode, no weight zero, batch norm's statistics from the images, scores zero on average."""
    with torch.no_grad():
        for weight in prunable_parameters(model).values():
            if not weight.any():  # heads that begin with zeros would answer nothing
                nn.init.normal_(weight, std=0.1)
        for _ in range(5):
            model.train()(images)
        scores = output_of(model.eval()(images)).mean(dim=0)
        biases = [one for one in model.parameters() if one.shape == scores.shape]
        if biases:
            biases[-1].sub_(scores)
    return model


def prunes_exactly(model: nn.Module, sparsity: float = 0.6) -> bool:
    pruned = copy.deepcopy(model)
    prune_(pruned, dict.fromkeys(prunable_parameters(model), sparsity))
    found = prunable_parameters(pruned)
    for name, weight in prunable_parameters(model).items():
        expected = weight.detach().flatten().clone()
        expected[expected.abs().argsort(stable=True)[: round(sparsity * weight.numel())]] = 0
        if not torch.equal(expected, found[name].detach().flatten()):
            return False
    return True


def counts_as_torch(model: nn.Module, images: Tensor) -> bool:
    counter = FlopCounterMode(display=False)
    with counter:
        copy.deepcopy(model).to("meta")(images[:1].to("meta"))
    counted = counter.get_flop_counts()["Global"]
    flops = sum(count for operation, count in counted.items() if not any(name in str(operation) for name in ATTENTION))
    return 2 * sum(count_macs(model, tuple(images.shape[1:])).values()) == flops


Answers = dict[tuple[str, float], str]


@torch.inference_mode()
def guessed(model: nn.Module, images: Tensor) -> Tensor:
    """The likeliest class of each image."""
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return torch.cat([output_of(model(batch)).argmax(dim=1) for batch in batches])


@torch.inference_mode()
def plain_loop(model: nn.Module, images: Tensor, labels: Tensor, layers: list[str]) -> Answers:
    """Which images are right, packed, with each layer at each sparsity, and of the model as it is."""

    def right() -> str:
        return packed((guessed(model, images) == labels).numpy())

    answers = {("", 0.0): right()}
    for name in layers:
        weight = model.get_parameter(name)
        kept = weight.detach().clone()
        for sparsity in SPARSITIES:
            count = round(sparsity * weight.numel())
            threshold = kept.abs().flatten().kthvalue(count).values
            weight.mul_(kept.abs() > threshold)
            answers[name, sparsity] = right()
            weight.copy_(kept)
    return answers


def row_of(name: str, images: int) -> dict[str, Any]:
    """What a line of the table says of one model."""
    library, size, build = MODELS[name]
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, size, size), generator=generator, dtype=torch.uint8)
    colours = torch.rand((images, 3, 1, 1), generator=generator)
    pixels = (pixels * colours).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    model = settled(build(), to_float(pixels[:64]))
    names = list(prunable_parameters(model))
    layers = [names[index] for index in sorted({round(at * (len(names) - 1) / (LAYERS - 1)) for at in range(LAYERS)})]
    guesses = guessed(model, to_float(pixels))
    chance = torch.randint(0, CLASSES, (images,), generator=generator)
    labels = torch.where(torch.rand(images, generator=generator) < 0.5, guesses, chance)
    data = Examples(pixels, labels)
    seconds: tuple[list[float], list[float]] = ([], [])
    while len(seconds[0]) < ROUNDS and sum(map(sum, seconds)) < ENOUGH:
        start = time.process_time()
        expected = plain_loop(model, to_float(pixels), labels, layers)
        between = time.process_time()
        scan = sensitivity_scan(model, data, layers=layers, sparsities=SPARSITIES, batch_size=BATCH)
        seconds[0].append(between - start)
        seconds[1].append(time.process_time() - between)
    found = {("", 0.0): scan.base_bits} | {(one.layer, one.sparsity): one.correct_bits for one in scan.points}
    changed = sum(one.lost + one.gained for one in scan.points) / images / len(scan.points)
    return {
        "model": name,
        "library": library,
        "image": size,
        "weights": len(names),
        "prune": prunes_exactly(model),
        "MACs": counts_as_torch(model, to_float(pixels[:1])),
        "scan": expected == found,
        "changed %": round(100 * changed, 1),
        "way": scan.recomputed,
        "plain s": round(min(seconds[0]), 2),
        "scan s": round(min(seconds[1]), 2),
        "ratio": math.floor(100 * min(seconds[0]) / min(seconds[1])) / 100,
        "images": images,
    }


def rows(names: list[str], images: int, keep: Path | None) -> Iterator[dict[str, Any]]:
    known = [json.loads(line) for line in keep.read_text().splitlines()] if keep and keep.exists() else []
    for name in names:
        row = next((one for one in known if (one["model"], one["images"]) == (name, images)), None)
        if row is None:
            row = row_of(name, images)
            if keep:
                with keep.open("a") as file:
                    file.write(json.dumps(row) + "\n")
        yield row


def table(found: list[dict[str, Any]]) -> str:
    words = {True: "equal", False: "DIFFERS"}
    cells = [{key: words[value] if isinstance(value, bool) else value for key, value in row.items()} for row in found]
    return tabulate(cells, headers="keys", tablefmt="pipe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[], choices=[*MODELS, []], metavar="MODEL")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(table(list(rows(options.models or list(MODELS), options.images, options.keep))))


if __name__ == "__main__":
    main()
