"""The command line, read far enough to answer its mistakes before torch is imported."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kindling import registry
from kindling.cli.commands import COMMANDS, own_options
from kindling.data import DATA
from kindling.errors import UsageError
from kindling.facts import SIZES
from kindling.models import MODELS
from kindling.registry import Entry, nearest
from kindling.runs.trust import PACKAGES, as_typed, classes, texts

CLASS_OPTIONS = tuple(PACKAGES)
# what a loss needs that no Kindling dataset has, so that --model.loss can't name it
OTHER_LOSSES = {
    **dict.fromkeys(("CosineEmbeddingLoss", "MarginRankingLoss"), "pairs"),
    **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), "triplets"),
    "CTCLoss": "sequences",
}
ONLY: dict[str, list[str]] = {}  # options that some commands alone have
for _command in COMMANDS:
    for _option in own_options(_command):
        ONLY.setdefault(_option, []).append(_command)
TYPED = ("help", "config", "print_config")  # that a -c file can't hold
OPTIONS = (
    *TYPED,
    "seed_everything",
    "trainer",
    *CLASS_OPTIONS,
    "checkpoint_every",
    "monitor",
    "mode",
    "ckpt_path",
    *ONLY,
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
        command: One of ``COMMANDS``.
        options: As typed, in order.
        configs: The contents of the ``-c`` files, in order.
    """

    command: str
    options: tuple[Option, ...]
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
        return class_path_in(key, self.value(key))

    def class_name(self, key: str) -> str:
        """Name of the network or dataset that will be used, the network's usual data included; empty if unknown."""
        name = (self.class_path(key) or "").rpartition(".")[2]
        if key == "data" and not name and self.class_name("model") in MODELS and self.typed("ckpt_path") is None:
            return MODELS[self.class_name("model")].default_data or ""
        return name

    @property
    def named(self) -> set[str]:
        """Every text that is typed or stands in a ``-c`` file, so also every class that the user asked for himself."""
        paths = {path for key in CLASS_OPTIONS if (path := self.class_path(key))}
        return paths | {o.value for o in self.options if o.value} | {*texts(self.configs)}

    @property
    def wants_help(self) -> bool:
        return any(o.key == "help" or o.key.endswith(".help") for o in self.options)


def parse(args: list[str]) -> Request:
    """
    Args:
        args: The command and what follows it.

    Raises:
        UsageError: An unknown command, option, network, dataset or optimizer; an option without its value; an
            unreadable ``-c`` file.
    """
    command, rest = args[0], args[1:]
    for arg in args:
        if not arg.isascii() and arg != arg.encode(errors="replace").decode():  # bytes that Python could not read
            remedy = "rename the file" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1"
            raise UsageError(f"{arg} is not UTF-8, as options have to be: {remedy}")
    if command.startswith("-"):
        raise UsageError(f"{command} comes after the command: fit {' '.join(args[:2])} ...")
    if command not in COMMANDS:
        raise UsageError(f"no command {command!r}{nearest(command, COMMANDS) or ': there are ' + ', '.join(COMMANDS)}")
    options = tuple(_full_name(single) for option in _split(rest) for single in _apart(option))
    if command == "list" and any(o.key != "help" for o in options):
        raise UsageError("list takes no options")
    files = {f"-c {o.value}": _read_config(o.value) for o in options if o.key == "config" and o.value}
    request = Request(command, options, tuple(files.values()))
    for key, value in options:
        _check_name(key, request)
        typed = f"--{as_typed(key)}"
        if not value and key not in ("help", "print_config") and not key.endswith(".help"):
            raise UsageError(f"{typed} needs a value: {typed} VALUE")
    for where, content in files.items():
        for key in _keys(content, where):
            _check_name(key, request, where)
    return request


