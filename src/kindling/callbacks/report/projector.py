"""TensorBoard's PROJECTOR: what the last linear layer is given for some test samples, with their labels and images."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kindling.data.base import DataModule
from kindling.data.loading import take
from kindling.models.base import SupervisedModule
from kindling.pictures.style import clip

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

SAMPLES, AT_ONCE = 500, 64
THUMBNAIL = 64  # pixels


def project(
    board: "SummaryWriter",
    network: SupervisedModule,
    data: DataModule,
    predict: Callable[[Tensor], Tensor],
    predictions: Tensor,
    targets: Tensor,
    step: int,
) -> None:
    """Show features of up to 500 test samples, in place of an earlier test's; without a linear layer there are none.

    Args:
        predict: Runs the network on raw inputs.
        predictions: Of the whole test set (N, K).
        targets: (N, ...)
        step: Of the checkpoint.
    """
    folder = Path(board.log_dir)
    shutil.rmtree(folder / "projector", ignore_errors=True)
    (folder / "projector_config.pbtxt").unlink(missing_ok=True)
    inputs: list[Tensor] = []  # of the linear layers, in the order in which they run
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(lambda _, x: inputs.extend(x)) for layer in layers]
    chosen = torch.arange(0, len(targets), math.ceil(len(targets) / SAMPLES))
    features, images = [], []
    for part in chosen.split(AT_ONCE):
        x = take(data.test_set, part.tolist())[0]
        predict(x)
        features += [last.flatten(1).float().cpu() for last in inputs[-1:] if len(last) == len(x)]
        images += [_thumbnails(x)] if x.ndim == 4 else []
        inputs.clear()
    for hook in hooks:
        hook.remove()
    if features and torch.cat(features).isfinite().all():
        texts = (network.task.target_texts(values[chosen]) for values in (targets, predictions))
        labels = [(clip(true, 100), clip(predicted, 100)) for true, predicted in zip(*texts, strict=True)]
        header = [network.task.facts.target, "prediction"]
        sprites = torch.cat(images) if images else None
        # TensorBoard names a folder after global_step
        board.add_embedding(torch.cat(features), labels, sprites, "projector", f"step_{step}", header)


def _thumbnails(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as float32 from 0 to 1, made square as TensorBoard needs them."""
    side = min(THUMBNAIL, max(images.shape[2:]))
    return interpolate(as_pixels(images) / 255, (side, side), mode="area")


def as_pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) of any type and range, as uint8 with one or three channels."""
    images = images[:, : 3 if images.shape[1] > 2 else 1]
    if images.dtype == torch.uint8:
        return images
    low, high = images.min(), images.max()
    return ((images - low) / (high - low).clamp(min=1e-9) * 255).to(torch.uint8)
