"""Reading a checkpoint back: the file, and the network and data that it stands for."""

import re
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from kindling import runs
from kindling.catalog import import_class
from kindling.errors import CheckpointError
from kindling.files import whole
from kindling.models import objectives
from kindling.models.supervised import SupervisedModule

NAMED = 4  # weights that don't fit


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, in its own folder; Lightning goes by that for temporary files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        if "://" in str(path):  # not a file of this machine
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(exist_ok=True)
        with whole(Path(path), "wb") as stream:
            stream.write(content.getbuffer())


def read(file: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; never runs code that a file may carry.

    Raises:
        CheckpointError: The file can't be read, or is no checkpoint.
    """
    try:
        with ZipFile(file) as parts:
            damaged = parts.testzip()  # torch doesn't compare the checksums
        if damaged:
            raise CheckpointError(f"{file} is damaged ({damaged}): take another checkpoint")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{file} can't be read ({error.strerror}): take another checkpoint") from error
    except UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds code ({code[1]}), which is not run" if code else "is damaged"
        raise CheckpointError(f"{file} {what}: take another checkpoint") from error
    except Exception as error:  # torch answers damaged files with whatever its reader stumbles over
        raise CheckpointError(f"{file} is no checkpoint, or a damaged one: take another") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{file} is not a Lightning checkpoint: it has no state_dict")
    return checkpoint


def read_newest(checkpoint: runs.Checkpoint) -> tuple[runs.Checkpoint, dict[str, Any]]:
    """A checkpoint, or else the first of those that stand in for it which can be read, and its content.

    Raises:
        CheckpointError: None can be read.
    """
    try:
        return checkpoint, read(checkpoint.file)
    except CheckpointError:
        for n, other in enumerate(checkpoint.others, start=1):
            with suppress(CheckpointError):
                return replace(checkpoint, file=other, others=checkpoint.others[n:]), read(other)
        raise


def check_fit(weights: dict[str, Tensor], network: LightningModule, file: Path) -> None:
    """
    Raises:
        CheckpointError: Names the weights that are missing, unknown or of another shape.
    """
    expected = network.state_dict()
    problems = [f"it has no {name}" for name in expected if name not in weights]
    problems += [f"the network has no {name}" for name in weights if name not in expected]
    problems += [
        f"{name} is {tuple(weights[name].shape)} there and {tuple(shape)} in the network"
        for name, shape in ((name, value.shape) for name, value in expected.items())
        if name in weights and weights[name].shape != shape
    ]
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise CheckpointError(
            f"{file} does not fit {type(network).__name__}: {'; '.join(problems[:NAMED])}{more}: give the options, "
            "data and code that it was trained with"
        )


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
