"""The losses of torch.nn that need one output and one target per sample: which task each is for, and how it is fed.

A network ends in plain numbers: a sigmoid or softmax belongs to the loss. ``regression.py`` feeds those for numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from kindling.errors import UsageError
from kindling.registry import import_class

Feed = Callable[[nn.Module, Tensor, Tensor], Tensor]  # a loss, outputs and targets to a scalar


def _of_sets(loss: nn.Module, outputs: Tensor, y: Tensor) -> Tensor:
    """For MultiLabelMarginLoss, which takes outputs (B, K) and of each sample the labels that hold, filled up with -1.

    ``y`` (B, K) is 1 where a label holds, else 0.
    """
    labels = y.argsort(dim=1, descending=True, stable=True)  # those that hold come first
    return loss(outputs, labels.where(y.gather(1, labels) > 0, -1))


CLASS_LOSSES: dict[str, Feed] = {  # outputs (B, C), one per class, and labels (B,)
    "CrossEntropyLoss": lambda loss, o, y: loss(o, y),
    "NLLLoss": lambda loss, o, y: loss(o.log_softmax(dim=1), y),
    "KLDivLoss": lambda loss, o, y: loss(o.log_softmax(dim=1), one_hot(y, o.shape[1]).to(o)),
    "MultiMarginLoss": lambda loss, o, y: loss(o, y),
    "MultiLabelMarginLoss": lambda loss, o, y: _of_sets(loss, o, one_hot(y, o.shape[1])),
}
BINARY_LOSSES: dict[str, Feed] = {  # of two classes: outputs (B,), the logit of the second, and labels (B,) of 0 and 1
    "BCELoss": lambda loss, o, y: loss(o.sigmoid(), y.to(o)),
    "BCEWithLogitsLoss": lambda loss, o, y: loss(o, y.to(o)),
    "SoftMarginLoss": lambda loss, o, y: loss(o, 2 * y.to(o) - 1),
    # a distance of -log p: near 0 for the second class, and with the usual margin of 1 at p < 0.37 for the first
    "HingeEmbeddingLoss": lambda loss, o, y: loss(-logsigmoid(o), 2 * y - 1),
    "MSELoss": lambda loss, o, y: loss(o.sigmoid(), y.to(o)),
}
TAG_LOSSES: dict[str, Feed] = {  # outputs (B, T), a logit per tag, and targets (B, T) of 0 and 1
    "BCEWithLogitsLoss": BINARY_LOSSES["BCEWithLogitsLoss"],
    "BCELoss": BINARY_LOSSES["BCELoss"],
    "SoftMarginLoss": BINARY_LOSSES["SoftMarginLoss"],
    "MultiLabelSoftMarginLoss": lambda loss, o, y: loss(o, y.to(o)),
    "MultiLabelMarginLoss": _of_sets,  # only compares a sample's tags with each other
}
NUMBER_LOSSES = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss", "GaussianNLLLoss")


def make_loss(spec: Mapping[str, Any] | None) -> nn.Module | None:
    """A loss from its options: ``{"class_path": ..., "init_args": {...}}``, where a list stands for a tensor."""
    if spec is None:
        return None
    arguments = dict(spec.get("init_args", {}))
    for name, value in arguments.items():
        if isinstance(value, list):
            arguments[name] = torch.tensor(value, dtype=torch.float32)
        elif name == "weight" and value == "balanced":
            arguments[name] = torch.zeros(0)  # until the task knows the classes
    try:
        return import_class(spec["class_path"], "--loss")(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--loss {spec['class_path'].rpartition('.')[2]}: {error}") from error