def check_environment(names: Iterable[str]) -> None:
    """
    Args:
        names: Of the variables that are set.

    Raises:
        UsageError: One looks like an option, as LightningCLI and the Trainer read them elsewhere.
    """
    for name in names:
        option = name.removeprefix("PL_").lower().partition("__")[0]
        ours = option in (*COMMANDS, *OPTIONS) or option.startswith("trainer_")
        if name.startswith("KINDLING_") or (name.startswith("PL_") and ours):
            raise UsageError(f"{name} is set, but options are not read from the environment: unset it, type the option")


def _split(rest: list[str]) -> Iterator[Option]:
    tokens = iter(enumerate(rest))
    for i, token in tokens:
        key, equals, value = token.partition("=")
        name = {"-c": "config", "-h": "help"}.get(key) or (key[2:] if key.startswith("--") else "")
        if not name:
            raise UsageError(f"{token} is no option: options are typed as --name value")
        alone = name in ("help", "print_config")
        if not equals and not alone and i + 1 < len(rest) and not rest[i + 1].startswith(("--", "-c", "-h")):
            value = next(tokens)[1]
        yield Option(name, value or None)


def class_path_in(key: str, chosen: Any) -> str | None:
    """Import path of a class that is typed or stands in a ``-c`` file, with its options or by its name alone."""
    path = chosen.get("class_path") if isinstance(chosen, dict) else chosen
    if not isinstance(path, str | None):
        raise UsageError(f"--{as_typed(key)} {path}: should be the name of a class")
    return _full_name(Option(key, path)).value


def _apart(option: Option) -> Iterator[Option]:
    """Each of the options in ``--trainer '{max_steps: 300}'`` as if it were typed by itself."""
    key = option.key.removeprefix("model.") if option.key == "model.loss" else option.key
    in_yaml = key in ("trainer", *CLASS_OPTIONS) and option.value and ":" in option.value
    content = _load(option.value or "", f"--{option.key}") if in_yaml else None
    if not isinstance(content, dict):
        yield option
        return
    list(_keys({key: content}, f"--{option.key}"))
    parts = {"init_args": content} if key == "trainer" else content
    if "class_path" in parts:
        yield Option(key, str(parts["class_path"]))
    for part, place in (("init_args", key), ("dict_kwargs", f"{key}.dict_kwargs")):
        for name, value in parts.get(part, {}).items():
            text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True)
            yield Option(f"{place}.{name}", value if isinstance(value, str) else text.removesuffix("...\n").strip())


def _full_name(option: Option) -> Option:
    """The option, a class that was given by its name alone replaced by its import path."""
    key, value = option
    if f"{key}.".startswith("model.loss."):  # said of the model, but no argument of its class: every network has it
        key = key.removeprefix("model.")
        option = Option(key, value)
    kind = key.removesuffix(".help")
    if kind in CLASS_OPTIONS and value and ("/" in value or value.endswith(".py")):
        raise UsageError(
            f"--{as_typed(key)} {value}: a class is named by module.Class, not by its file, and the module has to lie "
            "where Python looks for modules, e.g. in a folder that PYTHONPATH names"
        )
    if kind not in CLASS_OPTIONS or value is None or "." in value:
        return option
    if value == "null" and kind != "model":  # there is no training without
        return option
    if kind == "loss" and value in OTHER_LOSSES:
        raise UsageError(
            f"--model.loss {value} needs {OTHER_LOSSES[value]} of samples, so it takes a module of its own: "
            "TripletNet (src/kindling/models/triplet_net.py) shows how"
        )
    if kind == "lr_scheduler" and value in ("SequentialLR", "ChainedScheduler"):
        raise UsageError(
            f"--lr_scheduler {value} is made of other schedulers, which no option can describe: "
            "give the network a configure_optimizers method of its own"
        )
    paths = classes(kind)
    if value not in paths:
        where = "" if kind in ("model", "data") else f" in {PACKAGES[kind]}"
        hint = nearest(value, paths) or f": there are {', '.join(paths)}"
        raise UsageError(f"--{as_typed(key)} {value}: there is no {kind} {value!r}{where}{hint}")
    return Option(key, paths[value])


