"""What a prediction leaves behind: ``predictions.csv``, whose first rows are shown on the screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from kindling.callbacks.gather import gather
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.models.base import SupervisedModule
from kindling.runs.atomic import atomic_write
from kindling.runs.csv_files import write
from kindling.tasks.classification import Classification

SHOWN_ROWS, SHOWN_COLUMNS = 10, 5  # on the screen


class PredictionWriter(BasePredictionWriter):
    """Gathers the predictions from all processes, in the order of the data, and writes them into the run's folder.

    They become columns of ``predictions.csv`` beside the data's own. Where the task has none for them, as with an
    image per sample, they are written to ``predictions.npy``, in the order of the rows.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.file = folder / "predictions.csv"
        self._parts: list[tuple[list[int], Tensor]] = []

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, prediction: Any, batch_indices: Any, *_: Any
    ) -> None:
        shape = prediction.shape if isinstance(prediction, Tensor) else ()
        if len(shape) < 2 or shape[0] != len(batch_indices or ()):
            raise UsageError(f"{type(pl_module).__name__}.predict_step must return a tensor, a row (...) per sample")
        self._parts.append((list(batch_indices), prediction.float().cpu()))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts, self._parts = self._parts, []
        parts = [part for process in gather(trainer, parts) for part in process]
        if not trainer.is_global_zero or not parts:
            return
        indices = torch.tensor([i for part, _ in parts for i in part])
        predictions = torch.cat([p for _, p in parts])[indices.argsort()]  # (N, ...)
        self._write(trainer, pl_module, indices.sort().values.tolist(), predictions)

    def _write(self, trainer: Trainer, pl_module: LightningModule, rows: list[int], predictions: Tensor) -> None:
        unknown = predictions.flatten(1).isnan().any(dim=1)
        if unknown.any():
            first = rows[int(unknown.int().argmax())] + 1
            raise DataError(
                f"the network's answer is NaN for {int(unknown.sum()):,} of {len(rows):,} samples, the first being "
                f"number {first}: leave them out, or take another checkpoint, or another --trainer.precision"
            )
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        described = data.describe(data.predict_set, rows) if hasattr(data, "describe") else {}
        added = _columns(pl_module, data, predictions)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        array = self.file.with_suffix(".npy")
        if added:
            array.unlink(missing_ok=True)  # of another prediction
        else:
            described = described or {"sample": rows}
            with atomic_write(array, "wb") as stream:
                np.save(stream, predictions.numpy())
        # a column of the data that has the name of a prediction is kept beside it
        described = {f"{name} (data)" if name in added else name: list(of) for name, of in described.items()}
        write(self.file, described | added)
        facts = getattr(data, "facts", None)
        truth = {facts.target, *facts.targets, *facts.class_names} if facts else set()
        known = [name for name in described if name in truth][:SHOWN_COLUMNS]  # beside what is predicted
        shown = [name for name in described if name not in truth][:SHOWN_COLUMNS] + known
        if len(added) > SHOWN_COLUMNS and "p(" in list(added)[1]:
            added = {"prediction": added["prediction"], "probability": predictions.amax(dim=1).tolist()}
        print(_table({name: described[name] for name in shown} | dict(list(added.items())[:SHOWN_COLUMNS])))
        print(f"{len(rows)} predictions -> {self.file if added else array}")


def _columns(network: LightningModule, data: object, predictions: Tensor) -> dict[str, Sequence[Any]]:
    """A network that is no ``SupervisedModule`` predicts probabilities of the data's classes."""
    if isinstance(network, SupervisedModule):
        return network.task.prediction_columns(predictions)
    if predictions.ndim != 2:
        return {}
    facts = getattr(data, "facts", None)
    names: tuple[str, ...] = facts.class_names if facts else ()
    if len(names) != predictions.shape[1]:
        names = tuple(str(k) for k in range(predictions.shape[1]))
    return Classification(Facts(in_features=1, class_names=names)).prediction_columns(predictions)


def _table(columns: dict[str, list[Any]]) -> str:
    cells = [[name, *map(_cell, values[:SHOWN_ROWS])] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    rows = zip(*cells, strict=True)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    more = len(next(iter(columns.values()))) - SHOWN_ROWS
    return "\n".join(lines + ([f"... and {more} more"] if more > 0 else []))


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
