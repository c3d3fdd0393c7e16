"""What can be learnt of a dataset. A new task is one file here and one line in TASKS."""

from torch import nn

from kindling.errors import DataError
from kindling.facts import Facts
from kindling.tasks.base import Task
from kindling.tasks.classification import Classification
from kindling.tasks.multilabel import Multilabel
from kindling.tasks.regression import Regression

TASKS: dict[str, type[Task]] = {
    "binary": Classification,
    "multiclass": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
}


def make_task(facts: Facts, loss: nn.Module | None = None, default: str | None = None) -> Task:
    """The usual task for a dataset.

    Args:
        facts: Of the data.
        loss: A loss of torch.nn, or one of your own, which is fed as the task's usual one is.
        default: Name of the loss that is taken, where it suits the task, if ``loss`` is None.

    Raises:
        UsageError: The loss is for other tasks, or its options do not suit this one.
        DataError: The data names a task that Kindling does not know.
    """
    if facts.kind not in TASKS:
        raise DataError(
            f"the data's task is {facts.kind!r}, and Kindling knows {', '.join(TASKS)}: "
            "for another one the network needs a configure_task of its own"
        )
    return TASKS[facts.kind](facts, loss, default)
