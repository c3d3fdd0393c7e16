"""The parser: LightningCLI's own, so that options and YAML files are as in any project with a LightningCLI.

LightningCLI itself is not used: it would make the Trainer, which ``training`` does for the command line and Python.
"""

import argparse
import inspect
from dataclasses import replace
from enum import Enum
from functools import cache, partial
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ActionConfigFile, Namespace
from jsonargparse.typing import OpenUnitInterval, PositiveInt, register_type
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LRSchedulerTypeTuple
from torch import Tensor, nn
from torch.optim import Optimizer

from kindling.cli import commands, options
from kindling.cli.arguments import Request
from kindling.cli.parser_errors import explain
from kindling.errors import CheckpointError
from kindling.facts import SIZES
from kindling.registry import import_class
from kindling.runs.trust import Options
from kindling.training.job import Start
from kindling.training.trainer import DEFAULT_SEED, TRAINER_DEFAULTS


def _class_weights(typed: Any) -> Tensor:
    """As a list, or ``balanced``, which is an empty tensor until the data is known."""
    if typed == []:
        raise ValueError("no weights")
    return torch.zeros(0) if typed == "balanced" else torch.tensor(typed)


register_type(Tensor, lambda weights: weights.tolist() if weights.numel() else "balanced", _class_weights)
register_type(torch.device, str, torch.device)  # of StochasticWeightAveraging
# some of Lightning's callbacks have one as default
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


@cache  # a trial of a sweep is parsed as a command of its own, and making the parser takes a tenth of a second
def make_parser(command: str) -> LightningArgumentParser:
    """The options of one command; describing those of the others takes longer than parsing."""
    parser = LightningArgumentParser(prog=command, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="A YAML file with options.")
    parser.add_argument("--seed_everything", type=bool | int, default=DEFAULT_SEED, help="true draws, false sets none.")
    for stage in ("train", "val", "test", "predict"):
        # as in Lightning's source; typing's cache has made it float | int, and 1 batch would be 1.0, all of them
        annotations = inspect.unwrap(Trainer.__init__).__annotations__
        annotations[f"limit_{stage}_batches"] = int | float | None
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.set_defaults({f"trainer.{key}": value for key, value in TRAINER_DEFAULTS.items()})
    parser.add_subclass_arguments(LightningDataModule, "data", required=False, fail_untyped=False)
    parser.add_subclass_arguments(nn.Module, "loss", required=False, fail_untyped=False, instantiate=False)
    parser.add_subclass_arguments(LightningModule, "model", skip=set(SIZES), required=False, fail_untyped=False)
    parser.add_optimizer_args((Optimizer,))
    parser.add_lr_scheduler_args(LRSchedulerTypeTuple)
    # of fit, but they stand in the config.yaml of a run, which serves all commands
    parser.add_argument(
        "--checkpoint_every", type=PositiveInt | None, default=None, help="Steps; also within an epoch."
    )
    parser.add_argument("--monitor", type=str | None, default=None, help="The score that the best epoch is best at.")
    parser.add_argument("--mode", type=Literal["min", "max"] | None, default=None, help="Whether low or high is good.")
    parser.add_argument("--threshold", type=OpenUnitInterval | None, default=None, help="Tags: least probability.")
    parser.add_argument("--ckpt_path", type=str | None, default=None, help="best, last, a run or a file.")
    parser.add_function_arguments(commands.function(command), skip={*commands.TAKEN})
    return parser


def parse(parser: LightningArgumentParser, request: Request, taken: Options, start: Start | None) -> Namespace:
    """
    Raises:
        CheckpointError: Not what is typed, but an option in the checkpoint does not hold.
    """
    try:
        return parser.parse_args(options.command_line(request, taken))
    except argparse.ArgumentError:
        if not taken or start is None or start.checkpoint is None:
            raise
        try:
            parser.parse_args(options.command_line(replace(request, options=(), configs=()), taken))
        except argparse.ArgumentError as error:
            raise CheckpointError(f"{start.checkpoint.file} holds {explain(str(error))}") from error
        raise


def make_parts(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """What ``make_job`` takes: model, data, optimizer and scheduler as classes with their options, yet to be called."""
    makers = [(_postponed, LightningDataModule, True), (_postponed, LightningModule, True)]
    made = parser.instantiate(config, instantiators=makers)
    for key in ("optimizer", "lr_scheduler"):
        if made[key] is not None:
            made[key] = partial(import_class(made[key]["class_path"], f"--{key}"), **made[key].get("init_args", {}))
    found = {key: made[key] for key in ("model", "data", "optimizer", "lr_scheduler")}
    return {**found, "trainer": dict(made["trainer"])}


def _postponed(kind: type, *args: Any, **options: Any) -> Any:
    return partial(kind, *args, **options)
