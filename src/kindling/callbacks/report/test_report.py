"""What a test leaves behind to look at: pictures of right and wrong, ``mistakes.csv``, and TensorBoard's PROJECTOR."""

import math
import sys
from collections.abc import Callable, Mapping, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from kindling.callbacks.after_epoch import short
from kindling.callbacks.gather import gather
from kindling.callbacks.report import publish
from kindling.callbacks.report.projector import LastFeatures, project
from kindling.data.base import DataModule
from kindling.facts import Facts
from kindling.models.base import SupervisedModule
from kindling.pictures import drawing
from kindling.pictures.analysis import TestResult, calibration, confusion, in_order, mistakes, read
from kindling.pictures.drawing import clip
from kindling.runs.atomic import folder_lock
from kindling.runs.csv_files import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]

FILES = ("confusion.png", "reliability.png", "boundary.png", "predicted.png", "mistakes.png", "mistakes.csv")
GRID = 150  # places along each axis at which the network is asked for its boundary
SHOWN_IMAGES, SHOWN_ROWS, SHOWN_COLUMNS, SHOWN_POINTS = 24, 20, 6, 2000
PROJECTED = 1000  # samples in TensorBoard's PROJECTOR


class TestReport(Callback):
    """Draws what a test found into the folder of the run that was tested, and into TensorBoard.

    The pictures are of the last test: those that it gives no reason to draw are removed. A network that is no
    ``SupervisedModule`` doesn't tell its predictions, and gets none.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.step = 0  # of the checkpoint
        self._features: LastFeatures | None = None
        self._tested: TestResult | None = None
        self._batches: list[tuple[Tensor, Tensor]] = []

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.step = checkpoint.get("global_step", 0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(pl_module, SupervisedModule):
            self._features = LastFeatures(pl_module, every=math.ceil(_samples(trainer) / PROJECTED))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._features and isinstance(outputs, dict) and outputs["predictions"].ndim == 2:
            self._features.keep(len(batch[0]))
            self._batches.append((outputs["predictions"].cpu(), outputs["targets"].cpu()))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._features:
            self._features.close()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        features, self._features = self._features, None
        if features is None or not isinstance(pl_module, SupervisedModule):
            return
        kept_here = features.close()
        batches, self._batches = self._batches, []
        if not batches:
            return
        local = (*(torch.cat(part) for part in zip(*batches, strict=True)), kept_here)
        if processes := gather(trainer, local):
            size = _samples(trainer)
            predictions, targets, kept = zip(*processes, strict=True)
            (predicted, _), (true, _) = in_order(predictions, size), in_order(targets, size)
            self._tested = TestResult(predicted, true, *in_order(kept, size, features.every))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        tested, self._tested = self._tested, None
        if tested is None or not isinstance(pl_module, SupervisedModule) or pl_module.facts is None:
            return
        with folder_lock(self.folder):
            self._draw(trainer, pl_module, pl_module.facts, tested)

    def _draw(self, trainer: Trainer, pl_module: SupervisedModule, facts: Facts, tested: TestResult) -> None:
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        data = trainer.datamodule  # type: ignore[attr-defined]
        subject = f"{type(pl_module).__name__}, {len(tested.targets):,} test samples"
        if facts.kind == "regression":
            drawn = _of_numbers(tested, facts, subject, trainer.callback_metrics)
        else:
            drawn = _of_classes(tested, facts, subject)
        if isinstance(data, DataModule):
            drawn["mistakes"] = self._mistakes(tested, facts, data, subject)
            drawn["boundary"] = _boundary(trainer, pl_module, facts, data, tested, subject)
        for name, draw in drawn.items():
            if draw is not None:
                publish.publish(trainer, self.folder / f"{name}.png", f"test/{name}", self.step, draw)
        for board in publish.boards(trainer):
            images = _images(data, facts)
            project(Path(board.log_dir), tested, facts, images, self.step)

    def _mistakes(self, tested: TestResult, facts: Facts, data: DataModule, subject: str) -> Draw | None:
        """Writes ``mistakes.csv``; the picture shows its first rows."""
        order, sizes = mistakes(tested.predictions, tested.targets)
        if not len(order):
            return None
        true, predicted = (read(values[order], facts) for values in (tested.targets, tested.predictions))
        described = data.describe(data.test_set, order.tolist())
        found: dict[str, list[Any]] = {"prediction": predicted}
        if facts.class_names:
            found["probability"] = sizes.tolist()
        else:
            found |= {"std": tested.predictions[order, 1].tolist()} if tested.predictions.shape[1] > 1 else {}
            found["error"] = sizes.tolist()
        columns = {facts.target: true}
        columns |= {name: list(values) for name, values in described.items()}
        # what the data calls by the same name is kept beside it
        columns = {f"{name} (data)" if name in found else name: values for name, values in columns.items()}
        write(self.folder / "mistakes.csv", columns | found)
        images = _images(data, facts)
        if images is not None:
            captions = [
                f"{clip(t, 17)}\n→ {clip(p, 14)} {size:.0%}" for t, p, size in zip(true, predicted, sizes, strict=True)
            ]
            title = f"{subject}: {len(order):,} mistakes, most confident first (true → predicted, probability)"
            return partial(drawing.image_grid, images[order[:SHOWN_IMAGES]].numpy(), captions[:SHOWN_IMAGES], title)
        others = [name for name in columns if name != facts.target][:SHOWN_COLUMNS]
        shown = {name: columns[name] for name in others} | {f"true {facts.target}": true} | found
        cells = {clip(name): [_cell(value) for value in values[:SHOWN_ROWS]] for name, values in shown.items()}
        kind = f"{len(order):,} mistakes, most confident first" if facts.class_names else "the largest errors first"
        return partial(drawing.table, cells, f"{subject}: {kind}")


def _of_classes(tested: TestResult, facts: Facts, subject: str) -> dict[str, Draw | None]:
    labels, counts = confusion(tested.targets, tested.predictions)
    title = f"{subject}: accuracy {float((tested.predictions.argmax(dim=1) == tested.targets).float().mean()):.4f}"
    names = [facts.class_names[n] for n in labels]
    if len(labels) < len(facts.class_names):
        title += f"; the {len(labels)} most confused of {len(facts.class_names):,} classes"
        names.append("others")
    drawn: dict[str, Draw | None] = {"confusion": partial(drawing.confusion, counts.numpy(), names, title)}
    finite = tested.predictions.isfinite().all(dim=1)
    if finite.any():
        found = calibration(tested.predictions[finite], tested.targets[finite])
        parts = found.counts.numpy(), found.confidence.numpy(), found.accuracy.numpy()
        title = f"{subject}: expected calibration error {found.error:.4f}"
        drawn["reliability"] = partial(drawing.reliability, *parts, title)
    return drawn


def _of_numbers(tested: TestResult, facts: Facts, subject: str, scores: Mapping[str, Tensor]) -> dict[str, Draw | None]:
    finite = tested.predictions.isfinite().all(dim=1)
    if not finite.any():
        return {}
    thin = math.ceil(int(finite.sum()) / SHOWN_POINTS)
    named = {"MAE": "test/mae", "RMSE": "test/rmse", "R²": "test/r2"}  # the last is not there for a single sample
    title = f"{subject}: " + "  ".join(f"{k} {short(float(scores[v]))}" for k, v in named.items() if v in scores)
    predictions, targets = (values[finite][::thin].numpy() for values in (tested.predictions, tested.targets))
    return {"predicted": partial(drawing.predicted_against_true, predictions, targets, facts.target, title)}


def _boundary(
    trainer: Trainer, pl_module: SupervisedModule, facts: Facts, data: DataModule, tested: TestResult, subject: str
) -> Draw | None:
    """The plane of two features; None where there are others, or nothing to decide."""
    x = data.test_set.tensors[0][: len(tested.targets)]
    known = x.flatten(1).isfinite().all(dim=1)  # a gap has no place in the plane
    if not facts.class_names or len(facts.feature_names) != 2 or facts.in_features != 2 or not known.any():
        return None
    x, labels = x[known], tested.targets[known]  # (N, 2), (N,)
    wrong = labels != tested.predictions[known].argmax(dim=1)
    low, high = x.amin(dim=0), x.amax(dim=0)
    margin = torch.where(high > low, 0.05 * (high - low), 1.0)
    low, high = low - margin, high + margin
    places = _plane(low, high, GRID)
    precision = trainer.precision_plugin
    with torch.no_grad(), precision.test_step_context():
        inputs = data.normalize(precision.convert_input(places.to(pl_module.device)))
        regions = pl_module.predict_step((inputs,)).argmax(dim=1).cpu()
    rule = getattr(data, "rule", None)
    thin = math.ceil(len(x) / SHOWN_POINTS)
    return partial(
        drawing.boundary,
        regions.view(GRID, GRID).numpy(),
        rule(_plane(low, high, 4 * GRID)).view(4 * GRID, 4 * GRID).numpy() if rule else None,
        (float(low[0]), float(high[0]), float(low[1]), float(high[1])),
        (x[::thin].numpy(), labels[::thin].numpy(), wrong[::thin].numpy()),
        (facts.feature_names, facts.class_names),
        f"{subject}: {int(wrong.sum()):,} predicted wrongly",
    )


def _plane(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Centres (size * size, 2) of the cells of a grid, row by row from the lowest second feature up."""
    across, up = (low + (high - low) * (torch.arange(size)[:, None] + 0.5) / size).T
    return torch.cartesian_prod(up, across).flip(1)


def _samples(trainer: Trainer) -> int:
    """Of the test set; without end where it doesn't say."""
    dataset = getattr(trainer.test_dataloaders, "dataset", None)
    return len(dataset) if isinstance(dataset, Sized) else sys.maxsize


def _images(data: object, facts: Facts) -> Tensor | None:
    """Of the test set (N, C, H, W) uint8; None for other data."""
    return data.test_set.tensors[0] if isinstance(data, DataModule) and facts.in_channels is not None else None


def _cell(value: object) -> str:
    return short(value) if isinstance(value, float) else clip(value)
