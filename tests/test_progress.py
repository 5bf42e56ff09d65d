"""Progress: lines of finished epochs stay behind, bars only on a terminal."""

from __future__ import annotations

import pytest
import torch

from prunebench.report.progress import ProgressBar
from prunebench.tasks.evaluation import Evaluation
from prunebench.training import Epoch
from prunebench.training.signature import Tally

TALLY = Tally(
    steps=1, images=4, learning_rate=0.1, optimizer={}, scores_dtype="float32", images_digest="", labels_digest=""
)
EPOCH = Epoch(
    tally=TALLY,
    number=2,
    loss=0.5,
    evaluation=Evaluation(
        answers=torch.zeros(4, dtype=torch.int64), correct=torch.tensor([True, True, True, False]), seconds=1.0
    ),
    seconds=12.3,
)


def test_off_a_terminal_only_finished_epochs_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    fresh: list[None] = []
    with ProgressBar(fresh_line=lambda: fresh.append(None)) as bar:
        bar.stage("fine-tuning")
        bar.resumed(1, 3)
        for done in (2, 4):
            bar.step(2, 3, done, 4)
        bar.epoch_done(EPOCH, 3)
        bar.evaluated(4, 4)
    assert [
        "fine-tuning: resumed after epoch 1 of 3",
        "fine-tuning: epoch 2/3, loss 0.5000, accuracy 75.00 %, 12 s, 00:12 left",
    ] == capsys.readouterr().err.splitlines()
    assert 2 == len(fresh)


def test_a_stage_that_is_interrupted_leaves_no_bar_open() -> None:
    bar = ProgressBar()

    def interrupted() -> None:
        with bar:
            bar.stage("evaluation")
            bar.evaluated(1, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert bar._bar is None
