"""Where pictures go: into the run's folder, and to its loggers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image

from kindling.pictures import drawing
from kindling.runs.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def publish(trainer: Trainer, file: Path, tag: str, step: int, draw: Callable[[], "Figure"]) -> None:
    """Show a picture as a PNG file and, where the run has a TensorBoard, under IMAGES."""
    pixels = drawing.paint(draw)
    save(file, pixels)
    for board in boards(trainer):
        board.add_image(tag, pixels, step, dataformats="HWC")


def save(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a picture (height, width, 3) or (height, width) as PNG; the folder is made where it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file, "wb") as stream:
        Image.fromarray(pixels).save(stream, "PNG", compress_level=1)  # half the time, a third more bytes


def boards(trainer: Trainer) -> "list[SummaryWriter]":
    """TensorBoard's writers; none in any process but the first, where Lightning has stand-ins for them."""
    if not trainer.is_global_zero:
        return []
    return [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
