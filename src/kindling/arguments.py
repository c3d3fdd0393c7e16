"""The command line, read far enough to answer its mistakes before torch is imported."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kindling import catalog
from kindling.catalog import Entry, nearest
from kindling.data import DATA
from kindling.errors import UsageError
from kindling.facts import SIZES
from kindling.models import MODELS

TRAINER_COMMANDS = ("fit", "validate", "test", "predict", "export", "lr_find")
RUNLESS = ("export", "lr_find")  # those of them that neither train, score nor predict
COMMANDS = (*TRAINER_COMMANDS, "list")
CLASS_OPTIONS = ("model", "data", "loss", "optimizer", "lr_scheduler")
# what a loss needs that no Kindling dataset has, so that --model.loss can't name it
OTHER_LOSSES = {
    **dict.fromkeys(("CosineEmbeddingLoss", "MarginRankingLoss"), "pairs"),
    **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), "triplets"),
    "CTCLoss": "sequences",
}
OPTIONS = (
    *("help", "config", "print_config", "seed_everything", "trainer", *CLASS_OPTIONS, "ckpt_path", "weights_only"),
    *("verbose", "return_predictions", "test_after_fit", "histograms", "format", "min_lr", "max_lr", "num_training"),
)


class Option(NamedTuple):
    """One option as typed: ``--key value`` or ``--key=value``; the value is None where there is none."""

    key: str
    value: str | None

    def tokens(self) -> list[str]:
        return [f"--{self.key}"] if self.value is None else [f"--{self.key}={self.value}"]


@dataclass(frozen=True)
class Request:
    """One command with its options, all names known to exist.

    Args:
        command: One of ``TRAINER_COMMANDS``.
        options: As typed, in order.
        stray: What was typed and is no option.
        configs: The contents of the ``-c`` files, in order.
    """

    command: str
    options: tuple[Option, ...]
    stray: tuple[str, ...]
    configs: tuple[dict[str, Any], ...]

    def typed(self, key: str) -> str | None:
        """The value typed last for ``key``."""
        return next((o.value for o in reversed(self.options) if o.key == key), None)

    def has(self, *keys: str) -> bool:
        """Whether any of the options ``keys``, dotted, is typed or stands in a ``-c`` file."""
        return any(self.typed(key) is not None or _dig(self.configs, key) is not None for key in keys)

    def value(self, key: str) -> Any:
        """What is typed for ``key``, else what the last ``-c`` file that has it says."""
        typed = self.typed(key)
        return typed if typed is not None else _dig(self.configs, key)

    def class_path(self, key: str) -> str | None:
        """Import path of the class chosen for ``model``, ``data``, ..."""
        chosen = self.value(key)
        if isinstance(chosen, str) and chosen.startswith("{"):
            chosen = yaml.safe_load(chosen)
        path = chosen.get("class_path") if isinstance(chosen, dict) else chosen
        return _full_name(Option(key, path)).value  # a name alone stands in a -c file, too

    def class_name(self, key: str) -> str:
        """Name of the network or dataset that will be used, the network's usual data included; empty if unknown."""
        name = (self.class_path(key) or "").rpartition(".")[2]
        if key == "data" and not name and self.class_name("model") in MODELS and self.typed("ckpt_path") is None:
            return MODELS[self.class_name("model")].default_data or ""
        return name

    @property
    def wants_help(self) -> bool:
        return any(o.key == "help" or o.key.endswith(".help") for o in self.options)


def parse(args: list[str]) -> Request:
    """
    Args:
        args: The command and what follows it.

    Raises:
        UsageError: An unknown command, option, network, dataset or optimizer; an unreadable ``-c`` file.
    """
    command, rest = args[0], args[1:]
    if command.startswith("-"):
        raise UsageError(f"{command} comes after the command: fit {' '.join(args[:2])} ...")
    if command not in COMMANDS:
        raise UsageError(f"no command {command!r}{nearest(command, COMMANDS) or ': there are ' + ', '.join(COMMANDS)}")
    pieces = list(_split(rest))
    stray = tuple(p for p in pieces if isinstance(p, str))
    options = tuple(_full_name(p) for p in pieces if isinstance(p, Option))
    configs = tuple(_read_config(o.value or "") for o in options if o.key == "config")
    request = Request(command, options, stray, configs)
    for option in options:
        _check_name(option.key, request)
    return request


