"""The training loop: masks hold, the best epoch is kept, and a stopped training ends as one that was never stopped.

Run as a script, this file is the process that one test kills: it trains, says so, and waits to be killed.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prunebench.data import Augmentation, Examples
from prunebench.errors import CheckpointError, MaskError, StorageError, TrainingError
from prunebench.machine.environment import ARITHMETIC
from prunebench.models import state_digest
from prunebench.pruning import Masks
from prunebench.tasks.evaluation import Evaluation, evaluate
from prunebench.training import Epoch, LearningRateSchedule, Recipe, Training, TrainingProgress, train

pytestmark = pytest.mark.usefixtures("one_thread")


RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=0.05, weight_decay=1e-2, augmentation=Augmentation())
LOOP = importlib.import_module("prunebench.training.train")  # its name in the package is the function's
STEPS = 3
"""Batches in an epoch of `DATA`, the last one smaller."""


def random_images(n: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return Examples(
        images.contiguous(memory_format=torch.channels_last), torch.randint(0, 4, (n,), generator=generator)
    )


DATA, SELECTION = random_images(40, seed=1), random_images(60, seed=2)


def conv_model(seed: int = 0) -> nn.Sequential:
    """Convolutions in channels_last, batch norm with its buffers, and dropout, which draws numbers of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32, 4),
        ]
        return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def half_masks(model: nn.Module) -> Masks:
    """The smaller half of every weight pruned."""
    weights = {name: p.detach().abs() for name, p in model.named_parameters() if p.dim() >= 2}
    return Masks({name: weight > weight.median() for name, weight in weights.items()})


def fine_tune(
    recipe: Recipe,
    folder: Path | None = None,
    progress: TrainingProgress | None = None,
    *,
    model: nn.Module | None = None,
    seed: int = 7,
    data: Examples = DATA,
) -> Training:
    """Train the half-pruned model under its masks."""
    model = model if model is not None else conv_model()
    masks = half_masks(model)
    masks.apply_(model)
    training = train(
        model, data, recipe, selection=SELECTION, seed=seed, masks=masks, state_folder=folder, progress=progress
    )
    training.discard()
    return training


class StopAfter(TrainingProgress):
    """Stops as Ctrl-C does: after a whole epoch, or after `step` batches of the one that follows it."""

    def __init__(self, epoch: int, step: int = 0) -> None:
        self.epoch, self.batches = epoch, step

    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        if epoch == self.epoch + 1 and images >= self.batches * RECIPE.batch_size > 0:
            raise KeyboardInterrupt

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        if epoch.number == self.epoch and self.batches == 0:
            raise KeyboardInterrupt


def stop(recipe: Recipe, folder: Path, *, after: int, step: int = 0) -> None:
    with pytest.raises(KeyboardInterrupt):
        fine_tune(recipe, folder, StopAfter(after, step))


def stopped_state(folder: Path) -> Path:
    """The file of a training stopped after its second epoch."""
    stop(RECIPE, folder, after=2)
    (path,) = folder.iterdir()
    return path


def copy_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def assert_same_to_the_byte(expected: Training, actual: Training) -> None:
    for name in ("last_state", "best_state"):
        wanted, got = getattr(expected, name), getattr(actual, name)
        for key, tensor in wanted.items():
            assert tensor.numpy().tobytes() == got[key].numpy().tobytes(), f"{key} of {name}"
        assert state_digest(wanted) == state_digest(got)
    assert [epoch.loss for epoch in expected.epochs] == [epoch.loss for epoch in actual.epochs]
    for before, after in zip(expected.epochs, actual.epochs, strict=True):
        assert before.number == after.number
        assert before.evaluation.digest == after.evaluation.digest
        assert before.evaluation.correct_bits == after.evaluation.correct_bits


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_pruned_weights_are_zero_after_every_step_and_every_epoch(averaging: float) -> None:
    model = conv_model()
    masks, seen = half_masks(model), list[str]()

    class Check(TrainingProgress):
        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            masks.check(model)
            seen.append("step")

        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            masks.check(model)
            seen.append("epoch")

    training = fine_tune(replace(RECIPE, averaging=averaging), progress=Check(), model=model)
    assert ["step"] * STEPS + ["epoch"] == seen[: STEPS + 1]
    assert RECIPE.epochs == seen.count("epoch")
    for state in (training.best_state, training.last_state, model.state_dict()):
        for name, mask in masks.items():
            assert 0 == int(state[name][~mask].count_nonzero()), name
            assert 0 < int(state[name][mask].count_nonzero()), name


