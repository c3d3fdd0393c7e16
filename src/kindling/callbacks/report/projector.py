"""TensorBoard's PROJECTOR: what the last linear layer is given for some test samples, with their labels and images."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.tensorboard import SummaryWriter

from kindling.data.base import DataModule
from kindling.data.loading import take
from kindling.models.base import SupervisedModule
from kindling.pictures.style import clip

SAMPLES, AT_ONCE = 500, 64
THUMBNAIL = (32, 32)  # pixels; TensorBoard needs squares


def project(
    board: SummaryWriter,
    network: SupervisedModule,
    data: DataModule,
    predict: Callable[[Tensor], Tensor],
    predictions: Tensor,
    targets: Tensor,
    step: int,
) -> None:
    """Show features of up to 500 test samples, in place of an earlier test's; without a linear layer there are none.

    Args:
        predict: Runs the network on raw inputs (B, ...).
        predictions: Of the whole test set (N, K), likewise its targets.
        step: Of the checkpoint.
    """
    folder = Path(board.log_dir)
    shutil.rmtree(folder / "projector", ignore_errors=True)
    (folder / "projector_config.pbtxt").unlink(missing_ok=True)
    inputs: list[Tensor] = []  # of the linear layers, in the order in which they run
    hook = register_module_forward_pre_hook(lambda layer, x: inputs.extend(x if isinstance(layer, nn.Linear) else ()))
    chosen = torch.arange(0, len(targets), math.ceil(len(targets) / SAMPLES))
    features, images = [], []
    for part in chosen.split(AT_ONCE):
        x = take(data.test_set, part.tolist())[0]
        predict(x)
        features += [last.flatten(1).float().cpu() for last in inputs[-1:] if len(last) == len(x)]
        images += [interpolate(as_pixels(x) / 255, THUMBNAIL, mode="area")] if x.ndim == 4 else []
        inputs.clear()
    hook.remove()
    if features and torch.cat(features).isfinite().all():
        texts = (network.task.target_texts(values[chosen]) for values in (targets, predictions))
        labels = [(clip(true, 100), clip(predicted, 100)) for true, predicted in zip(*texts, strict=True)]
        header = [network.task.facts.target, "prediction"]
        sprites = torch.cat(images) if images else None
        # TensorBoard names a folder after global_step
        board.add_embedding(torch.cat(features), labels, sprites, "projector", f"step_{step}", header)


def as_pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) of any type and range, as uint8 with one or three channels."""
    images = images[:, : 3 if images.shape[1] > 2 else 1]
    if images.dtype == torch.uint8:
        return images
    low, high = images.min(), images.max()
    return ((images - low) / (high - low).clamp(min=1e-9) * 255).to(torch.uint8)
