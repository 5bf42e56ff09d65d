"""Dense models of workloads: from a checkpoint, or trained by the workload's own recipe and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from prunebench.data import Dataset
from prunebench.errors import CheckpointError, ModelError, WorkloadError
from prunebench.machine.devices import Precision, model_device, seeded
from prunebench.machine.environment import ARITHMETIC, exact_fingerprint
from prunebench.machine.layout import lay_out_
from prunebench.models import (
    check_model,
    copied,
    in_float32,
    load_checkpoint_,
    read_metadata,
    save_state,
    state_digest,
    unwrapped,
)
from prunebench.storage.files import cache_folder, printable
from prunebench.storage.locks import alone
from prunebench.tasks import check_answers
from prunebench.training import Recipe, Training, TrainingProgress, train
from prunebench.workloads.workload import DENSE, Workload

COURSE_CHECKPOINT = "vgg.cifar.pretrained.pth"
"""The checkpoint that the documented runs started from."""


@dataclass(frozen=True, kw_only=True)
class DenseModel:
    """A trained dense model and where its weights came from.

    Attributes:
        origin: for people: a file's name, or how it was made.
        is_course_checkpoint: whether documented accuracies apply to it absolutely, on the data they are of.
        is_own: whether it was made by the recipe `dense` of its workload, as that stands now.
        source, licence: of published weights.
    """

    model: nn.Module
    origin: str
    digest: str
    is_course_checkpoint: bool = False
    is_own: bool = False
    source: str = ""
    licence: str = ""


def dense_recipe(workload: Workload) -> Recipe:
    """The recipe by which the workload trains its own dense model.

    Raises:
        WorkloadError: it does not say.
    """
    if DENSE not in workload.recipes:
        raise WorkloadError(f"workload '{workload.name}' has no recipe '{DENSE}': it says how to train a dense model")
    return workload.recipes[DENSE]


def own_checkpoint(workload: Workload, data: Dataset, *, seed: int = 0) -> Path:
    """The path of the workload's own dense model, by digest of what determines it but the machine.

    Raises:
        WorkloadError: it has no recipe for one.
    """
    parts = [workload.model, dense_recipe(workload).described, data.digest, seed]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "checkpoints" / f"{printable(workload.name)}-{digest[:16]}.safetensors"


def find_checkpoint(workload: Workload, data: Dataset, device: torch.device) -> Path | None:
    """The workload's checkpoint: the file it names, else its own in the cache, else None.

    A file that it names, that is not there, and that it can train, is None too. Its own is left out where it would be
    made anew: by other code, or on another processor, device or number of threads: what a first run finds, with an
    empty cache, is what every run finds. Only another torch goes on from the same weights, so that what it changes in
    pruning and fine-tuning is seen alone.
    """
    if (named := workload.checkpoint()) is not None:
        return None if workload.trains_itself and not named.exists() else named
    if DENSE not in workload.recipes:
        return None
    own = own_checkpoint(workload, data)
    return own if own.is_file() and (not workload.trains_itself or is_current(own, device)) else None


def dense_model(
    workload: Workload,
    data: Dataset,
    *,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    laid_out: bool = True,
    progress: TrainingProgress | None = None,
) -> DenseModel:
    """The dense model: from `checkpoint`, else as `find_checkpoint` finds it, else trained where the workload does so.

    Its memory layout is the fastest one for prunebench (`lay_out_`), or with `laid_out=False` as the model was built.

    Raises:
        CheckpointError: the file is unusable, or there is none and this workload does not train by itself.
        ModelError, DataError: the model cannot be built, pruned, or asked about these data.
    """
    path = checkpoint or find_checkpoint(workload, data, device or torch.device("cpu"))
    if path is None and workload.pretrained:
        model, note = in_float32(copied(check_model(built(workload))))  # a copy hides shared memory
        model = model.to(device or model_device(model))
        origin = "; ".join(filter(None, (workload.origin, note)))
        return _checked(workload, model, data, origin=origin, laid_out=laid_out)
    device = device or torch.device("cpu")
    if path is None:
        if not workload.trains_itself:
            raise CheckpointError(_no_checkpoint(workload))
        named = workload.checkpoint()
        path = _writable(named) if named else own_checkpoint(workload, data)
        with alone(cache_folder() / "training" / f"{path.stem}.lock"):  # of several processes one trains for all
            if not (path.exists() if named else is_current(path, device)):
                train_dense(workload, data, output=path, device=device, progress=progress)
    model = built(workload)
    notes = load_checkpoint_(model, path)
    model, note = in_float32(check_model(model))
    notes = (*notes, note) if note else notes
    known = workload.weights
    weights = known if known and known.file.name == path.name else None
    return replace(
        _checked(
            workload,
            model.to(device),
            data,
            origin=f"{printable(path.name)} ({'; '.join(notes)})" if notes else printable(path.name),
            laid_out=laid_out,
        ),
        is_course_checkpoint=path.name == COURSE_CHECKPOINT and data.is_original and not notes,
        is_own=DENSE in workload.recipes and path == own_checkpoint(workload, data),
        source=weights.source if weights else "",
        licence=weights.licence if weights else "",
    )


def _checked(workload: Workload, model: nn.Module, data: Dataset, *, origin: str, laid_out: bool) -> DenseModel:
    check_answers(model, data.test, task=workload.task)
    digest = state_digest(model.state_dict())
    if laid_out:
        lay_out_(model, data.test.fed(data.test.inputs[:1]))
    return DenseModel(model=model, origin=origin, digest=digest)


def _writable(named: Path) -> Path:
    """The path of a checkpoint that a workload names and that is trained first, checked to be .safetensors."""
    if named.suffix != ".safetensors":
        raise CheckpointError(
            f"'{named}' is not there, and would be trained: name it .safetensors, the format that is written"
        )
    return named


def _no_checkpoint(workload: Workload) -> str:
    wanted = f"no dense checkpoint for '{workload.name}': give one with --checkpoint PATH"
    if workload.name == "cifar10":
        course = cache_folder() / "checkpoints" / COURSE_CHECKPOINT
        wanted += f", put the course's {COURSE_CHECKPOINT} at '{course}'"
    if DENSE in workload.recipes:
        return f"{wanted}, or make one with 'prunebench train --workload {workload.name}'"
    return f"{wanted}, name it in the workload (checkpoint = ...), or add a recipe '{DENSE}' that trains one"


def built(workload: Workload) -> nn.Module:
    """The workload's model with fresh weights.

    Raises:
        ModelError: it cannot be built, or is none.
    """
    try:
        model = workload.build()
    except Exception as error:
        if type(error).__module__.startswith("prunebench."):
            raise
        raise ModelError(
            f"workload '{workload.name}' cannot build its model: {type(error).__name__}: {error}"
        ) from error
    try:
        unwrapped(model)
    except ModelError as error:
        raise ModelError(f"workload '{workload.name}': {error}") from None
    return model


def is_current(checkpoint: Path, device: torch.device) -> bool:
    """True where `train_dense` wrote this file by the code as it stands now, on this machine's `device`."""
    try:
        return _made_by(device).items() <= read_metadata(checkpoint).items()
    except CheckpointError:
        return False


