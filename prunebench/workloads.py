"""Workloads: a data set, a model, a dense checkpoint and protocols, under one name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

from prunebench.data import Augmentation, Dataset, load_cifar10, load_digits, load_shapes
from prunebench.devices import Precision, seeded
from prunebench.environment import exact_fingerprint
from prunebench.errors import CheckpointError, DataError, UnknownNameError
from prunebench.files import cache_folder, printable, source_digest
from prunebench.layout import lay_out_
from prunebench.locks import alone
from prunebench.models import build_model, load_checkpoint_, read_metadata, save_state, state_digest
from prunebench.runs import DocumentedRun
from prunebench.training import TRAINING_SOURCES, Protocol, Training, TrainingProgress, train

UNDOCUMENTED_EPOCHS = 9
"""For a run whose epochs are not documented (run4): as many as for run5, the documented run nearest to it."""

COURSE_CHECKPOINT = "vgg.cifar.pretrained.pth"

DOCUMENTED_PROTOCOL = Protocol(
    epochs=5,
    batch_size=512,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    schedule="cosine_per_iteration",
    augmentation=Augmentation(crop_padding=4, flip=True),
)
"""Fine-tuning as documented (MIT 6.5940 Lab 1); the epochs are each run's own."""

DENSE_TRAINING_SOURCES = (*TRAINING_SOURCES, "layout.py", "workloads.py")
"""Where, below the package, stands what decides the bits of a dense model trained here."""

ImagesProgress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much fine-tuning to afford.

    Attributes:
        protocol: what is trained; its epochs count only where `documented_epochs` is False.
        documented_epochs: take each run's own number of epochs.
    """

    name: str
    protocol: Protocol
    documented_epochs: bool

    def protocol_for(self, run: DocumentedRun) -> Protocol:
        """The protocol that fine-tunes `run`."""
        if not self.documented_epochs:
            return self.protocol
        return replace(self.protocol, epochs=run.epochs or UNDOCUMENTED_EPOCHS)

    def is_documented(self, run: DocumentedRun) -> bool:
        """Whether `run` is fine-tuned as documented, to the last setting; anything else is not to be called so."""
        return run.epochs is not None and self.protocol_for(run) == replace(DOCUMENTED_PROTOCOL, epochs=run.epochs)


@dataclass(frozen=True, kw_only=True)
class DenseModel:
    """A trained dense model and where its weights came from.

    Attributes:
        origin: for people: a file's name, or how it was made.
        is_course_checkpoint: whether documented accuracies apply to it absolutely, on the data they are of.
    """

    model: nn.Module
    origin: str
    digest: str
    is_course_checkpoint: bool = False


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run is executed on.

    Attributes:
        dense_protocol: how `prunebench train` makes the dense checkpoint.
        trains_itself: make the dense checkpoint when there is none, rather than ask for one.
        budgets: by name; the first is the default.
        builtin: whether it is one of `WORKLOADS`.
        image_shape: channels, height, width.
    """

    name: str
    model: str
    load: Callable[[Path | None, ImagesProgress | None], Dataset]
    dense_protocol: Protocol
    trains_itself: bool
    budgets: Mapping[str, Budget]
    builtin: bool = True
    image_shape: tuple[int, int, int] = (3, 32, 32)

    def budget(self, name: str) -> Budget:
        """The budget called `name`.

        Raises:
            UnknownNameError: no such budget.
        """
        if name not in self.budgets:
            raise UnknownNameError("budget", name, self.budgets)
        return self.budgets[name]

    def dense_checkpoint(self, data: Dataset, *, seed: int = 0) -> Path:
        """Where this workload's own dense checkpoint is kept, by digest of what determines it."""
        parts = [self.model, asdict(self.dense_protocol), data.digest, seed]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return cache_folder() / "checkpoints" / f"{self.name}-{digest[:16]}.safetensors"

    def dense_model(
        self,
        data: Dataset,
        *,
        checkpoint: Path | None = None,
        device: torch.device | None = None,
        progress: TrainingProgress | None = None,
    ) -> DenseModel:
        """The dense model: from `checkpoint`, else the course's file in the cache, else the workload's own.

        A workload that trains itself does so again where its own was made by other code, or on another processor,
        device or number of threads: what a first run finds, with an empty cache, is what every run finds. Only another
        torch goes on from the same weights, so that what it changes in pruning and fine-tuning is seen alone.

        Raises:
            CheckpointError: the file is unusable, or there is none and this workload does not train by itself.
        """
        device = device or torch.device("cpu")
        course, own = cache_folder() / "checkpoints" / COURSE_CHECKPOINT, self.dense_checkpoint(data)
        if checkpoint is None and self.name == "cifar10" and course.is_file():
            checkpoint = course
        if checkpoint is None and own.is_file() and (not self.trains_itself or is_current(own, device)):
            checkpoint = own
        if checkpoint is None and not self.trains_itself:
            raise CheckpointError(
                f"no dense checkpoint for '{self.name}': give one with --checkpoint PATH, put the course's "
                f"{COURSE_CHECKPOINT} at '{course}', or make one with 'prunebench train --workload {self.name}'"
            )
        if checkpoint is None:
            with alone(cache_folder() / "training" / f"{own.stem}.lock"):  # of several processes one trains for all
                if not is_current(own, device):
                    train_dense(self, data, output=own, device=device, progress=progress)
            checkpoint = own
        model = build_model(self.model)
        notes = load_checkpoint_(model, checkpoint)
        return DenseModel(
            model=lay_out_(model.to(device), data.test),
            origin=f"{printable(checkpoint.name)} ({'; '.join(notes)})" if notes else printable(checkpoint.name),
            digest=state_digest(model.state_dict()),
            is_course_checkpoint=checkpoint.name == COURSE_CHECKPOINT and data.is_original and not notes,
        )


