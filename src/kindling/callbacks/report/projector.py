"""TensorBoard's PROJECTOR: the last hidden features of test samples, with their labels and pictures."""

import math
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn

from kindling.callbacks.report.publish import save
from kindling.facts import Facts
from kindling.pictures.analysis import TestResult, read
from kindling.pictures.drawing import clip
from kindling.runs.atomic import atomic_write

NUMBERS = 200_000  # in all: half a second to write
THUMBNAIL = 64  # pixels


class LastFeatures:
    """Keeps what the last linear layer to run is given, of every so many-th sample."""

    def __init__(self, module: nn.Module, every: int) -> None:
        self.every = every
        self._seen = 0
        self._last: Tensor | None = None
        self._kept: list[Tensor] = []
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        self._hooks = [layer.register_forward_pre_hook(self._remember) for layer in layers]

    def _remember(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._last = inputs[0] if inputs else None

    def keep(self, samples: int) -> None:
        """Call it after each batch."""
        last, self._last = self._last, None
        if last is not None and last.ndim > 1 and len(last) == samples:
            self._kept.append(last.flatten(1)[-self._seen % self.every :: self.every].clone())  # not the whole batch
        self._seen += samples

    def close(self) -> Tensor:
        """(M, D), on the CPU."""
        for hook in self._hooks:
            hook.remove()
        return torch.cat(self._kept).float().cpu() if self._kept else torch.empty(0, 0)


def project(folder: Path, tested: TestResult, facts: Facts, images: Tensor | None, step: int) -> None:
    """Show the features in TensorBoard's PROJECTOR, in place of an earlier test's.

    SummaryWriter's own ``add_embedding`` prints a warning where a checkpoint is tested again, and keeps both.

    Args:
        folder: TensorBoard's, of the run.
        images: Of the whole test set (N, C, H, W) uint8, for data that has them.
    """
    files, config = folder / "projector", folder / "projector_config.pbtxt"
    shutil.rmtree(files, ignore_errors=True)
    config.unlink(missing_ok=True)
    thin = max(1, math.ceil(tested.features.numel() / NUMBERS))
    features, rows = tested.features[::thin], tested.featured[::thin]
    finite = features.isfinite().all(dim=1)
    features, rows = features[finite], rows[finite]
    if not len(rows):
        return
    files.mkdir(exist_ok=True)
    _write(files / "tensors.tsv", "".join("\t".join(f"{v:.5g}" for v in row) + "\n" for row in features.tolist()))
    names = [[clip(n, 100) for n in read(values[rows], facts)] for values in (tested.targets, tested.predictions)]
    pairs = [(facts.target, "prediction"), *zip(*names, strict=True)]
    _write(files / "metadata.tsv", "".join(f"{clip(true, 100)}\t{predicted}\n" for true, predicted in pairs))
    lines = [
        f'tensor_name: "last hidden features, step {step}"',
        'tensor_path: "projector/tensors.tsv"',
        'metadata_path: "projector/metadata.tsv"',
    ]
    if images is not None:
        every = math.ceil(max(images.shape[2:]) / THUMBNAIL)
        small = images[rows][:, :, ::every, ::every]
        save(files / "sprite.png", sprite(small).squeeze(2).numpy())
        height, width = small.shape[2:]
        size = f"single_image_dim: {width} single_image_dim: {height}"
        lines.append(f'sprite {{ image_path: "projector/sprite.png" {size} }}')
    _write(config, "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n")


def _write(file: Path, text: str) -> None:
    with atomic_write(file) as stream:
        stream.write(text)


def sprite(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as one square sheet of them (side * H, side * W, C), row by row."""
    side = math.ceil(math.sqrt(len(images)))
    sheet = images.new_zeros(side**2, *images.shape[1:])
    sheet[: len(images)] = images
    _, c, h, w = sheet.shape
    return sheet.view(side, side, c, h, w).permute(0, 3, 1, 4, 2).reshape(side * h, side * w, c)
