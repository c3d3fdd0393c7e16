"""What a prediction leaves behind: ``predictions.csv``, and its first rows as a table on the screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from kindling.callbacks.gather import gather
from kindling.errors import DataError, UsageError
from kindling.models.base import SupervisedModule
from kindling.runs.csv_files import write

SHOWN_ROWS, SHOWN_COLUMNS, SHOWN_CLASSES = 10, 5, 4


class PredictionWriter(BasePredictionWriter):
    """Gathers the predictions from all processes, in the order of the data, and writes them.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.file = folder / "predictions.csv"
        self._described: dict[str, Sequence[object]] = {}  # the data's own columns
        self._parts: list[tuple[list[int], Tensor]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse data with a column that a prediction would replace."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero and hasattr(data, "describe"):
            self._described = dict(data.describe(data.predict_set, range(len(data.predict_set))))
        names = _class_names(pl_module, data)
        added = {"prediction", *(f"p({name})" for name in names)}
        if not names and isinstance(pl_module, SupervisedModule) and pl_module.task.num_outputs == 2:
            added.add("std")
        column = trainer.strategy.broadcast(next((name for name in self._described if name in added), None))
        if column is not None:
            raise DataError(
                f"the data to predict has a column {column}, as predictions.csv will: rename it, there and in the "
                "table trained on, or take it out"
            )

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        if not isinstance(prediction, Tensor) or prediction.ndim != 2:
            raise UsageError(f"{type(pl_module).__name__}.predict_step must return one tensor (B, K)")
        if batch_indices is None:
            raise RuntimeError("Lightning did not tell which samples a batch holds")
        self._parts.append((list(batch_indices), prediction.float().cpu()))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parts, self._parts = self._parts, []
        parts = [part for process in gather(trainer, parts) for part in process]
        if not trainer.is_global_zero or not parts:
            return
        indices = torch.tensor([i for part, _ in parts for i in part])
        predictions = torch.cat([p for _, p in parts])[indices.argsort()]  # (N, K)
        self._write(trainer, pl_module, indices.sort().values.tolist(), predictions)

    def _write(self, trainer: Trainer, pl_module: LightningModule, rows: list[int], predictions: Tensor) -> None:
        unknown = predictions.isnan().any(dim=1)
        if unknown.any():
            first = rows[int(unknown.int().argmax())] + 1
            raise DataError(
                f"the network's answer is NaN for {int(unknown.sum()):,} of {len(rows):,} samples, the first being "
                f"number {first}: leave them out, or take another checkpoint, or another --trainer.precision"
            )
        columns: dict[str, Any] = {name: [values[i] for i in rows] for name, values in self._described.items()}
        shown = dict(list(columns.items())[:SHOWN_COLUMNS])
        names = _class_names(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        if isinstance(pl_module, SupervisedModule) and not names:
            numbers = dict(zip(("prediction", "std"), predictions.T.tolist(), strict=False))
            columns |= numbers
            shown |= numbers
        else:
            if len(names) != predictions.shape[1]:
                names = [str(k) for k in range(predictions.shape[1])]
            columns["prediction"] = shown["prediction"] = [names[k] for k in predictions.argmax(dim=1)]
            if len(names) > SHOWN_CLASSES:
                shown["probability"] = [f"{p:.4f}" for p in predictions.max(dim=1).values]
            for name, column in zip(names, predictions.T.tolist(), strict=True):
                columns[f"p({name})"] = column
                if len(names) <= SHOWN_CLASSES:
                    shown[f"p({name})"] = [f"{p:.4f}" for p in column]
        write(self.file, columns)
        print(_table(shown))
        print(f"{len(rows)} predictions -> {self.file}")


def _class_names(network: LightningModule, data: object) -> Sequence[str]:
    """None where a number is predicted, or where nobody knows."""
    facts = getattr(network, "facts", None) or getattr(data, "facts", None)
    return facts.class_names if facts else ()


def _table(columns: dict[str, list[Any]]) -> str:
    cells = [[name, *map(_cell, values[:SHOWN_ROWS])] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in zip(*cells, strict=True)
    ]
    more = len(next(iter(columns.values()))) - SHOWN_ROWS
    return "\n".join(lines + ([f"... and {more} more"] if more > 0 else []))


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