def test_masks_zero_a_model_that_was_not_pruned_before() -> None:
    model = conv_model()
    masks = half_masks(model)
    train(model, DATA, RECIPE, selection=SELECTION, seed=0, masks=masks)
    masks.check(model)


def test_masks_of_another_model_are_refused() -> None:
    model = conv_model()
    with pytest.raises(MaskError, match=r"no parameter '99\.weight'"):
        train(model, DATA, RECIPE, selection=SELECTION, seed=0, masks=Masks({"99.weight": torch.ones(1).bool()}))


def scripted(counts: list[int]) -> Callable[..., Evaluation]:
    """An `evaluate` that gets so many images right, one call after another."""
    left = iter(counts)

    def answer(model: nn.Module, data: Examples, **_: object) -> Evaluation:
        correct = torch.arange(len(data)) < next(left)
        return Evaluation(answers=torch.zeros(len(data)).long(), correct=correct, seconds=0.0)

    return answer


@pytest.mark.parametrize(
    ("counts", "best"), [([3, 5, 5, 2], 2), ([0, 0, 0, 0], 1), ([1, 2, 3, 4], 4), ([9, 5, 9, 2], 1)]
)
def test_the_best_epoch_is_the_earliest_of_those_with_most_right_and_its_state_is_kept_with_buffers(
    monkeypatch: pytest.MonkeyPatch, counts: list[int], best: int
) -> None:
    monkeypatch.setattr(LOOP, "evaluate", scripted(counts))
    model, states = conv_model(), list[dict[str, Tensor]]()

    class Watch(TrainingProgress):
        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            states.append(copy_of(model.state_dict()))

    training = fine_tune(RECIPE, progress=Watch(), model=model)
    assert (best, 4) == (training.best.number, training.last.number)
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= set(training.best_state)
    assert 4 == len({state_digest(state) for state in states})
    assert state_digest(states[best - 1]) == state_digest(training.best_state)
    assert state_digest(states[3]) == state_digest(training.last_state)
    assert state_digest(training.best_state) == state_digest(model.state_dict())


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_the_model_is_left_with_the_best_weights_and_answers_as_its_best_epoch_did(averaging: float) -> None:
    model = conv_model()
    training = fine_tune(replace(RECIPE, averaging=averaging), model=model)
    assert max(epoch.evaluation.accuracy for epoch in training.epochs) == training.best.evaluation.accuracy
    assert training.best.evaluation.digest == evaluate(model, SELECTION).digest
    other = conv_model(seed=5)
    other.load_state_dict(training.best_state)
    assert training.best.evaluation.correct_bits == evaluate(other, SELECTION).correct_bits
    other.load_state_dict(training.last_state)
    assert training.last.evaluation.correct_bits == evaluate(other, SELECTION).correct_bits


def test_training_lowers_the_loss_and_learns_what_can_be_learned() -> None:
    labels = torch.arange(64) % 4
    images = (labels * 60 + 20).to(torch.uint8)[:, None, None, None].expand(64, 3, 8, 8).contiguous()
    data = Examples(images, labels)
    recipe = Recipe(epochs=15, batch_size=16, learning_rate=0.1, augmentation=None)
    training = train(conv_model(), data, recipe, selection=data, seed=0)
    assert training.last.loss < training.epochs[0].loss
    assert training.best.evaluation.accuracy > 75