def _made_by(device: torch.device) -> dict[str, str]:
    """Facts that decide a dense model's bits beside its recipe, but the versions of torch and of what comes with it."""
    versions = ("torch", "cuda", "cudnn")
    machine = {name: value for name, value in exact_fingerprint(device).items() if name not in versions}
    return {"arithmetic": str(ARITHMETIC), "machine": json.dumps(machine, sort_keys=True)}


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

    The recipe's own place, `own_checkpoint`, is for what the recipe makes: give other epochs or another precision
    another `output`.

    The last epoch and not the best: choosing by the test set would flatter the checkpoint that all else starts from.

    Raises:
        WorkloadError: the workload has no recipe `dense`.
        StorageError: `output` cannot be written.
    """
    recipe = dense_recipe(workload)
    if epochs:
        recipe = replace(recipe, epochs=epochs)
    with seeded(torch.device("cpu"), seed):
        model = built(workload)
    model = check_model(model).to(device)
    check_answers(model, data.test, task=workload.task)
    model = lay_out_(model, data.test.fed(data.test.inputs[:1]))
    training = train(
        model,
        data.train,
        recipe,
        selection=data.test,
        task=workload.task,
        seed=seed,
        precision=precision,
        state_folder=cache_folder() / "training",
        progress=progress,
    )
    metadata = {
        "workload": workload.name,
        "recipe": json.dumps(recipe.described),
        "data": data.digest,
        "seed": str(seed),
        "precision": precision,
        **_made_by(device),
        "accuracy": f"{training.last.evaluation.accuracy:.2f}",
    }
    save_state(training.last_state, output, metadata=metadata)
    training.discard()
    return training
