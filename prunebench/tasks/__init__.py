"""Tasks: what a model's output means, its loss, and a score for each example."""

from prunebench.tasks.classification import CLASSIFICATION, Classification
from prunebench.tasks.comparison import Comparison, compare_answers
from prunebench.tasks.evaluation import (
    BATCH_SIZE,
    BatchProgress,
    Evaluation,
    answering,
    ask,
    check_answers,
    check_right_or_wrong,
    evaluate,
    forward_digest,
    unpacked,
)
from prunebench.tasks.registry import find_task
from prunebench.tasks.task import Task, task_key

__all__ = [
    "BATCH_SIZE",
    "CLASSIFICATION",
    "BatchProgress",
    "Classification",
    "Comparison",
    "Evaluation",
    "Task",
    "answering",
    "ask",
    "check_answers",
    "check_right_or_wrong",
    "compare_answers",
    "evaluate",
    "find_task",
    "forward_digest",
    "task_key",
    "unpacked",
]
