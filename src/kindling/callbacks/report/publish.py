"""Where pictures go: into the run's folder, and to its loggers."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from kindling.console import waiting
from kindling.pictures import style
from kindling.runs.atomic import atomic_write

# TensorBoard opens the first two groups of tags: train and val
SORTED_LAST = ("baseline", "best", "epoch", "gradients", "run", "sweep", "test")


def publish(trainer: Trainer, file: Path, tag: str, step: int, draw: style.Draw) -> None:
    """Write a picture as PNG, and hand it to every logger that takes pictures. Call it in the first process only."""
    with waiting(f"Drawing {file.name}"):
        pixels = style.paint(draw)
    save(file, pixels)
    for each in trainer.loggers:
        logger: Any = each
        if hasattr(logger, "log_image"):  # Weights & Biases
            logger.log_image(tag, [pixels], step=step)
        elif hasattr(logger.experiment, "add_image"):  # TensorBoard
            logger.experiment.add_image(board_tag(tag), pixels, step, dataformats="HWC")
        elif hasattr(logger.experiment, "log_artifact"):  # MLflow
            logger.experiment.log_artifact(logger.run_id, str(file))


def save(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Write pixels (height, width, 3) as PNG; a missing folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file, "wb") as stream:
        Image.fromarray(pixels).save(stream, "PNG", compress_level=1)  # half the time, a third more bytes


def board_tag(name: str) -> str:
    """What TensorBoard calls a score, a picture or a histogram: ``z_test/acc`` for ``test/acc``."""
    return f"z_{name}" if name.partition("/")[0] in SORTED_LAST else name


def boards(trainer: Trainer) -> list[SummaryWriter]:
    """TensorBoard's writers; none in any process but the first, where Lightning has stand-ins for them."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
