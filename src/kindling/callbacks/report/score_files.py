"""The scores of a test or validation: ``test.json`` or ``validate.json``, the run's loggers, and a line."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from kindling.callbacks.after_epoch import rounded, short
from kindling.callbacks.report.progress import WIDTH
from kindling.callbacks.report.publish import boards
from kindling.models.base import SupervisedModule
from kindling.runs.atomic import atomic_write
from kindling.tasks.scores import BASELINE


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
        found = {name: rounded(value) for name, value in trainer.callback_metrics.items()}
        baseline = {k.removeprefix(BASELINE): score for k, score in found.items() if k.startswith(BASELINE)}
        scores = {name: score for name, score in found.items() if not name.startswith(BASELINE)}
        about = {}
        if isinstance(pl_module, SupervisedModule):
            about["loss_unit"] = pl_module.task.loss_unit
            about["baseline"] = pl_module.task.baseline if baseline else ""
        for logger in trainer.loggers:
            logger.log_metrics(found, self.trained["step"])  # at the step that these weights are of
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{command}.json"
        with atomic_write(file) as stream:
            stated = {key: text for key, text in about.items() if text}
            content = {"checkpoint": str(trainer.ckpt_path), **self.trained, **stated, **found}
            stream.write(json.dumps(content, indent=2) + "\n")
        print(in_lines(scores, pl_module))
        if baseline:
            print(in_lines(baseline, pl_module, f"{about['baseline']}: "))
        print(f"Scores -> {file}")


def in_lines(scores: Mapping[str, float], network: LightningModule, title: str = "") -> str:
    """The main scores in lines that fit a screen."""
    lines = [title]
    for name in main_scores(scores, network):
        text = f"{name} {short(scores[name])}{unit_of(name, network)}"
        if len(lines[-1] + text) > WIDTH:
            lines.append("")
        lines[-1] += f"{text}  "
    return "\n".join(line.rstrip() for line in lines)


def unit_of(score: str, network: LightningModule) -> str:
    """The unit of a loss, to follow it in brackets; nothing where that is plain."""
    unit = network.task.loss_unit if isinstance(network, SupervisedModule) else ""
    return f" ({unit})" if unit and score.rpartition("/")[2] == "loss" else ""


def main_scores(names: Iterable[str], network: LightningModule) -> list[str]:
    """All but those of single tags or targets, of which there may be many; their means are among the others."""
    parts = network.task.part_names if isinstance(network, SupervisedModule) else ()
    return [name for name in names if not name.endswith(tuple(f"_{part}" for part in parts))]
