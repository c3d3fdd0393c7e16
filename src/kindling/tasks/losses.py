"""Each loss of torch.nn that needs one output and one target a sample: what it is for, and how it is fed.

A network ends in plain numbers. What stands between them and the loss (a sigmoid, a softmax, an exponential), the form
of the target, and how a prediction is read off the same numbers are facts of the loss, and stand here in one line each.
"""

from collections.abc import Callable, Mapping
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot, softplus

from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.registry import import_class

Compare = Callable[[nn.Module, Tensor, Tensor, Facts], Tensor]  # loss, outputs (B, K), targets (B,), facts to a scalar
Read = Callable[[Tensor, Facts], Tensor]  # outputs (B, K) to predictions


class Form(NamedTuple):
    """How a loss is fed on one task.

    Args:
        compare: Calls the loss with outputs and targets in the form that it takes.
        read: Outputs to predictions: probabilities (B, classes), or (B, 1) in the target's units, or (B, 2) with the
            standard deviation that the network gives itself.
        num_outputs: Numbers per sample that the network ends in; 0 for one per class.
    """

    compare: Compare
    read: Read
    num_outputs: int


def _standardized(y: Tensor, facts: Facts) -> Tensor:
    """A loss near 1 at the start, whatever the unit: learning rates then carry over from table to table."""
    return (y - facts.target_mean) / facts.target_std


def _in_units(outputs: Tensor, facts: Facts) -> Tensor:
    """The way back."""
    return outputs * facts.target_std + facts.target_mean


def _label_sets(labels: Tensor, like: Tensor) -> Tensor:
    """Each label as the set that holds it alone: (B, K) int64, filled up with -1."""
    return torch.full_like(like, -1, dtype=torch.int64).index_copy(1, labels.new_zeros(1), labels[:, None])


def _rate(loss: nn.Module, outputs: Tensor, y: Tensor, facts: Facts) -> Tensor:
    if facts.target_min < 0:
        raise DataError(f"PoissonNLLLoss counts, and {facts.target} is as low as {facts.target_min:g}: choose another")
    log_rate = _log_counts(outputs, facts)[:, 0]
    return loss(log_rate if loss.log_input else log_rate.exp(), y)


def _log_counts(outputs: Tensor, facts: Facts) -> Tensor:
    """Outputs as logarithms of multiples of the mean: a network that begins near 0 then begins near the truth."""
    return outputs + log(facts.target_mean or 1.0)


def _spread(outputs: Tensor) -> Tensor:
    return softplus(outputs[:, 1]) + 1e-6  # the variance, in units of the target's own


def _one_per_class(compare: Compare) -> Form:
    return Form(compare, lambda outputs, facts: outputs.softmax(dim=1), num_outputs=0)


def _second_class(compare: Compare) -> Form:
    """Of two classes; the one output is the logit of the second."""

    def read(outputs: Tensor, facts: Facts) -> Tensor:
        return torch.cat([-outputs, outputs], dim=1).sigmoid()  # (B, 1) -> (B, 2)

    return Form(compare, read, num_outputs=1)


LOGITS = _one_per_class(lambda loss, o, y, facts: loss(o, y))
LOG_PROBABILITIES = _one_per_class(lambda loss, o, y, facts: loss(o.log_softmax(dim=1), y))
DISTRIBUTION = _one_per_class(lambda loss, o, y, facts: loss(o.log_softmax(dim=1), one_hot(y, o.shape[1]).to(o)))
LABEL_SETS = _one_per_class(lambda loss, o, y, facts: loss(o, _label_sets(y, o)))
LOGIT = _second_class(lambda loss, o, y, facts: loss(o[:, 0], y.to(o)))
PROBABILITY = _second_class(lambda loss, o, y, facts: loss(o[:, 0].sigmoid(), y.to(o)))
# a distance of -log p: near 0 for the second class, and with the usual margin of 1 at p < 0.37 for the first
DISTANCE = _second_class(lambda loss, o, y, facts: loss(-logsigmoid(o[:, 0]), 2 * y - 1))
VALUE = Form(
    lambda loss, o, y, facts: loss(o[:, 0], _standardized(y, facts)),
    _in_units,
    num_outputs=1,
)
LOG_RATE = Form(_rate, lambda o, facts: _log_counts(o, facts).exp(), num_outputs=1)
NORMAL = Form(
    lambda loss, o, y, facts: loss(o[:, 0], _standardized(y, facts), _spread(o)),
    lambda o, facts: torch.stack([_in_units(o[:, 0], facts), _spread(o).sqrt() * facts.target_std], dim=1),
    num_outputs=2,
)

LOSSES = {
    "CrossEntropyLoss": {"binary": LOGITS, "multiclass": LOGITS},
    "NLLLoss": {"binary": LOG_PROBABILITIES, "multiclass": LOG_PROBABILITIES},
    "KLDivLoss": {"binary": DISTRIBUTION, "multiclass": DISTRIBUTION},
    "MultiMarginLoss": {"binary": LOGITS, "multiclass": LOGITS},
    "MultiLabelMarginLoss": {"binary": LABEL_SETS, "multiclass": LABEL_SETS},
    "BCELoss": {"binary": PROBABILITY},
    "BCEWithLogitsLoss": {"binary": LOGIT},
    "HingeEmbeddingLoss": {"binary": DISTANCE},
    "MSELoss": {"binary": PROBABILITY, "regression": VALUE},
    "L1Loss": {"regression": VALUE},
    "SmoothL1Loss": {"regression": VALUE},
    "HuberLoss": {"regression": VALUE},
    "PoissonNLLLoss": {"regression": LOG_RATE},
    "GaussianNLLLoss": {"regression": NORMAL},
}
USUAL = {"binary": "CrossEntropyLoss", "multiclass": "CrossEntropyLoss", "regression": "MSELoss"}


def make_loss(spec: Mapping[str, Any] | None) -> nn.Module | None:
    """A loss from its options: ``{"class_path": ..., "init_args": {...}}``, where a list stands for a tensor."""
    if spec is None:
        return None
    arguments = dict(spec.get("init_args", {}))
    for name, value in arguments.items():
        if isinstance(value, list):
            arguments[name] = torch.tensor(value, dtype=torch.float32)
    try:
        return import_class(spec["class_path"], "--model.loss")(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--model.loss {spec['class_path'].rpartition('.')[2]}: {error}") from error
