"""TensorBoard's PROJECTOR: what the last linear layer is given for some test samples, coloured by label."""

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
THUMBNAIL, FRAME = 32, 3  # pixels; TensorBoard needs squares


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
        images += [interpolate(as_pixels(x) / 255, (THUMBNAIL - 2 * FRAME,) * 2, mode="area")] if x.ndim == 4 else []
        inputs.clear()
    hook.remove()
    if features and torch.cat(features).isfinite().all():
        texts = (network.task.target_texts(values[chosen]) for values in (targets, predictions))
        labels = [(clip(true, 100), clip(predicted, 100)) for true, predicted in zip(*texts, strict=True)]
        header = [network.task.facts.target, "prediction"]
        sprites = thumbnails(torch.cat(images) if images else None, targets[chosen])
        # TensorBoard names a folder after global_step
        board.add_embedding(torch.cat(features), labels, sprites, "projector", f"step_{step}", header)


def thumbnails(images: Tensor | None, targets: Tensor) -> Tensor | None:
    """Images in frames of their labels' colours, else squares of these: TensorBoard colours points only when asked to.

    Where a sample has several targets, frames are white, and there are no squares.
    """
    from matplotlib import colormaps

    colors = torch.ones(len(targets), 3)
    if targets.numel() == len(targets):
        labels = targets.flatten().double()
        shares = (labels - labels.min()) / (labels.max() - labels.min()).clamp(min=1e-9)
        colors = torch.from_numpy(colormaps["turbo"](0.1 + 0.8 * shares.numpy())[:, :3]).float()  # its ends are dark
    elif images is None:
        return None
    pixels = colors[:, :, None, None].repeat(1, 1, THUMBNAIL, THUMBNAIL)
    if images is not None:
        pixels[:, :, FRAME:-FRAME, FRAME:-FRAME] = images
    return pixels


def as_pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) of any type and range, as uint8 with one or three channels."""
    images = images[:, : 3 if images.shape[1] > 2 else 1]
    if images.dtype == torch.uint8:
        return images
    low, high = images.min(), images.max()
    return ((images - low) / (high - low).clamp(min=1e-9) * 255).to(torch.uint8)
