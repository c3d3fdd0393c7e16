"""What a prediction leaves behind: ``predictions.csv``, and its first rows as a table on the screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from kindling.callbacks.columns import write
from kindling.callbacks.gather import gather
from kindling.errors import UsageError

SHOWN_ROWS, SHOWN_COLUMNS, SHOWN_CLASSES = 10, 5, 4


class Predictions(BasePredictionWriter):
    """Gathers the predictions from all processes, in the order of the data, and writes them.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(write_interval="batch")
        self.file = folder / "predictions.csv"
        self._parts: list[tuple[list[int], Tensor]] = []

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
        data = trainer.datamodule  # type: ignore[attr-defined]
        described = data.describe(data.predict_set) if hasattr(data, "describe") else {}
        columns = {name: [values[i] for i in rows] for name, values in described.items()}
        shown = dict(list(columns.items())[:SHOWN_COLUMNS])
        facts = getattr(pl_module, "facts", None)
        names = facts.class_names if facts else getattr(getattr(data, "facts", None), "class_names", ())
        if facts is not None and not names:
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
