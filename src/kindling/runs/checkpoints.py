"""Reading a checkpoint back: the file, and the network and data that it stands for."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule
from lightning.pytorch import __version__ as lightning_version
from torch import Tensor

from kindling.errors import CheckpointError
from kindling.facts import Facts
from kindling.runs import trust
from kindling.runs.atomic import atomic_write
from kindling.runs.find import Checkpoint
from kindling.schema import matches

NAMED = 4  # weights that don't fit
PARTS: dict[str, Callable[[Any], bool]] = {  # of a checkpoint, for those that are there
    "state_dict": lambda part: _is_dict_of(part, object) and all(map(_is_state, part, part.values())),
    "epoch": lambda part: type(part) is int and part >= 0,
    "global_step": lambda part: type(part) is int and part >= 0,
    "pytorch-lightning_version": lambda part: isinstance(part, str) and re.match(r"\d+\.\d+", part) is not None,
    "hyper_parameters": lambda part: _is_dict_of(part, object) and "_instantiator" not in part,  # names a function
    "callbacks": lambda part: _is_dict_of(part, object),
    "facts": lambda part: _is_dict_of(part, object) and matches(part, Facts),
    "loss": lambda part: isinstance(part, str),
    "loops": lambda part: _is_dict_of(part, dict) and "fit_loop" in part,
    "optimizer_states": lambda part: isinstance(part, list) and all(isinstance(state, dict) for state in part),
    "trainer": lambda part: _is_dict_of(part, object),
    "mid_epoch": lambda part: isinstance(part, list) and all(isinstance(state, dict) for state in part),
    "events": lambda part: matches(part, dict[str, int]),
    "best": lambda part: matches(part, dict[str, float] | None),
    "validated": lambda part: matches(part, dict[str, float]),
    "trackers": lambda part: matches(part, dict[str, str]),
    "lr_schedulers": lambda part: isinstance(part, list) and all(isinstance(state, dict) for state in part),
}
TRAINING = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers")


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, in its own folder; Lightning goes by that for temporary files.

    Args:
        file: A checkpoint that was read already, and has since been announced and looked through. It is not read again:
            a training under way may have put another in its place.
        content: What was in it.
    """

    def __init__(self, file: Path | None = None, content: dict[str, Any] | None = None) -> None:
        self.file, self.content = file, content

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.content is not None and Path(path) == self.file:
            return dict(self.content)
        return super().load_checkpoint(path, *args, **kwargs)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        if "://" in str(path):  # not a file of this machine
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(exist_ok=True)
        with atomic_write(Path(path), "wb") as stream:
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
    for part, is_right in PARTS.items():
        if part in checkpoint and not is_right(checkpoint[part]):
            raise CheckpointError(
                f"{file} is damaged: its {part} is not what Lightning writes: take another checkpoint"
            )
    # which Lightning asks for, and a file of weights alone lacks
    checkpoint = {"pytorch-lightning_version": lightning_version, "callbacks": {}} | checkpoint
    if "config" in checkpoint:
        checkpoint["config"] = trust.check_form(checkpoint["config"], file)
    return checkpoint


def _is_dict_of(part: object, kind: type) -> bool:
    return isinstance(part, dict) and all(isinstance(k, str) and isinstance(v, kind) for k, v in part.items())


def _is_state(name: str, value: object) -> bool:
    return isinstance(value, Tensor) or name.endswith("_extra_state")


def check_trainable(content: dict[str, Any], file: Path) -> None:
    """
    Raises:
        CheckpointError: There are weights in the file, but no training that could go on.
    """
    lacking = [part for part in TRAINING if part not in content]
    if lacking:
        raise CheckpointError(
            f"{file} has no {', '.join(lacking)}, so training can't go on from it: take a run's last.ckpt; "
            "test, predict and export take the weights"
        )


def read_newest(checkpoint: Checkpoint) -> tuple[Checkpoint, dict[str, Any]]:
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
        for name, shape in ((n, value.shape) for n, value in expected.items() if isinstance(value, Tensor))
        if name in weights and weights[name].shape != shape
    ]
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise CheckpointError(
            f"{file} does not fit {type(network).__name__}: {'; '.join(problems[:NAMED])}{more}: give the options, "
            "data and code that it was trained with"
        )
