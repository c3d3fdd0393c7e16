"""What a network learns of a dataset: the loss and how it is fed, and what predictions mean."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from kindling.errors import UsageError
from kindling.facts import Facts
from kindling.tasks.losses import LOSSES, USUAL


class Task:
    """One loss on one task.

    Args:
        loss: A loss of torch.nn that is in ``LOSSES``; one of your own is fed as the task's usual one is. None for
            ``default``, or where that is not for the task, for the task's usual one.
        facts: The task.
        default: Name of a loss.

    Raises:
        UsageError: The loss is for other tasks, or its options are not for it.
    """

    def __init__(self, loss: nn.Module | None, facts: Facts, default: str | None = None) -> None:
        if loss is None:
            name = default if default is not None and facts.task in LOSSES[default] else USUAL[facts.task]
            loss = getattr(nn, name)()
        name = type(loss).__name__
        forms = LOSSES.get(name, {facts.task: LOSSES[USUAL[facts.task]][facts.task]})
        if facts.task not in forms:
            suited = ", ".join(n for n, tasks in LOSSES.items() if facts.task in tasks)
            kind = {"regression": "a number", "binary": "one of two classes", "multiclass": "one of several classes"}
            raise UsageError(
                f"--model.loss {name} is not for {facts.target}, which is {kind[facts.task]}: choose one of {suited}"
            )
        self.loss, self.facts, self.name = loss, facts, name
        self.form = forms[facts.task]
        if getattr(loss, "reduction", "mean") == "none":
            raise UsageError("--model.loss.reduction none: a loss to train by is one number: mean or sum")
        weight = getattr(loss, "weight", None)
        if self.form.num_outputs == 0 and isinstance(weight, Tensor) and len(weight) != self.num_outputs:
            raise UsageError(
                f"--model.loss.weight has {len(weight)} numbers for the {self.num_outputs} classes: "
                f"{', '.join(facts.class_names)}"
            )
        if name in LOSSES:
            y = torch.zeros(2, dtype=torch.int64 if facts.class_names else torch.float32)
            try:  # torch's losses look at most of their options when they are called
                self.compute_loss(torch.zeros(2, self.num_outputs), y)
            except (TypeError, ValueError, RuntimeError) as error:
                raise UsageError(f"--model.loss {name}: {error}") from error

    @property
    def num_outputs(self) -> int:
        return self.form.num_outputs or len(self.facts.class_names)

    def compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Outputs (B, num_outputs) and targets (B,) to the mean loss."""
        # in float32: some losses lose too much in half of it
        autocast = torch.is_autocast_enabled(outputs.device.type)
        with torch.autocast(outputs.device.type, enabled=False) if autocast else nullcontext():
            return self.form.compare(self.loss, outputs.float(), y, self.facts)

    def predict(self, outputs: Tensor) -> Tensor:
        """Outputs (B, num_outputs) to probabilities (B, classes), or to numbers in the target's units (B, 1 or 2)."""
        return self.form.read(outputs.float(), self.facts)
