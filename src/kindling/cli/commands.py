"""``fit``, ``validate``, ``test`` and ``predict``: LightningCLI, joined to runs and their checkpoints."""

import argparse
import errno
import gc
import inspect
import logging
import os
import re
import secrets
import shutil
import signal
import warnings
from dataclasses import replace
from enum import Enum
from functools import partial
from importlib.util import find_spec
from itertools import takewhile
from os import environ
from pathlib import Path
from traceback import walk_tb
from types import MethodType
from typing import Any, cast

import torch
import torch.distributed as dist
import yaml
from filelock import BaseFileLock, FileLock, Timeout
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt, register_type
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import (
    LightningArgumentParser,
    LightningCLI,
    LRSchedulerTypeTuple,
    ReduceLROnPlateau,
    instantiate_class,
)
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from kindling.callbacks.after_epoch import EpochNotifier, short
from kindling.callbacks.report.curves import Curves
from kindling.callbacks.report.graph import Graph
from kindling.callbacks.report.histograms import Histograms
from kindling.callbacks.report.metrics_writer import MetricsWriter
from kindling.callbacks.report.predictions import PredictionWriter
from kindling.callbacks.report.progress import EpochLines, Progress
from kindling.callbacks.report.score_files import ScoreFile
from kindling.callbacks.report.test_report import TestReport
from kindling.callbacks.resume import mid_epoch
from kindling.callbacks.resume.checkpoints import BestAndLast
from kindling.callbacks.resume.graceful_stop import GracefulStop
from kindling.callbacks.resume.mid_epoch import MidEpochState
from kindling.callbacks.resume.reseed import Reseed
from kindling.cli import options as layers
from kindling.cli import process, tracebacks
from kindling.cli import system_errors as machine
from kindling.cli.arguments import RUNLESS, Request
from kindling.cli.parser_errors import explain
from kindling.data.base import DataModule
from kindling.errors import CheckpointError, DataError, RunError, Stopped, UsageError
from kindling.facts import SIZES, Facts
from kindling.models.base import SupervisedModule
from kindling.runs import checkpoints, find, trust
from kindling.runs.atomic import DAY, atomic_write, remove_leftovers
from kindling.runs.folder import LOGS, Run, claim
from kindling.runs.trust import as_typed
from kindling.tasks import losses
from kindling.tasks.base import Task
from kindling.training import loggers
from kindling.training.load import restore_data
from kindling.training.trainer import Trainer, Unprofiled

DEFAULT_SEED = 42
ROOT = "trainer.default_root_dir"
register_type(Tensor, Tensor.tolist, torch.tensor)  # class weights, typed as a list
register_type(torch.device, str, torch.device)  # of StochasticWeightAveraging
# some of Lightning's callbacks have one as default
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))
SAVED = (
    "seed_everything",
    "trainer",
    "model",
    "loss",
    "data",
    "optimizer",
    "lr_scheduler",
    "checkpoint_every",
)  # what makes a run what it is
LATE = (  # Lightning says of options when training has begun
    "`val_check_interval`",
    "Early stopping conditioned on",
    "When using the learning rate finder",
    "Trainer is already configured with a",
    "has no attribute 'backbone'",
)
STEPWISE = (OneCycleLR, CyclicLR)  # schedulers that are made to step with every batch


