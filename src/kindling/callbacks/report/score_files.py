"""The scores of a test or validation: ``test.json`` or ``validate.json``, the run's loggers, and a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks.after_epoch import short
from kindling.callbacks.report.publish import boards
from kindling.models.base import SupervisedModule
from kindling.runs.atomic import atomic_write


class ScoreFile(Callback):
    """Writes the scores of ``test`` and ``validate`` into the folder of the run that was scored."""

    writes_scores = True  # so a network does not log them itself, too

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # None where the file holds weights alone
        self.trained = {"epoch": checkpoint.get("epoch"), "step": checkpoint.get("global_step")}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module, "validate")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        opened = [logger for logger in trainer.loggers if getattr(logger, "_experiment", None)]
        if trainer.state.fn != "fit" and opened:
            for board in boards(trainer):  # each has begun a file that will hold nothing
                writer: Any = board.file_writer
                board.close()
                if writer is None:
                    continue
                Path(writer.event_writer._file_name).unlink(missing_ok=True)

    def _write(self, trainer: Trainer, pl_module: LightningModule, command: str) -> None:
        if not trainer.is_global_zero:
            return
        scores = {name: float(f"{value:.7g}") for name, value in trainer.callback_metrics.items()}  # float32
        for logger in trainer.loggers:
            logger.log_metrics(scores, self.trained["step"])  # at the step that these weights are of
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{command}.json"
        with atomic_write(file) as stream:
            content = {"checkpoint": str(trainer.ckpt_path), **self.trained, **scores}
            stream.write(json.dumps(content, indent=2) + "\n")
        print("  ".join(f"{name} {short(scores[name])}" for name in main_scores(scores, pl_module)) + f"  -> {file}")


def main_scores(names: Iterable[str], network: LightningModule) -> list[str]:
    """All but those of single tags or targets, of which there may be many; their means are among the others."""
    parts = network.task.part_names if isinstance(network, SupervisedModule) else ()
    return [name for name in names if not name.endswith(tuple(f"_{part}" for part in parts))]
