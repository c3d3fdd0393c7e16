"""What a test leaves behind to look at: pictures, ``mistakes.csv``, and TensorBoard's PROJECTOR."""

from collections.abc import Sized
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from kindling.callbacks.after_epoch import short
from kindling.callbacks.gather import gather
from kindling.callbacks.report.boundary import boundary
from kindling.callbacks.report.projector import as_pixels, project
from kindling.callbacks.report.publish import boards, publish
from kindling.data.base import DataModule
from kindling.data.loading import take
from kindling.models.base import SupervisedModule
from kindling.pictures import samples
from kindling.pictures.style import Draw, clip
from kindling.runs.atomic import folder_lock
from kindling.runs.csv_files import write
from kindling.tasks.base import Task

# what a test may leave; what an earlier one left, this one may have no reason to draw
FILES = (
    "confusion.png",
    "reliability.png",
    "boundary.png",
    "predicted.png",
    "tags.png",
    "mistakes.png",
    "mistakes.csv",
)
SHOWN, SHOWN_COLUMNS = 24, 6  # samples in a picture, and columns of the data in a table
HELD_NUMBERS = 500_000_000  # 2 GB


class TestReport(Callback):
    """Draws what a test found into the folder of the run that was tested, and for its loggers.

    The network's task knows what to draw of predictions and targets. Of the test set only the few samples that are
    shown are asked for. Networks that are no ``SupervisedModule`` get no pictures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.step = 0  # of the checkpoint

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.step = checkpoint.get("global_step", 0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        dataset = getattr(trainer.test_dataloaders, "dataset", None)
        self._size = len(dataset) if isinstance(dataset, Sized) else 0  # 0: there is no order to report in
        self._batches: list[tuple[Tensor, Tensor]] = []  # predictions and targets

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        if not self._size or not isinstance(outputs, dict) or "predictions" not in outputs:
            return
        numbers = outputs["predictions"].shape[1:].numel()
        if self._size * numbers > HELD_NUMBERS:
            if trainer.is_global_zero:
                what = f"{self._size:,} predictions of {numbers:,} numbers"
                print(f"No pictures of this test: {what} are too large to hold")
            self._size = 0
        else:
            self._batches.append((outputs["predictions"], outputs["targets"]))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches, self._batches = self._batches, []
        if not batches or not isinstance(pl_module, SupervisedModule):
            return
        processes = gather(trainer, [_drawable(torch.cat(parts)) for parts in zip(*batches, strict=True)])
        if processes:
            predictions, targets = (self._in_order(parts) for parts in zip(*processes, strict=True))
            with folder_lock(self.folder):
                self._draw(trainer, pl_module, predictions, targets)

    def _in_order(self, parts: tuple[Tensor, ...]) -> Tensor:
        """What each process has, in the order of the test set: the processes take its samples in turn.

        Lightning's own samplers begin again with the first samples where that does not come out even.
        """
        indices = torch.cat([rank + len(parts) * torch.arange(len(part)) for rank, part in enumerate(parts)])
        order = indices.argsort()
        return torch.cat(parts)[order[indices[order] < self._size]]

    def _draw(self, trainer: Trainer, network: SupervisedModule, predictions: Tensor, targets: Tensor) -> None:
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        task, data = network.task, trainer.datamodule  # type: ignore[attr-defined]
        subject = f"{type(network).__name__}, {len(targets):,} test samples"
        figures = dict(task.figures(predictions, targets, subject))

        def predict(x: Tensor) -> Tensor:
            with torch.no_grad(), trainer.precision_plugin.test_step_context():
                batch = data.on_after_batch_transfer((x.to(network.device),), 0)
                return network.predict_step(batch).float().cpu()

        if isinstance(data, DataModule):
            figures |= self._mistakes(task, data, predictions, targets, subject)
            # where a network is spread over processes, one alone can't run it
            if trainer.world_size == 1 or isinstance(trainer.strategy, DDPStrategy):
                figures |= boundary(task.facts, data, predict, predictions, targets, subject)
                for board in boards(trainer) if predictions.ndim == 2 else []:
                    project(board, network, data, predict, predictions, targets, self.step)
        for name, draw in figures.items():
            publish(trainer, self.folder / f"{name}.png", f"test/{name}", self.step, draw)
        if left := [name for name in FILES if (self.folder / name).is_file()]:
            print(f"In {self.folder}: {', '.join(left)}", flush=True)

    def _mistakes(
        self, task: Task, data: DataModule, predictions: Tensor, targets: Tensor, subject: str
    ) -> dict[str, Draw]:
        """Write ``mistakes.csv``; the picture shows its first rows."""
        order, found = task.mistakes(predictions, targets)
        if not len(order):
            return {}
        texts = task.target_texts(targets[order])
        several = task.facts.targets
        true = dict(zip(several, zip(*texts, strict=True), strict=True)) if several else {task.facts.target: texts}
        described = data.describe(data.test_set, order.tolist())
        # a column of the data that has one of our names is kept beside ours
        columns = {f"{name} (data)" if name in found else name: values for name, values in (true | described).items()}
        write(self.folder / "mistakes.csv", columns | found)
        title = f"{subject}: {len(order):,} mistakes, worst first"
        x = take(data.test_set, order[:SHOWN].tolist())[0]
        if x.ndim == 4:
            rows = zip(texts, *found.values(), strict=True)
            captions = [f"{clip(y, 17)}\n→ {clip(p, 14)} {_cell(s)}" for y, p, *_, s in islice(rows, SHOWN)]
            title += f" (true → {', '.join(found)})"
            return {"mistakes": partial(samples.image_grid, as_pixels(x).numpy(), captions, title)}
        shown = dict(islice(((name, values) for name, values in described.items() if name not in true), SHOWN_COLUMNS))
        shown |= {f"true {name}": values for name, values in true.items()} | found
        cells = {clip(name): [_cell(value) for value in values[:SHOWN]] for name, values in shown.items()}
        return {"mistakes": partial(samples.table, cells, title)}


def _drawable(tensor: Tensor) -> Tensor:
    """On the CPU; numpy has no bfloat16."""
    wide = torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else tensor.dtype
    return tensor.to("cpu", wide)


def _cell(value: object) -> str:
    return short(value) if isinstance(value, float) else clip(value)
