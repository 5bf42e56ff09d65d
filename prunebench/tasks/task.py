"""The protocol of a task: what a model's outputs mean."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from prunebench.data import Examples


@runtime_checkable
class Task(Protocol):
    """The meaning of a model's outputs: how they are learned, and how each example is scored.

    `outputs` is the float tensor that a model gave for n inputs (`prunebench.tasks.ask`), `targets` what they should
    have been, of the data set. A task is one file: see docs/how-to/extend.md.

    Attributes:
        name: as the TOML file and records call it.
        metric: what the mean score is called, such as "accuracy".
        kind: `proportion` where a score is 0 or 1, compared by McNemar's test; `mean` for any other.
    """

    name: str
    metric: str
    kind: Literal["proportion", "mean"]

    def check(self, outputs: Tensor, examples: Examples) -> None:
        """Check that outputs of some of the examples fit the targets of all.

        Raises:
            DataError: targets that no output could match.
            ModelError: outputs of another form.
        """
        ...

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss to minimise, a scalar; a task without classes has no labels to smooth."""
        ...

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One score an example, float (n,), higher is better."""
        ...

    def answers(self, outputs: Tensor) -> Tensor:
        """The answers, int64 (n, ...): equal for models that answer alike."""
        ...

    def graded(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores that also tell how clearly an example was right, float (n,) in [0, 1]: plans are compared by them."""
        ...

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """The uncertainty of each answer, float (n,) in [0, 1], without the targets: adaptive scans draw by it."""
        ...

    def guessing(self, examples: Examples) -> float:
        """The mean score of the best answer that looks at no input."""
        ...


def task_key(task: Task) -> str:
    """The task's name and class: two tasks of one name share no kept work."""
    return f"{task.name} ({type(task).__module__}.{type(task).__qualname__})"