@machine.said_once()
def run(request: Request, checkpoint: find.Checkpoint | None, program: str) -> int:
    """Carry out one command.

    Args:
        request: What was typed.
        checkpoint: What it starts from, if anything.
        program: How the user calls us, for the commands in messages.

    Returns:
        The exit code.

    Raises:
        KindlingError: The user has something to mend.
    """
    _hush()
    try:
        with machine.answered():
            KindlingCLI(request, checkpoint, program)
    except argparse.ArgumentError as error:
        raise UsageError(explain(str(error))) from error
    except SystemExit as stop:
        if isinstance(stop, Stopped) or stop.code not in (0, 1):
            raise
        raise Stopped(130 if stop.code else 0, "interrupted" if stop.code else "") from None  # Lightning's for Ctrl-C
    except MisconfigurationException as error:  # Lightning's word for options that don't go together
        raise UsageError(str(error)) from error
    except (AttributeError, LookupError, ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        if checkpoint and _from_its_state(error):
            raise CheckpointError(
                f"{checkpoint.file} holds a state that does not fit ({error}): take another"
            ) from error
        foreseen = isinstance(error, ModuleNotFoundError) or any(said in str(error) for said in LATE)
        if tracebacks.of_user(error) or not foreseen:
            raise
        raise UsageError(explain(str(error))) from error
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()  # gloo's threads, left to the interpreter's end, at times abort it
    return 0


class KindlingCLI(LightningCLI):
    """LightningCLI with our defaults, whose checkpoints bring their run's options back."""

    trainer: Trainer

    def __init__(self, request: Request, checkpoint: find.Checkpoint | None, program: str) -> None:
        self.request = request
        self.checkpoint = checkpoint
        self.program = program
        self.run: Run | None = None
        self._lock: BaseFileLock | None = None
        self.content: dict[str, Any] = {}
        if checkpoint:
            self.checkpoint, self.content = checkpoints.read_newest(checkpoint)
        self._damaged = checkpoint.file if checkpoint and checkpoint != self.checkpoint else None
        parser_options: dict[str, Any] = {"exit_on_error": False, "allow_abbrev": False}
        super().__init__(
            trainer_class=Trainer,
            save_config_callback=None,  # fit writes config.yaml: Lightning's callback refuses to go on in a folder
            trainer_defaults={"log_every_n_steps": 1, "enable_model_summary": False},
            seed_everything_default=DEFAULT_SEED,
            parser_kwargs=parser_options | {request.command: dict(parser_options)},
            auto_configure_optimizers=False,  # done here, when the Trainer knows the number of steps
            load_from_checkpoint_support=False,  # the networks save their plain arguments themselves
        )

    # Parsing

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one that is carried out; describing the options of the other five takes longer than parsing."""
        known = LightningCLI.subcommands() | {name: {"model", "datamodule"} for name in RUNLESS}
        return {self.request.command: known[self.request.command]}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for stage in ("train", "val", "test", "predict"):
            # as in Lightning's source; typing's cache has made it float | int, and 1 batch would be 1.0, all of them
            annotations = inspect.unwrap(self.trainer_class.__init__).__annotations__
            annotations[f"limit_{stage}_batches"] = int | float | None
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})
        # the data comes first: it is made first, and the network asks it for sizes
        parser.add_subclass_arguments(LightningDataModule, "data", required=False, fail_untyped=False)
        parser.add_subclass_arguments(nn.Module, "loss", required=False, fail_untyped=False)
        parser.add_subclass_arguments(LightningModule, "model", skip=set(SIZES), required=False, fail_untyped=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_optimizer_args((Optimizer,))
        parser.add_lr_scheduler_args(LRSchedulerTypeTuple)
        parser.add_argument(  # for fit, but it stands in the config.yaml of a run, which serves all commands
            "--checkpoint_every", type=PositiveInt | None, default=None, help="Steps; also within an epoch."
        )
        if self.request.command == "fit":
            parser.add_argument(
                "--test_after_fit", type=bool, default=False, help="Test the best checkpoint at the end."
            )
            parser.add_argument(
                "--histograms", type=bool, default=False, help="Show the weights' distributions in TensorBoard."
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        request = self.request
        restored = layers.of_run(self.content.get("config", {}), request)
        taken = layers.to_restore(restored, request, self.checkpoint) if self.checkpoint else {}
        self.config = self._parsed(parser, taken)
        section = self.config[request.command]
        if "ckpt_path" in section:
            section["ckpt_path"] = None  # Lightning would take the network's options from that file, and let them win
        if section.get("weights_only", False) is None:
            section["weights_only"] = True
        if section["seed_everything"] is True:
            section["seed_everything"] = _draw_seed()
        options = yaml.safe_load(parser.dump(self.config, skip_unset=False))[request.command]
        layers.check(options, request.command)
        self.options: dict[str, Any] = layers.spelled({key: options[key] for key in SAVED if key in options})
        if request.command == "fit" and self.checkpoint:
            checkpoints.check_trainable(self.content, self.checkpoint.file)
            layers.check_resumable(restored, self.options, "mid_epoch" in self.content)
            self._check_unfinished(self.checkpoint)
            layers.check_averaging(self.content, self.options)
        if _is_first_process():
            for line in layers.differences(restored, self.options):
                print(line)

    def _parsed(self, parser: LightningArgumentParser, taken: layers.Options) -> Namespace:
        """
        Raises:
            CheckpointError: Not what is typed, but an option in the checkpoint does not hold.
        """
        command = self.request.command
        try:
            return parser.parse_args([command, *layers.command_line(self.request, taken)])
        except argparse.ArgumentError:
            if not taken or self.checkpoint is None:
                raise
            try:
                parser.parse_args([command, *layers.command_line(replace(self.request, options=(), configs=()), taken)])
            except argparse.ArgumentError as error:
                raise CheckpointError(f"{self.checkpoint.file} holds {explain(str(error))}") from error
            raise

    def _check_unfinished(self, checkpoint: find.Checkpoint) -> None:
        """
        Raises:
            RunError: There is nothing left to train, which Lightning would do in silence.
        """
        if self._ended(checkpoint) and checkpoint.is_last and checkpoint.run.previous in checkpoint.others:
            # killed after its last step: what comes then is done after that step, once more
            self.content = checkpoints.read(checkpoint.run.previous)
            self.checkpoint = replace(checkpoint, file=checkpoint.run.previous, others=())
        if why := self._ended(checkpoint):
            raise RunError(why)

    def _ended(self, checkpoint: find.Checkpoint) -> str:
        """Why there is nothing left to train; empty if there is."""
        epochs, steps = self.content["epoch"], self.content["global_step"]
        now, then = self.options["trainer"], self.content.get("config", {}).get("trainer", {})
        for unit, done in (("epochs", epochs), ("steps", steps)):
            limit = now[f"max_{unit}"]
            if limit is not None and -1 < limit <= done:
                return find.FINISHED.format(what=checkpoint.file, done=done, unit=unit, more=2 * done)
        enough = epochs >= (now["min_epochs"] or 0) and steps >= (now["min_steps"] or 0)
        unchanged = all(now[limit] == then.get(limit) for limit in find.LIMITS)
        stopped = self.content.get("trainer", {}).get("should_stop", False)
        return find.stopped(checkpoint.file, now, epochs) if stopped and enough and unchanged else ""

    # Building

    def before_instantiate_classes(self) -> None:
        if self.checkpoint:
            self.config[self.request.command]["ckpt_path"] = str(self.checkpoint.file)

    def instantiate_classes(self) -> None:
        makers = [(self._make_data, LightningDataModule, True), (self._make_model, LightningModule, True)]
        self.datamodule: LightningDataModule | None = None
        self.loss = losses.make_loss(self.options["loss"])  # by us first: its own checks then speak of the option
        try:
            self.config_init = self.parser.instantiate(self.config, instantiators=makers)
        except ValueError as error:
            inner = error.__cause__ or error  # jsonargparse wraps what the class's own __init__ raised
            if type(inner) is not ValueError or tracebacks.of_user(inner):
                raise inner from inner.__cause__
            made = re.search(r"class_path '(.+?)'", str(inner))
            of = [key for key, value in self.options["trainer"].items() if made and made[1] in str(value)]
            raise UsageError(" ".join([*(f"--trainer.{key}" for key in of), explain(str(inner))])) from error
        self.model = self.config_init[self.request.command]["model"]
        self._bind_optimizer()
        if self.checkpoint:
            checkpoints.check_fit(self.content["state_dict"], self.model, self.checkpoint.file)
        try:
            self.trainer = self.instantiate_trainer()
        except BaseException:
            self._discard_run()
            raise

    def _make_data(self, data_class: type[LightningDataModule], *args: Any, **options: Any) -> LightningDataModule:
        self.datamodule = data_class(*args, **options)
        restore_data(self.datamodule, self.content)
        return self.datamodule

    def _make_model(self, model_class: type[LightningModule], *args: Any, **options: Any) -> LightningModule:
        facts, loss = getattr(self.datamodule, "facts", None), self.loss
        if not issubclass(model_class, SupervisedModule):
            if loss is not None:
                raise UsageError(f"--model.loss: {model_class.__name__} has a loss of its own")
            if facts is not None:
                options |= self._sizes(model_class, facts, num_outputs=len(facts.class_names) or 1)
            return model_class(*args, **options)
        if facts is None:
            data = type(self.datamodule).__name__ if self.datamodule else "no data"
            raise DataError(f"{model_class.__name__} can't be trained on {data}, which states no facts: change --data")
        num_outputs = Task(loss, facts, model_class.default_loss).num_outputs
        sizes = self._sizes(model_class, facts, num_outputs)
        try:
            model = model_class(*args, **options, **sizes)
        except (TypeError, ValueError, RuntimeError, UserWarning) as error:
            usual = inspect.signature(model_class).parameters
            given = [f"--model.{n} {v}" for n, v in options.items() if n not in usual or v != usual[n].default]
            if not given:
                raise  # a bug of the network's
            raise UsageError(f"{' '.join(given)}: {error}") from error
        model.set_task(facts, loss)
        return model

    def _sizes(self, model_class: type[LightningModule], facts: Facts, num_outputs: int) -> dict[str, int]:
        """Those that the network asks for."""
        known = {"num_outputs": num_outputs} | {size: getattr(facts, size) for size in SIZES if hasattr(facts, size)}
        asked = SIZES & inspect.signature(model_class).parameters.keys()
        for size in asked:
            if known[size] is None:
                data = type(self.datamodule).__name__
                raise DataError(
                    f"{model_class.__name__} does not fit {data}, which has no {size}: see the list command"
                )
        return {size: known[size] for size in asked}

    def _bind_optimizer(self) -> None:
        """Let the network be trained as the options say, if they say anything."""
        section = self.config_init[self.request.command]
        optimizer, scheduler = section["optimizer"], section["lr_scheduler"]
        if optimizer is None:
            if scheduler is not None:
                raise UsageError("--lr_scheduler needs an optimizer: add --optimizer NAME")
            return

        def configure_optimizers(model: LightningModule) -> Any:
            made = _make("--optimizer", model.parameters(), optimizer)
            if isinstance(made, SparseAdam) and not any(getattr(part, "sparse", False) for part in model.modules()):
                raise UsageError(
                    "--optimizer SparseAdam needs sparse gradients, as embeddings with sparse=True give them, and "
                    f"{type(model).__name__} has none: choose Adam"
                )
            if scheduler is None:
                return made
            if scheduler["class_path"].endswith(".OneCycleLR") and not scheduler["init_args"]["epochs"]:
                scheduler["init_args"]["total_steps"] = (
                    scheduler["init_args"]["total_steps"] or model.trainer.estimated_stepping_batches
                )
            made_scheduler = _make("--lr_scheduler", made, scheduler)
            schedule: dict[str, Any] = {"scheduler": made_scheduler}
            if isinstance(made_scheduler, ReduceLROnPlateau):
                schedule["monitor"] = made_scheduler.monitor
                schedule["frequency"] = model.trainer.check_val_every_n_epoch or 1
            elif isinstance(made_scheduler, STEPWISE):
                schedule["interval"] = "step"
            return {"optimizer": made, "lr_scheduler": schedule}

        self.model.configure_optimizers = MethodType(configure_optimizers, self.model)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self.config[self.request.command]["trainer"]
        if options["barebones"]:
            raise UsageError("--trainer.barebones true: no score is logged then, which all that follows needs: drop it")
        if options["profiler"] == "xla" and find_spec("torch_xla") is None:
            raise UsageError("--trainer.profiler xla needs torch_xla, which is not installed: choose another")
        self.run = self._run_folder(options)
        callbacks: list[Callback] = [Reseed(), MidEpochState()]
        if self.request.command in RUNLESS:
            kwargs |= {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        elif options["enable_progress_bar"] is not False:
            callbacks.append(EpochLines())
            own = self.config_init[self.request.command]["trainer"]["callbacks"]
            if not any(isinstance(c, ProgressBar) for c in (own if isinstance(own, list) else [own])):
                callbacks.append(Progress())
        if self.run is not None:
            callbacks += self._run_callbacks(self.run, options)
            if self.request.command == "predict":
                kwargs["logger"] = False  # has no scores
            else:
                given = self.config_init[self.request.command]["trainer"]["logger"]
                same_run = self.resumes or self.request.command != "fit"
                kept = self.content.get("trackers") if same_run else None
                step = self.content["global_step"] + 1 if self.resumes else None
                kwargs["logger"] = loggers.make_loggers(given, self.run, self.request.command, step, kept)
        if isinstance(self.datamodule, DataModule) and isinstance(self.model, SupervisedModule):
            self.datamodule.shares_batches, kwargs["use_distributed_sampler"] = True, False
        if self.request.command == "fit":
            callbacks.append(GracefulStop())
        self.trainer_defaults["callbacks"] = callbacks
        if options["profiler"] is None:
            kwargs["profiler"] = Unprofiled()
        try:
            trainer = cast(Trainer, super().instantiate_trainer(**kwargs))
            _check_kept(trainer, options["strategy"])
        except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
            chosen = {key: options[key] for key in ("accelerator", "strategy", "precision")}
            typed = [f".{key} {value}" for key, value in chosen.items() if value not in (None, "auto")]
            about = " --trainer".join(typed) if isinstance(error, ModuleNotFoundError) else ""
            raise UsageError(f"--trainer{about}: {explain(str(error))}") from error
        if self.request.command == "fit":
            trainer.callbacks.insert(0, EpochNotifier())  # type: ignore[attr-defined]
        # Lightning's own answer to SIGTERM has all processes meet, and hangs where one is waiting for another already
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        if launcher := trainer.strategy.launcher:
            process.ENDED_TOO.append(partial(launcher.kill, signal.SIGKILL))
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # and no plugin of the user's
            file = self.checkpoint.file if self.checkpoint else None
            trainer.strategy.checkpoint_io = checkpoints.CheckpointFiles(file, self.content)
        return trainer

    @property
    def resumes(self) -> bool:
        """Whether training goes on in the folder that the checkpoint is of."""
        return self.request.command == "fit" and self.checkpoint is not None and self.checkpoint.is_last

    def _run_folder(self, options: Namespace) -> Run | None:
        if options["fast_dev_run"] or self.request.command in RUNLESS:
            return None  # keeps nothing, or knows where
        if self.checkpoint and (self.request.command != "fit" or self.resumes):
            folder = self.checkpoint.run.folder
            if folder.is_dir() and not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            return self.checkpoint.run
        logs = Path(options["default_root_dir"] or "") / LOGS
        # other processes of this training are told the folder by the first, when they have met
        return claim(logs) if _is_first_process() else Run(logs / "version_x")

    def _run_callbacks(self, run: Run, options: Namespace) -> list[Callback]:
        if self.request.command == "predict":
            return [PredictionWriter(run.folder)]
        callbacks: list[Callback] = []
        if self.request.command != "fit" or self.config["fit"]["test_after_fit"]:
            callbacks += [ScoreFile(run.folder), TestReport(run.folder)]
        if self.request.command == "fit":
            shown = layers.flat({key: value for key, value in self.options.items() if key != "trainer"})
            shown = {as_typed(key): value for key, value in shown.items() if value != "null"}
            callbacks += [MetricsWriter(run.folder, shown), Curves(run.folder), Graph()]
            if self.config["fit"]["histograms"]:
                callbacks.append(Histograms())
            if options["enable_checkpointing"] is not False:
                monitor = getattr(self.model, "monitor", None)
                mode = getattr(self.model, "mode", "min")
                callbacks.append(BestAndLast(run.folder, monitor, self.options, self.options["checkpoint_every"], mode))
            changed = self._changed_optimizer_options()
            for state in self.content.get("optimizer_states", []):  # which holds the options that it was saved with
                for group in state.get("param_groups", []):
                    group.update({name: value for name, value in changed.items() if name in group})
        return callbacks

    def _changed_optimizer_options(self) -> dict[str, Any]:
        then, now = (
            (o.get("optimizer") or {}).get("init_args", {}) for o in (self.content.get("config", {}), self.options)
        )
        section = self.config_init[self.request.command]["optimizer"]
        return {name: section["init_args"][name] for name in now if then and now[name] != then.get(name)}

    # Running

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        finally:
            loggers.finish(self.trainer.loggers)

    def fit(
        self,
        model: LightningModule,
        test_after_fit: bool = False,
        histograms: bool = False,
        checkpoint_every: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Train; LightningCLI calls this in place of ``Trainer.fit``."""
        run, trainer = self.run, self.trainer
        gc.freeze()  # so that collecting garbage doesn't look through half a million objects of the packages imported
        try:
            if run is not None and trainer.is_global_zero:
                self._open(run)
            self._announce()
            loggers.start(trainer.loggers)
            trainer.fit(model, **kwargs)
        except BaseException as error:
            keeper = BestAndLast.of(trainer)
            goes_on = ""
            saved = max(keeper.saved if keeper else 0, self.content["global_step"] if self.resumes else 0)
            if saved:
                which = run if self.request.has(ROOT) else "last"
                goes_on = f"{self.program} fit --ckpt_path {which}{self._naming(*SAVED)}  goes on after step {saved}"
            elif run and not run.metrics():
                self._discard_run()
            if not isinstance(error, SystemExit | KeyboardInterrupt):
                if goes_on:
                    error.add_note(goes_on)
                raise
            self._print(f"\nInterrupted: {goes_on or 'before anything was saved'}")
            raise Stopped(error.code if isinstance(error, Stopped) else 130) from None
        finally:
            gc.unfreeze()
            if self._lock:
                Path(self._lock.lock_file).unlink(missing_ok=True)
                self._lock.release()
        if run is not None:
            run = Run(trainer.strategy.broadcast(run.folder))
            self._summarize(run)
            if self.config[self.request.command]["test_after_fit"]:
                self._test_best(run)
            if trainer.is_global_zero:
                run.previous.unlink(missing_ok=True)  # as all that comes at the end has come

    def _open(self, run: Run) -> None:
        """Make a run's folder ready to be trained in, by this process alone.

        Raises:
            RunError: It is being trained in, or its metrics can't be read.
        """
        run.metrics()  # where they can't be read, nothing is written
        lock = FileLock(run.folder / ".lock", timeout=0)  # free again with this process, however that ends
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(f"{run} is being trained by another process: wait for it, or stop it") from error
        self._lock = lock
        remove_leftovers(
            run.folder, *(f"{name}.*part" for name in ("checkpoints/*", "config.yaml", "metrics.csv", "curves.png"))
        )
        self._tidy()
        if self._damaged:
            aside = self._damaged.replace(self._damaged.with_name("damaged.ckpt"))
            self._print(f"{self._damaged} can't be read: set aside as {aside.name}, going on from the one before")
        if run.previous.is_file() and "events" in self.content:
            loggers.truncate_events(run.folder, self.content["events"])
        header = f"# {self.program} fit -c {run.config_file}  trains the same again\n"
        with atomic_write(run.config_file) as file:
            file.write(header + yaml.safe_dump(self.options, sort_keys=False, allow_unicode=True))

    def _tidy(self) -> None:
        """Remove what Lightning's searches left where they were killed."""
        root = Path(self.trainer.default_root_dir)
        remove_leftovers(root, ".lr_find_*.ckpt", ".scale_batch_size_*.ckpt", age=DAY)  # younger ones may be in use

    def _discard_run(self) -> None:
        """Remove the folder of a training that never began."""
        if self.request.command == "fit" and self.run and not self.resumes and _is_first_process():
            shutil.rmtree(self.run.folder)

    def before_test(self) -> None:
        self._announce()
        loggers.start(self.trainer.loggers)

    before_validate = before_predict = before_export = before_lr_find = before_test

    def lr_find(self, model: LightningModule, **kwargs: Any) -> None:
        self._tidy()
        found, picture = self.trainer.lr_find(model, **kwargs)
        picture = picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture
        self._print(f"Learning rate {found:.2g}, where the loss falls fastest -> {picture}")
        self._print(f"Next: {self.program} fit --model {type(model).__name__} --optimizer.lr {found:.2g}")

    def _announce(self) -> None:
        """Say what is about to happen, with which weights and where."""
        model = type(self.model).__name__
        if self.checkpoint:
            verb = {
                "fit": "Training on from",
                "test": "Testing",
                "validate": "Validating",
                "predict": "Predicting with",
                "export": "Exporting",
            }
            epoch = f", epoch {self.content['epoch']}" if "epoch" in self.content else ""
            self._print(f"{verb[self.request.command]} {self.checkpoint.file} ({model}{epoch})")
            if self.request.command != "fit":
                return
        count = sum(p.numel() for p in self.model.parameters())
        data = getattr(self.datamodule, "title", type(self.datamodule).__name__) if self.datamodule else "its own data"
        if isinstance(self.model, SupervisedModule):
            model += f", {self.model.task.name}"
        device = self.trainer.strategy.root_device
        seed = self.options["seed_everything"]
        where = f" -> {self.run.folder}" if self.run else ""
        where = " -> nowhere (fast_dev_run)" if self.options["trainer"]["fast_dev_run"] else where
        self._print(f"{model}, {count:,} parameters, on {data}, {device}, seed {seed}{where}")

    def _summarize(self, run: Run) -> None:
        keeper = BestAndLast.of(self.trainer)
        if keeper and keeper.best:
            scores = "  ".join(f"{k} {short(v)}" for k, v in keeper.best.items() if k.startswith("val/"))
            self._print(f"Best epoch {keeper.best['epoch']}: {scores}")
        elif keeper:
            self._print(f"No best.ckpt: {keeper.monitor} was never logged, or never finite")
        left = loggers.left_behind(run, self.trainer.loggers)
        self._print(f"In {run.folder}: {left}")
        best = f"--ckpt_path best{self._naming('model', 'data', 'loss')}"
        board = "  |  make tensorboard" if "TensorBoard" in left else ""
        self._print(f"Next: {self.program} test {best}  |  predict {best}{board}")

    def _naming(self, *options: str) -> str:
        """What to type beside ``--ckpt_path``: of some of a run's options, what its checkpoint alone may not bring."""
        unknown = any(trust.unknown({key: self.options[key] for key in options if key in self.options}))
        return f" -c {self.run.config_file}" if unknown and self.run else ""

    def _test_best(self, run: Run) -> None:
        if not run.best.is_file():
            raise RunError(f"--test_after_fit: {run.folder} has no best checkpoint to test")
        self._print(f"Testing {run.best}")
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=run.best, weights_only=True, verbose=False)

    def _print(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(line, flush=True)


class _AskedFor(logging.Handler):
    """Prints what was asked for and Lightning only logs: a profile, a summary, why a callback ended the training."""

    def emit(self, record: logging.LogRecord) -> None:
        asked = Path(record.pathname).parent.name in ("callbacks", "profilers", "tuner")
        # lr_find draws where its search ended
        if asked and record.levelno == logging.INFO and not record.getMessage().startswith("LR finder stopped early"):
            print(record.getMessage().strip(), flush=True)


def _hush() -> None:
    """Silence what says nothing new: tips, devices found, advice that does not hold for data in memory."""
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    lightning = logging.getLogger("lightning.pytorch")
    lightning.propagate = False
    lightning.handlers = [_AskedFor(), *filter(None, [logging.lastResort])]  # the second prints warnings
    # Lightning 2.6 asks torch 2.15 for it in the old way
    warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
    # callbacks are for training; where one is left out of that, a line says so
    warnings.filterwarnings("ignore", r".*Please add the following callbacks: ")
    # worker processes would copy what indexing in memory already has
    warnings.filterwarnings("ignore", r"The '\w+' does not have many workers")
    # Kindling's optimizer_zero_grad does what the optimizer's own does
    warnings.filterwarnings("ignore", r"When using `Trainer\(accumulate_grad_batches != 1\)` and overriding")
    # our error says so
    warnings.filterwarnings("ignore", r"Skipping learning rate finder since `fast_dev_run` is enabled")
    # a width of 0, which would be trained
    warnings.filterwarnings("error", r"Initializing zero-element tensors")


def _check_kept(trainer: Trainer, strategy: object) -> None:
    """
    Raises:
        UsageError: What the training leaves behind would be lost, or not be there when it is needed.
    """
    if type(trainer.strategy.launcher) is _MultiProcessingLauncher:
        raise UsageError(
            f"--trainer.strategy {strategy}: its processes, made for notebooks, keep to themselves what they find: "
            "choose ddp"
        )
    if isinstance(trainer.strategy.checkpoint_io, AsyncCheckpointIO):
        raise UsageError(
            "--trainer.plugins AsyncCheckpointIO: a checkpoint has to be whole before the training goes on, so that a "
            "run survives whatever ends it: drop it"
        )


def _make(option: str, argument: Any, spec: Any) -> Any:
    """The optimizer or scheduler that an option describes, whose own checks speak of that option."""
    try:
        return instantiate_class(argument, spec)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{option} {layers.class_name(spec)}: {error}") from error


def _from_its_state(error: Exception) -> bool:
    """Whether it came up while Lightning handed out what a checkpoint holds, or where an optimizer then used it."""
    frames = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    for code in frames:
        lightnings = code.co_filename.endswith("checkpoint_connector.py") and "restore" in code.co_name
        if lightnings or code.co_filename == mid_epoch.__file__:
            return True
    innermost = list(takewhile(lambda code: "lightning" not in code.co_filename, reversed(frames)))  # not in a closure
    return any("/torch/optim/" in Path(code.co_filename).as_posix() for code in innermost)


def _is_first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


def _draw_seed() -> int:
    """A random seed, the same in all processes of one training."""
    if not _is_first_process() and "PL_GLOBAL_SEED" in environ:  # started by the first process, after it drew
        return int(environ["PL_GLOBAL_SEED"])
    if int(environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError("--seed_everything true: processes started by torchrun can't agree on one, so give a number")
    seed = secrets.randbelow(2**32)
    print(f"Drew seed {seed}")
    return seed
