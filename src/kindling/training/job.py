"""A job: one command with all its parts, made from names, classes or objects."""

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.console import say
from kindling.models.base import SupervisedModule
from kindling.runs import checkpoints
from kindling.runs.find import Checkpoint
from kindling.runs.folder import Run
from kindling.runs.trust import Options
from kindling.training import parts
from kindling.training.parts import Monitor
from kindling.training.resume import check_resumable, differences

RESTORED = ("model", "data", "loss", "threshold")  # options of a run that also a test and a prediction take over


@dataclass(frozen=True)
class Start:
    """What a command starts from.

    Args:
        checkpoint: The file and its run; None for new weights.
        content: What is in it.
        damaged: A newer checkpoint of the run, which could not be read.
    """

    checkpoint: Checkpoint | None = None
    content: dict[str, Any] = field(default_factory=dict)
    damaged: Path | None = None

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> "Start":
        """
        Raises:
            CheckpointError: Neither it nor one that stands in for it can be read.
        """
        newest, content = checkpoints.read_newest(checkpoint)
        return cls(newest, content, checkpoint.file if newest != checkpoint else None)


def say_choice(checkpoint: Checkpoint) -> None:
    """Where the newest of several runs was chosen, say so, and how to choose another."""
    if checkpoint.other:
        folder, kind = checkpoint.run.folder, checkpoint.run.folder.name.partition("_")[0]
        best = f"the best {kind} of " if folder.name == Run(folder.parent).best_member else ""
        say(f"This is {best}the newest run; for another one, type e.g. --ckpt_path {checkpoint.other}")


@dataclass
class Job:
    """What a command works with.

    Args:
        command: ``fit``, ``test``, ...
        options: All that makes the run what it is, as plain data; what ``config.yaml`` and each checkpoint hold.
        trainer_options: Arguments of Lightning's Trainer.
        model: The network, which knows its task.
        data: What it is trained or tested on; None for a network that brings its own.
        monitor: The score that decides which epoch is the best.
        start: The checkpoint that it starts from, if any.
        program: How the user calls Kindling, for the commands that messages and files name.
        run: Where the training keeps its files; known when it begins, as is the Trainer.
    """

    command: str
    options: Options
    trainer_options: dict[str, Any]
    model: LightningModule
    data: LightningDataModule | None
    monitor: Monitor
    start: Start
    program: str = "kindling"
    run: Run | None = None
    trainer: Trainer | None = None

    @property
    def checkpoint(self) -> Checkpoint | None:
        return self.start.checkpoint

    @property
    def content(self) -> dict[str, Any]:
        return self.start.content

    @property
    def resumes(self) -> bool:
        """Whether training continues in the folder that the checkpoint is of."""
        return self.command == "fit" and self.checkpoint is not None and self.checkpoint.is_last

    @property
    def saved(self) -> int:
        """Optimizer steps that the run's last checkpoint has seen; 0 for no checkpoint."""
        keeper = BestAndLast.of(self.trainer) if self.trainer else None
        return max(keeper.saved if keeper else 0, self.content["global_step"] if self.resumes else 0)

    def end_other_processes(self) -> None:
        """Those that Lightning started for this job, at once."""
        launcher = self.trainer.strategy.launcher if self.trainer else None
        if launcher is not None:
            launcher.kill(getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows ends them as abruptly by the other


def make_job(
    command: str,
    options: Options,
    *,
    model: Any,
    data: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    lr_scheduler: Any = None,
    trainer: dict[str, Any] | None = None,
    start: Start | None = None,
    program: str = "kindling",
) -> Job:
    """
    Args:
        options: The whole run as plain data; a usual optimizer is added where none is given.
        trainer: Arguments of Lightning's Trainer.

    Raises:
        KindlingError: The parts don't fit each other, or the checkpoint.
    """
    start = start or Start()
    made = parts.make_data(data, start.content)
    network = parts.make_network(model, made, loss, options.get("threshold"))
    monitor = parts.find_monitor(network, options.get("monitor"), options.get("mode"))
    then = start.content.get("config")
    if options.get("loss") is None and (then is None or then.get("loss")):  # an older run's is not in its options
        options = options | {"loss": parts.usual_loss(network)}
    if optimizer is None and lr_scheduler is None:
        optimizer, lr_scheduler = parts.usual_optimizer(network, monitor, (trainer or {}).get("limit_val_batches") != 0)
        usual = {"optimizer": optimizer, "lr_scheduler": lr_scheduler}
        options = options | {key: parts.describe(key, value) for key, value in usual.items()}
    followed = parts.follow(lr_scheduler, monitor)
    if followed is not lr_scheduler:
        options = options | {"lr_scheduler": parts.describe("lr_scheduler", followed)}
    parts.bind_optimizer(network, optimizer, followed)
    if start.checkpoint:
        checkpoint, content = start.checkpoint, start.content
        restored = content.get("config", {})
        if command == "fit":
            checkpoint, content = check_resumable(checkpoint, content, options)
        else:  # the callbacks of the training have nothing to do now, and Lightning would miss them
            content = content | {"callbacks": {}}
            restored = {key: restored[key] for key in RESTORED if key in restored}
        for line in differences(restored, options):
            say(line)
        checkpoints.check_fit(content["state_dict"], network, checkpoint.file)
        start = Start(checkpoint, content, start.damaged)
    elif isinstance(network, SupervisedModule):
        network.begin()
    return Job(command, options, trainer or {}, network, made, monitor, start, program)