def test_every_step_of_bf16_sees_the_weights_of_the_step_before() -> None:
    """Autocast would keep its copies of the weights from the first step to the end of the epoch."""
    model = conv_model()
    same = Examples(DATA.inputs[:1].expand(64, -1, -1, -1), DATA.targets[:1].expand(64).clone())
    recipe = replace(RECIPE, epochs=1, batch_size=4, learning_rate_schedule="cosine", augmentation=None)
    losses: list[Tensor] = []
    model.register_forward_hook(
        lambda _module, _inputs, logits: losses.append(logits.detach()[0, same.targets[0]]) if model.training else None
    )
    model[8].p = 0.0  # dropout, which would make the losses noisy
    train(model, same, recipe, selection=same, seed=0, precision="bf16")
    assert 16 == len(losses)
    assert float(losses[-1]) > float(losses[0]) + 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_host_waits_for_a_gpu_at_the_end_of_an_epoch_and_not_at_each_step() -> None:
    def waits(epoch_images: int) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train(
                    conv_model().cuda(),
                    DATA,
                    replace(RECIPE, epochs=1, images_per_epoch=epoch_images),
                    selection=SELECTION,
                    seed=0,
                )
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return len(caught)

    waits(16)
    assert waits(16) == waits(40)


def test_the_same_seed_trains_to_the_same_bytes_and_another_seed_does_not() -> None:
    first = fine_tune(RECIPE)
    torch.manual_seed(123)  # what the caller drew before does not matter
    assert_same_to_the_byte(first, fine_tune(RECIPE))
    assert state_digest(first.last_state) != state_digest(fine_tune(RECIPE, seed=8).last_state)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    fine_tune(RECIPE)
    assert torch.equal(before, torch.get_rng_state())


