"""What a prediction leaves behind: ``predictions.csv``, whose first rows are shown on the screen."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from kindling.callbacks.gather import gather
from kindling.console import aligned
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.models.base import SupervisedModule
from kindling.runs.atomic import atomic_write
from kindling.runs.csv_files import write
from kindling.tasks.classification import Classification

SHOWN_ROWS, SHOWN_COLUMNS = 10, 5  # on the screen
Columns = dict[str, Sequence[Any]]


@dataclass
class Predictions:
    """
    Args:
        rows: Which samples of the set they are of, ascending.
        data: Columns that tell the samples apart.
        truth: Which of them hold what is predicted.
        columns: Those of the predictions; none where the task has none, as with an image per sample.
        raw: What the network said, (N, ...).
    """

    rows: Sequence[int]
    data: Columns
    truth: set[str]
    columns: Columns
    raw: Tensor

    def write(self, folder: Path) -> None:
        """Write ``predictions.csv``, beside ``predictions.npy`` where the task has no columns; show the first rows."""
        file = folder / "predictions.csv"
        folder.mkdir(parents=True, exist_ok=True)
        array = file.with_suffix(".npy")
        described, added = self.data, self.columns
        if added:
            array.unlink(missing_ok=True)  # of another prediction
        else:
            described = described or {"sample": self.rows}
            with atomic_write(array, "wb") as stream:
                np.save(stream, self.raw.numpy())
        described = beside(described, added)
        write(file, described | added)
        known = [name for name in described if name in self.truth][:SHOWN_COLUMNS]  # beside what is predicted
        shown = [name for name in described if name not in self.truth][:SHOWN_COLUMNS] + known
        if len(added) > SHOWN_COLUMNS and "p(" in list(added)[1]:
            added = {"prediction": added["prediction"], "probability": self.raw.amax(dim=1).tolist()}
        print(as_table({name: described[name] for name in shown} | dict(list(added.items())[:SHOWN_COLUMNS])))
        print(f"{len(self.rows)} predictions -> {file if added else array}")


class PredictionWriter(BasePredictionWriter):
    """Gathers the predictions from all processes, in the order of the data.

    Args:
        write: Called with them in the first process.
    """

    def __init__(self, write: Callable[[Predictions], object]) -> None:
        super().__init__(write_interval="batch")
        self.write = write
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
        rows = indices.sort().values.tolist()
        unknown = predictions.flatten(1).isnan().any(dim=1)
        if unknown.any():
            first = rows[int(unknown.int().argmax())] + 1
            raise DataError(
                f"the network's answer is NaN for {int(unknown.sum()):,} of {len(rows):,} samples, the first being "
                f"number {first}: leave them out, or take another checkpoint, or another --trainer.precision"
            )
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        described = data.describe(data.predict_set, rows) if hasattr(data, "describe") else {}
        facts = getattr(data, "facts", None)
        truth = {facts.target, *facts.targets, *facts.class_names} if facts else set()
        self.write(Predictions(rows, described, truth, _columns(pl_module, data, predictions), predictions))


def beside(described: Mapping[str, Sequence[Any]], added: Collection[str]) -> Columns:
    """Columns of the data; one that has the name of an added column is kept by another."""
    return {f"{name} (data)" if name in added else name: of for name, of in described.items()}


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


def as_table(columns: Mapping[str, Sequence[Any]], most: int = SHOWN_ROWS) -> str:
    """The first rows of columns, as lines for the screen."""
    cells = [[name, *map(_cell, values[:most])] for name, values in columns.items()]
    lines = aligned([*zip(*cells, strict=True)])
    more = len(next(iter(columns.values()))) - most
    return "\n".join(lines + ([f"... and {more} more"] if more > 0 else []))


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