def is_current(checkpoint: Path, device: torch.device) -> bool:
    """Whether `train_dense` wrote this file by the code as it stands now, on this machine's `device`."""
    try:
        return _made_by(device).items() <= read_metadata(checkpoint).items()
    except CheckpointError:
        return False


def _made_by(device: torch.device) -> dict[str, str]:
    """What decides the bits of a dense model beside its recipe, but the versions of torch and of what comes with it."""
    versions = ("torch", "cuda", "cudnn")
    machine = {name: value for name, value in exact_fingerprint(device).items() if name not in versions}
    return {"code": source_digest(*DENSE_TRAINING_SOURCES), "machine": json.dumps(machine, sort_keys=True)}


def train_dense(
    workload: Workload,
    data: Dataset,
    *,
    output: Path,
    epochs: int | None = None,
    seed: int = 0,
    device: torch.device,
    precision: Precision = "fp32",
    progress: TrainingProgress | None = None,
) -> Training:
    """Train the workload's dense model from scratch by its recipe, resumably, and write the last epoch to `output`.

    The recipe's own place, `Workload.dense_checkpoint`, is for what the recipe makes: give other epochs or another
    precision another `output`.

    The last epoch and not the best: choosing by the test set would flatter the checkpoint that all else starts from.

    Raises:
        StorageError: `output` cannot be written.
    """
    with seeded(torch.device("cpu"), seed):
        model = build_model(workload.model)
    model = lay_out_(model.to(device), data.test)
    protocol = replace(workload.dense_protocol, epochs=epochs or workload.dense_protocol.epochs)
    training = train(
        model,
        data.train,
        protocol,
        selection=data.test,
        seed=seed,
        precision=precision,
        state_folder=cache_folder() / "training",
        progress=progress,
    )
    metadata = {
        "workload": workload.name,
        "protocol": json.dumps(asdict(protocol)),
        "data": data.digest,
        "seed": str(seed),
        "precision": precision,
        **_made_by(device),
        "accuracy": f"{training.last.evaluation.accuracy:.2f}",
    }
    save_state(training.last_state, output, metadata=metadata)
    training.discard()
    return training