def test_training_on_the_cpu_leaves_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking a GPU for its state starts CUDA, which fails where the driver does not fit."""

    def asked() -> int:
        raise RuntimeError("the NVIDIA driver on your system is too old")

    model = conv_model()
    monkeypatch.setattr(torch.cuda, "device_count", asked)
    fine_tune(replace(RECIPE, epochs=1), model=model)


def test_progress_hears_of_every_step_and_every_epoch() -> None:
    heard = list[tuple[Any, ...]]()

    class Listen(TrainingProgress):
        def resumed(self, epoch: int, epochs: int) -> None:
            heard.append(("resumed",))

        def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
            heard.append((epoch, epochs, images, total))

        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            heard.append((epoch.number, epochs, epoch.evaluation.count))

    training = fine_tune(RECIPE.shortened(epochs=2, images_per_epoch=20), progress=Listen())
    one, two = ([(n, 2, 16, 20), (n, 2, 20, 20), (n, 2, len(SELECTION))] for n in (1, 2))
    assert one + two == heard
    assert 0 == training.resumed_after


STOPS = [(1, 0), (2, 0), (3, 0), (4, 0), (0, 1), (1, 2), (2, 1), (3, STEPS - 1)]
"""(whole epochs, batches of the next one) before the stop; after (4, 0) nothing is left to train."""


@pytest.mark.parametrize("averaging", [0.0, 0.9], ids=["plain", "averaged"])
@pytest.mark.parametrize("schedule", ["cosine_per_iteration", "cosine", "one_cycle"])
def test_a_training_stopped_anywhere_and_taken_up_ends_in_the_same_bytes(
    tmp_path: Path, schedule: LearningRateSchedule, averaging: float
) -> None:
    recipe = replace(RECIPE, learning_rate_schedule=schedule, averaging=averaging)
    uninterrupted = fine_tune(recipe)
    for epochs, step in STOPS:
        folder = tmp_path / f"{epochs}-{step}"
        stop(recipe, folder, after=epochs, step=step)
        model = conv_model()
        resumed = fine_tune(recipe, folder, model=model)
        assert epochs == resumed.resumed_after
        assert_same_to_the_byte(uninterrupted, resumed)
        assert state_digest(uninterrupted.best_state) == state_digest(model.state_dict())
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters() if p.dim() == 4)


def test_a_training_stopped_after_every_epoch_ends_in_the_same_bytes(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        stop(RECIPE, tmp_path, after=epoch)
    assert_same_to_the_byte(fine_tune(RECIPE), fine_tune(RECIPE, tmp_path))


def test_the_best_epoch_before_a_stop_stays_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOOP, "evaluate", scripted([3, 9, 1, 9]))
    uninterrupted = fine_tune(RECIPE)
    monkeypatch.setattr(LOOP, "evaluate", scripted([3, 9, 1]))
    stop(RECIPE, tmp_path, after=3)
    monkeypatch.setattr(LOOP, "evaluate", scripted([9]))
    resumed = fine_tune(RECIPE, tmp_path)
    assert 2 == resumed.best.number
    assert_same_to_the_byte(uninterrupted, resumed)


def test_progress_hears_that_a_training_is_taken_up(tmp_path: Path) -> None:
    stopped_state(tmp_path)
    heard = list[tuple[int, ...]]()

    class Listen(TrainingProgress):
        def resumed(self, epoch: int, epochs: int) -> None:
            heard.append((epoch, epochs))

        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            heard.append((epoch.number,))

    fine_tune(RECIPE, tmp_path, Listen())
    assert [(2, 4), (3,), (4,)] == heard


def test_what_another_version_of_the_arithmetic_began_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(RECIPE, tmp_path, after=2)
    monkeypatch.setattr(LOOP, "ARITHMETIC", ARITHMETIC + 1)
    assert 0 == fine_tune(RECIPE, tmp_path).resumed_after


def test_a_finished_training_is_not_lost_before_its_results_are_kept(tmp_path: Path) -> None:
    model = conv_model()
    masks = half_masks(model)
    masks.apply_(model)
    settings = {"selection": SELECTION, "seed": 7, "masks": masks, "state_folder": tmp_path}
    first = train(model, DATA, RECIPE, **settings)
    again = conv_model()
    masks.apply_(again)
    second = train(again, DATA, RECIPE, **settings)
    assert (0, RECIPE.epochs) == (first.resumed_after, second.resumed_after)
    assert_same_to_the_byte(first, second)
    second.discard()
    assert [] == list(tmp_path.iterdir())


def test_the_state_is_one_file_while_training_and_none_at_the_end(tmp_path: Path) -> None:
    files = list[int]()

    class Count(TrainingProgress):
        def epoch_done(self, epoch: Epoch, epochs: int) -> None:
            files.append(len(list(tmp_path.iterdir())))

    fine_tune(RECIPE, tmp_path, Count())
    assert [1] * RECIPE.epochs == files
    assert [] == list(tmp_path.iterdir())


def frozen(model: nn.Sequential) -> nn.Sequential:
    """Its first layer is not trained."""
    model[0].requires_grad_(requires_grad=False)
    return model


def relabelled(data: Examples) -> Examples:
    return Examples(data.inputs, data.targets.roll(1))


OTHERS: dict[str, Callable[[Path | None], Training]] = {
    "seed": lambda folder: fine_tune(RECIPE, folder, seed=8),
    "learning rate": lambda folder: fine_tune(replace(RECIPE, learning_rate=0.06), folder),
    "epochs": lambda folder: fine_tune(replace(RECIPE, epochs=5), folder),
    "augmentation": lambda folder: fine_tune(replace(RECIPE, augmentation=None), folder),
    "data": lambda folder: fine_tune(RECIPE, folder, data=relabelled(DATA)),
    "weights": lambda folder: fine_tune(RECIPE, folder, model=conv_model(seed=1)),
    "frozen": lambda folder: fine_tune(RECIPE, folder, model=frozen(conv_model())),
}


@pytest.mark.parametrize("other", OTHERS)
def test_the_state_of_another_training_is_neither_used_nor_lost(tmp_path: Path, other: str) -> None:
    path = stopped_state(tmp_path)
    before = path.read_bytes()
    training = OTHERS[other](tmp_path)
    assert 0 == training.resumed_after
    assert_same_to_the_byte(OTHERS[other](None), training)
    assert [path] == list(tmp_path.iterdir())
    assert before == path.read_bytes()


@pytest.mark.parametrize("change", ["selection", "masks", "precision"])
def test_a_state_is_bound_to_its_selection_masks_and_precision(tmp_path: Path, change: str) -> None:
    stopped_state(tmp_path)
    model = conv_model()
    masks = half_masks(model)
    masks.apply_(model)
    training = train(
        model,
        DATA,
        RECIPE,
        selection=relabelled(SELECTION) if change == "selection" else SELECTION,
        seed=7,
        masks=None if change == "masks" else masks,
        precision="bf16" if change == "precision" else "fp32",
        state_folder=tmp_path,
    )
    assert 0 == training.resumed_after


def cut(content: bytes, part: float) -> bytes:
    return content[: int(len(content) * part)]


def flip(content: bytes, place: bytes) -> bytes:
    """Change a byte of what follows `place`, the name of a record in the file."""
    changed = bytearray(content)
    start = content.index(place) + len(place)
    changed[start + 200] ^= 1
    return bytes(changed)


def saved(value: object, path: Path) -> bytes:
    torch.save(value, path)
    return path.read_bytes()


DAMAGES: dict[str, Callable[[bytes, Path], bytes]] = {
    "empty": lambda content, _: b"",
    "cut in half": lambda content, _: cut(content, 0.5),
    "cut at the end": lambda content, _: cut(content, 0.99),
    "text": lambda content, _: b"no state at all\n" * 100,
    "a changed byte in the structure": lambda content, _: flip(content, b"/data.pkl"),
    "a changed byte in the weights": lambda content, _: flip(content, b"/data/0"),
    "another dict": lambda _, path: saved({"state_dict": {}}, path),
    "no dict": lambda _, path: saved([1, 2], path),
    "another model": lambda _, path: saved({"model": {"weight": torch.ones(1)}}, path),
    "a pickle that calls something": lambda _, path: saved({"model": partial(print, "called")}, path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_one_clear_error_that_says_what_to_delete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = stopped_state(tmp_path)
    path.write_bytes(DAMAGES[damage](path.read_bytes(), tmp_path / "other.pt"))
    with pytest.raises(CheckpointError) as caught:
        fine_tune(RECIPE, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"cannot read the unfinished training '{path}'" in message
    assert message.endswith("delete it")
    assert "called" not in capsys.readouterr().out


def test_a_state_folder_that_cannot_be_written_is_a_storage_error_naming_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError) as caught:
        fine_tune(RECIPE, tmp_path / "file" / "states")
    assert str(tmp_path / "file" / "states") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_training_that_diverges_is_refused_with_the_epoch_and_the_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="diverged: the loss of epoch 1 is nan") as caught:
        fine_tune(replace(RECIPE, learning_rate=1e9, batch_size=2), tmp_path)
    assert "below 1000000000.0" in str(caught.value)
    assert [] == list(tmp_path.iterdir())


def test_training_or_choosing_on_no_images_is_refused() -> None:
    none = Examples(DATA.inputs[:0], DATA.targets[:0])
    with pytest.raises(TrainingError, match=r"^no training images: expected at least one$"):
        train(conv_model(), none, RECIPE, selection=SELECTION, seed=0)
    with pytest.raises(TrainingError, match=r"^no selection images: expected at least one$"):
        train(conv_model(), DATA, RECIPE, selection=none, seed=0)


def test_a_process_killed_in_the_middle_of_an_epoch_is_taken_up_by_another_to_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    assert "in the middle of epoch 3\n" == said
    assert 1 == len([path for path in tmp_path.iterdir() if path.suffix == ".pt"])
    resumed = fine_tune(RECIPE, tmp_path)
    assert 2 == resumed.resumed_after
    assert_same_to_the_byte(fine_tune(RECIPE), resumed)
    assert [] == list(tmp_path.iterdir())


class WaitToBeKilled(TrainingProgress):
    def step(self, epoch: int, epochs: int, images: int, total: int) -> None:
        if (epoch, images) == (3, 2 * RECIPE.batch_size):
            sys.stdout.write(f"in the middle of epoch {epoch}\n")
            sys.stdout.flush()
            time.sleep(600)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fine_tune(RECIPE, Path(sys.argv[1]), WaitToBeKilled())
