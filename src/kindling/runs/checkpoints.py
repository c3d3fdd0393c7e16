"""Reading a checkpoint back: the file, and the network and data that it stands for."""

import re
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any
from zipfile import ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule
from lightning.pytorch import __version__ as lightning_version
from torch import Tensor

from kindling import __version__
from kindling.errors import CheckpointError
from kindling.facts import Facts
from kindling.runs import trust
from kindling.runs.atomic import atomic_write
from kindling.runs.find import Checkpoint
from kindling.schema import matches

LONGEST = 400  # characters about weights that don't fit
FORMS: dict[str, Any] = {  # what Lightning and Kindling write as these parts of a checkpoint
    "state_dict": dict[str, Any],
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
    "hyper_parameters": dict[str, Any],
    "config": dict[str, Any],
    "callbacks": dict[str, Any],
    "facts": Facts,
    "loss": str,
    "loops": dict[str, dict],
    "optimizer_states": list[dict],
    "lr_schedulers": list[dict],
    "trainer": dict[str, Any],
    "mid_epoch": list[dict],
    "events": dict[str, int],
    "best": dict[str, float] | None,
    "validated": dict[str, float],
    "trackers": dict[str, str],
}
TRAINING = ("epoch", "global_step", "loops", "optimizer_states", "lr_schedulers")


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint atomically, in its own folder; Lightning would write its temporary file elsewhere.

    Args:
        file: A checkpoint that has been read already. It is not read again, because a training that is still running
            may have put another in its place.
        content: What was in it.
    """

    def __init__(self, file: Path | None = None, content: dict[str, Any] | None = None) -> None:
        self.file, self.content = file, content

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.content is not None and Path(path) == self.file:
            return dict(self.content)
        return super().load_checkpoint(path, *args, **kwargs)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
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
    _check_version(checkpoint.get("kindling_version"), file)
    for part, content in checkpoint.items():
        if part in FORMS and not (matches(content, FORMS[part]) and _is_possible(part, content)):
            raise CheckpointError(
                f"{file} is damaged: its {part} is not what Lightning writes: take another checkpoint"
            )
    # what Lightning asks for, and a file of weights alone lacks
    checkpoint = {"pytorch-lightning_version": lightning_version, "callbacks": {}} | checkpoint
    if "config" in checkpoint:
        checkpoint["config"] = trust.check_form(checkpoint["config"], file)
    return checkpoint


def _check_version(written: Any, file: Path) -> None:
    """
    Raises:
        CheckpointError: A newer version wrote the file; what has changed only in its last number can be read.
    """
    versions = [re.match(r"(\d+)\.(\d+)", str(version)) for version in (written, __version__)]
    theirs, ours = [tuple(map(int, found.groups())) if found else (0, 0) for found in versions]
    if theirs > ours:
        raise CheckpointError(f"{file} was written by Kindling {written}, and this is {__version__}: update Kindling")


def _is_possible(part: str, content: Any) -> bool:
    """Whether the values are possible ones, where the form alone doesn't say so."""
    if part == "state_dict":
        return all(isinstance(value, Tensor) or name.endswith("_extra_state") for name, value in content.items())
    if part == "pytorch-lightning_version":
        return re.match(r"\d+\.\d+", content) is not None
    if part == "hyper_parameters":
        return "_instantiator" not in content  # which names a function that Lightning would call
    if part == "loops":
        return "fit_loop" in content
    return part not in ("epoch", "global_step") or content >= 0


def check_trainable(content: dict[str, Any], file: Path) -> None:
    """
    Raises:
        CheckpointError: The file lacks what training needs to resume, as one with weights alone does.
    """
    lacking = [part for part in TRAINING if part not in content]
    if lacking:
        raise CheckpointError(
            f"{file} has no {', '.join(lacking)}, so training can't resume from it: take a run's last.ckpt; "
            "test, predict and export take the weights"
        )


def read_newest(checkpoint: Checkpoint) -> tuple[Checkpoint, dict[str, Any]]:
    """A checkpoint and its content; where it can't be read, the first of its ``others`` that can.

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
    """Load the weights, so that what does not fit is known before any data is read.

    Raises:
        CheckpointError: Names the weights that are missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problems = shorten(str(error).partition(":")[2], LONGEST, placeholder=" ...")
        raise CheckpointError(
            f"{file} does not fit {type(network).__name__}: {problems} "
            "Give the options, data and code that it was trained with"
        ) from error