def _needs_no_data(name: str, load: Callable[[], Dataset]) -> Callable[[Path | None, ImagesProgress | None], Dataset]:
    """Loads what needs no path: who names one meant other data."""

    def loaded(path: Path | None, _progress: ImagesProgress | None) -> Dataset:
        if path is not None:
            raise DataError(
                f"workload '{name}' reads no data, got '{path}': name the workload it is for (cifar10), or none"
            )
        return load()

    return loaded


_SHAPES_FINETUNING = replace(
    DOCUMENTED_PROTOCOL,
    epochs=2,
    batch_size=32,
    learning_rate=0.003,
    schedule="cosine",
    augmentation=Augmentation(crop_padding=1, flip=True),
    images_per_epoch=1024,
)
_DIGITS_FINETUNING = replace(
    DOCUMENTED_PROTOCOL, batch_size=64, augmentation=Augmentation(crop_padding=1, flip=False), images_per_epoch=384
)

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        workload.name: workload
        for workload in (
            Workload(
                name="shapes",
                model="vgg",
                image_shape=(3, 16, 16),
                load=_needs_no_data("shapes", load_shapes),
                dense_protocol=Protocol(
                    epochs=4,
                    batch_size=64,
                    learning_rate=0.012,
                    nesterov=True,
                    weight_decay=5e-4,
                    schedule="one_cycle",
                    augmentation=Augmentation(crop_padding=1, flip=True),
                ),
                trains_itself=True,
                budgets=MappingProxyType(
                    {
                        "quick": Budget(name="quick", protocol=_SHAPES_FINETUNING, documented_epochs=False),
                        "full": Budget(
                            name="full",
                            protocol=replace(_SHAPES_FINETUNING, images_per_epoch=None),
                            documented_epochs=True,
                        ),
                    }
                ),
            ),
            Workload(
                name="digits",
                model="vgg",
                image_shape=(3, 16, 16),
                load=_needs_no_data("digits", load_digits),
                dense_protocol=Protocol(
                    epochs=8,
                    batch_size=64,
                    learning_rate=0.05,
                    nesterov=True,
                    weight_decay=5e-4,
                    schedule="one_cycle",
                    augmentation=Augmentation(crop_padding=1, flip=False),  # a mirrored digit is another digit
                ),
                trains_itself=True,
                budgets=MappingProxyType(
                    {
                        "quick": Budget(name="quick", protocol=_DIGITS_FINETUNING, documented_epochs=True),
                        "full": Budget(
                            name="full",
                            protocol=replace(_DIGITS_FINETUNING, images_per_epoch=None),
                            documented_epochs=True,
                        ),
                    }
                ),
            ),
            Workload(
                name="cifar10",
                model="vgg",
                load=lambda path, progress: load_cifar10(path, progress=progress),
                dense_protocol=Protocol(
                    epochs=24,
                    batch_size=128,
                    learning_rate=0.1,
                    nesterov=True,
                    weight_decay=5e-4,
                    decay_weights_only=True,
                    schedule="one_cycle",
                    label_smoothing=0.1,
                    augmentation=Augmentation(crop_padding=4, flip=True),
                    averaging=0.998,
                ),
                trains_itself=False,
                budgets=MappingProxyType(
                    {
                        "quick": Budget(
                            name="quick",
                            protocol=replace(
                                DOCUMENTED_PROTOCOL, epochs=1, batch_size=64, schedule="cosine", images_per_epoch=3072
                            ),
                            documented_epochs=False,
                        ),
                        "full": Budget(name="full", protocol=DOCUMENTED_PROTOCOL, documented_epochs=True),
                    }
                ),
            ),
        )
    }
)


DEFAULT_WORKLOAD = "shapes"


def find_workload(name: str) -> Workload:
    """The workload called `name`.

    Raises:
        UnknownNameError: no such workload.
    """
    if name not in WORKLOADS:
        raise UnknownNameError("workload", name, WORKLOADS)
    return WORKLOADS[name]
