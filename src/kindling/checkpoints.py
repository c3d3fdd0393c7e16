"""Reading a checkpoint back: the file, and the network and data that it stands for."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from kindling import runs
from kindling.catalog import import_class
from kindling.errors import CheckpointError
from kindling.models import objectives
from kindling.models.supervised import SupervisedModule


def read(file: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; never runs code that a file may carry.

    Raises:
        CheckpointError: The file can't be read, or is no checkpoint.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers damaged files with whatever its reader stumbles over
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{file} can't be read as a checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{file} is not a Lightning checkpoint: it has no state_dict")
    return checkpoint


def check_fit(weights: dict[str, Tensor], network: LightningModule, file: Path) -> None:
    """
    Raises:
        CheckpointError: Names the first weight that is missing, unknown or of another shape.
    """
    expected = network.state_dict()
    for name in [*expected, *weights]:
        if name not in weights:
            problem = f"it has no {name}"
        elif name not in expected:
            problem = f"the network has no {name}"
        elif weights[name].shape != expected[name].shape:
            problem = f"{name} is {tuple(weights[name].shape)} there and {tuple(expected[name].shape)} in the network"
        else:
            continue
        raise CheckpointError(f"{file} does not fit {type(network).__name__}: {problem}")


def load(run: str | Path, which: str = "best") -> tuple[LightningModule, LightningDataModule]:
    """The trained network, in eval mode on the CPU, and the data it was trained on, of one run.

        model, data = kindling.load("lightning_logs/version_0")
        x = data.normalize(torch.tensor([[7.5, 3.0]]))
        model(x).softmax(dim=1)  # (1, num_outputs) probabilities, in the order of model.class_names

    Args:
        run: A run's folder, or a checkpoint file.
        which: ``best`` or ``last``, for a folder.

    Raises:
        RunError: There is no such run or checkpoint.
        CheckpointError: The file can't be read, or was not written by this project.
        UsageError: The network's or the data's class is not where it was.
    """
    folder = runs.Run(Path(run))
    inside = folder.best if which == "best" else folder.last
    file = runs.find(
        str(inside if Path(run).is_dir() else run), Path(runs.LOGS), resume=False, model=None, program="kindling"
    ).file
    content = read(file)
    config = content.get("config")
    if config is None:
        raise CheckpointError(f"{file} was not written by this project: call its own class's load_from_checkpoint")
    model_class, data_class = (import_class(config[key]["class_path"], key) for key in ("model", "data"))
    model = model_class.load_from_checkpoint(file, map_location="cpu", weights_only=True)
    data = data_class(**config["data"].get("init_args", {}))
    restore_data(data, content)
    if isinstance(model, SupervisedModule) and config.get("loss"):
        model.learn(model.objective.facts, objectives.make(config["loss"]))
    return model.eval(), data


def restore_data(data: LightningDataModule, content: dict[str, Any]) -> None:
    """Hand what the training found out about its data back, before the data is read or asked for facts."""
    state = content.get(type(data).__qualname__)  # where Lightning keeps it
    if state is not None:
        data.load_state_dict(state)