def _split(rest: list[str]) -> Iterator[Option | str]:
    tokens = iter(enumerate(rest))
    for i, token in tokens:
        key, equals, value = token.partition("=")
        name = {"-c": "config", "-h": "help"}.get(key) or (key[2:] if key.startswith("--") else "")
        if not name:
            yield token
        elif equals:
            yield Option(name, value)
        elif name != "print_config" and i + 1 < len(rest) and not rest[i + 1].startswith(("--", "-c", "-h")):
            yield Option(name, next(tokens)[1])
        else:
            yield Option(name, None)


def as_typed(key: str) -> str:
    """A dotted key as it is typed."""
    return f"model.{key}" if key.partition(".")[0] == "loss" else key


def _full_name(option: Option) -> Option:
    """The option, a class that was given by its name alone replaced by its import path."""
    key, value = option
    if f"{key}.".startswith("model.loss."):  # said of the model, but no argument of its class: every network has it
        key = key.removeprefix("model.")
        option = Option(key, value)
    kind = key.removesuffix(".help")
    if kind not in CLASS_OPTIONS or value in (None, "null") or "." in value or value.startswith("{"):
        return option
    if kind in ("model", "data"):
        entries = MODELS if kind == "model" else DATA
        known, package = {name: entry.module for name, entry in entries.items()}, ""
    elif kind == "loss":
        known, package = dict.fromkeys(catalog.losses(), "torch.nn"), "torch.nn"
        if value in OTHER_LOSSES:
            raise UsageError(
                f"--model.loss {value} needs {OTHER_LOSSES[value]} of samples, so it takes a module of its own: "
                "TripletNet (src/kindling/models/triplet_net.py) shows how"
            )
    elif kind == "optimizer":
        known, package = dict.fromkeys(catalog.optimizers(), "torch.optim"), "torch.optim"
    else:
        if value in ("SequentialLR", "ChainedScheduler"):
            raise UsageError(
                f"--lr_scheduler {value} is made of other schedulers, which no option can describe: "
                "give the network a configure_optimizers method of its own"
            )
        known, package = dict.fromkeys(catalog.lr_schedulers(), "torch.optim.lr_scheduler"), "torch.optim.lr_scheduler"
        known["ReduceLROnPlateau"] = "lightning.pytorch.cli"  # torch's, and the name of the metric that it watches
    if value not in known:
        where = f" in {package}" if package else ""
        hint = nearest(value, known) or f": there are {', '.join(known)}"
        raise UsageError(f"--{as_typed(key)} {value}: there is no {kind} {value!r}{where}{hint}")
    return Option(key, f"{known[value]}.{value}")


def _check_name(key: str, request: Request) -> None:
    first, _, rest = key.rstrip("+").partition(".")
    if first not in OPTIONS:
        raise UsageError(f"no option --{key}{nearest(first, OPTIONS)}")
    second = rest.partition(".")[0]
    if first == "trainer" and second:
        known = catalog.trainer_options()
    elif first in ("model", "data") and second:
        if second in SIZES:
            raise UsageError(f"--{key} can't be set by hand: the data knows it")
        entries: Mapping[str, Entry] = MODELS if first == "model" else DATA
        name = request.class_name(first)
        if name not in entries:
            return  # a class of the user's own, or one that a checkpoint will tell
        known = catalog.options(entries[name], name)
    else:
        return
    if second not in (*known, "help", "class_path", "init_args", "dict_kwargs"):
        raise UsageError(f"no option --{key}{nearest(second, known) or ': there are ' + ', '.join(known)}")


def _read_config(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"-c {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"-c {path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"-c {path} holds no options")
    model: Any = content.get("model") if isinstance(content.get("model"), dict) else {}
    ours = str(model.get("class_path")).rpartition(".")[2] in MODELS  # another class may have a loss among its own
    if ours and "loss" in {*model, *(model.get("init_args") or {})}:
        raise UsageError(f"-c {path}: the loss stands beside the model, not in it:  loss: NAME")
    return content


def _dig(configs: tuple[dict[str, Any], ...], key: str) -> Any:
    for config in reversed(configs):
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None