def _check_name(key: str, request: Request, where: str = "") -> None:
    first, _, rest = key.rstrip("+").partition(".")
    place = f"{where}: " if where else ""
    if first not in OPTIONS:
        hint = nearest(first, OPTIONS) or f": {request.command} --help lists them"
        raise UsageError(f"{place}no option --{key}{hint}")
    if where and first in TYPED:
        raise UsageError(f"{place}--{key} can't stand in a file: type it")
    commands = ONLY.get(first, COMMANDS)
    if request.command not in commands:
        raise UsageError(f"{place}--{key} is an option of {' and '.join(commands)}, not of {request.command}")
    second = rest.partition(".")[0]
    if first == "trainer" and second:
        known = registry.trainer_options()
    elif first in ("model", "data") and second:
        if second in SIZES:
            raise UsageError(f"{place}--{key} can't be set by hand: the data knows it")
        entries: Mapping[str, Entry] = MODELS if first == "model" else DATA
        name = request.class_name(first)
        if name not in entries:
            return  # a class of the user's own, or one that a checkpoint will tell
        known = registry.options(entries[name], name)
    else:
        return
    if second not in (*known, "help", "class_path", "init_args", "dict_kwargs"):
        raise UsageError(f"{place}no option --{key}{nearest(second, known) or ': there are ' + ', '.join(known)}")


class _Unique(yaml.SafeLoader):
    """Refuses a key that stands twice in one place: YAML takes the last, and nobody would read the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value]
        for i, key in enumerate(keys):
            if key.value in [k.value for k in keys[:i]]:
                raise yaml.MarkedYAMLError(problem=f"a second {key.value}", problem_mark=key.start_mark)
        return node


def _load(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Unique)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        remedy = " (a tab: indent with spaces)" if r"'\t'" in str(error.problem) else ""
        raise UsageError(f"{where} is no YAML{line}: {error.problem}{remedy}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {error}") from error


def _read_config(path: str) -> dict[str, Any]:
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
            raise UsageError(f"-c {path} is a pipe or a device: name a file, as it is read twice")
        content = _load(Path(path).read_text(encoding="utf-8"), f"-c {path}")
    except OSError as error:
        raise UsageError(f"-c {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"-c {path} is no text file") from error
    if not isinstance(content, dict):
        raise UsageError(f"-c {path} holds no options, which are written as  name: value")
    model: Any = content.get("model") if isinstance(content.get("model"), dict) else {}
    ours = str(model.get("class_path")).rpartition(".")[2] in MODELS  # another class may have a loss among its own
    if ours and "loss" in {*model, *(model.get("init_args") or {})}:
        raise UsageError(f"-c {path}: the loss stands beside the model, not in it:  loss: NAME")
    return content


def _keys(content: dict[Any, Any], where: str) -> Iterator[str]:
    """The options in a file, dotted as they are typed.

    Raises:
        UsageError: They are not in the form that ``Request`` finds them in.
    """
    for key, value in content.items():
        if "." in str(key):
            raise UsageError(f"{where}: {key} is how it is typed: in YAML it is nested, as --print_config shows")
        options: Any = {}
        if key == "trainer":
            options = value
        elif key in CLASS_OPTIONS and not isinstance(value, str | None):
            parts = value if isinstance(value, dict) else {"no part": value}
            options = parts.get("init_args", {})
            unnamed = key == "model" and "class_path" not in parts
            if unnamed or parts.keys() - {"class_path", "init_args", "dict_kwargs"}:
                raise UsageError(f"{where}: {key} is a name, or has a class_path with its options under init_args")
        if not isinstance(options, dict):
            raise UsageError(f"{where}: {key} holds no options, which are written as  name: value")
        yield from [f"{key}.{name}" for name in options] or [str(key)]


def _dig(configs: tuple[dict[str, Any], ...], key: str) -> Any:
    for config in reversed(configs):
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None
