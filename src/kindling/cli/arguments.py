"""What was typed, read far enough to answer its mistakes before torch is imported."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kindling import registry
from kindling.cli.commands import COMMANDS, ON_SOURCES, flags, own_options
from kindling.console import is_first_here
from kindling.data import IN_PYTHON
from kindling.data.table.names import LISTS
from kindling.errors import UsageError
from kindling.facts import SIZES
from kindling.project import current
from kindling.registry import RENAMED, nearest
from kindling.runs.class_names import PACKAGES, classes, is_class
from kindling.runs.trust import texts

CLASS_OPTIONS = tuple(PACKAGES)
CLASS_PARTS = {"class_path", "init_args", "dict_kwargs"}
NEED_CODE = {  # classes that compare several samples, or are made of others, which no option can describe
    *("CosineEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss", "CTCLoss"),
    *("SequentialLR", "ChainedScheduler"),
}
ONLY: dict[str, list[str]] = {}  # the commands that have an option which not all have
for _command in COMMANDS:
    for _option in own_options(_command):
        ONLY.setdefault(_option, []).append(_command)
FLAGS = {option for command in COMMANDS for option in flags(command)}  # that may be typed without a value, as true
REPEATED = {f"data.{name}" for name in LISTS}  # typed several times, they add up
TYPED = ("help", "config", "print_config")  # options that a -c file can't hold
SAVED_BY_FIT = ("checkpoint_every", "monitor", "mode", "threshold")  # and so taken by all commands
OPTIONS = (*TYPED, "seed_everything", "trainer", *CLASS_OPTIONS, *SAVED_BY_FIT, "ckpt_path", *ONLY)
SHORT = {  # what people type first; -c files have the full names alone, as config.yaml does
    "lr": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "batch_size": "data.batch_size",
    "seed": "seed_everything",
}
MEANT = {"gpus": "trainer.devices", "learning_rate": "lr", "workers": "data.num_workers", "resume": "ckpt_path"}
Config = dict[str, Any]  # the options of a -c file; a class is {"class_path": ..., "init_args": {...}}


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
        options: As typed, in order, each class by its import path.
        configs: The contents of the ``-c`` files, in order, and of options that hold YAML, in the same form.
        vary: For ``sweep``, the range or the choices of each option that is varied.
    """

    command: str
    options: tuple[Option, ...]
    configs: tuple[Config, ...]
    vary: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def given(self) -> dict[str, Any]:
        """The value of each option by its dotted key; a typed one wins over the files, a later one over an earlier."""
        found = {key: value for config in self.configs for key, value in dotted(config)}
        found |= {option.key: option.value for option in self.options}
        return {key: value for key, value in found.items() if value is not None}

    def has(self, *keys: str) -> bool:
        """Whether any of the options ``keys``, dotted, is typed or stands in a ``-c`` file."""
        return any(key in self.given for key in keys)

    def value(self, key: str) -> Any:
        """What is given for ``key``; the import path of a class for ``model``, ``data``, ..."""
        return self.given.get(key)

    def class_name(self, key: str) -> str:
        """Name of the network or dataset that will be used, the network's usual data included; empty if unknown."""
        name = (self.value(key) or "").rpartition(".")[2]
        if key == "data" and not name and not self.has("ckpt_path"):
            network = current().models.get(self.class_name("model"))
            return network.default_data or "" if network else ""
        return name

    @property
    def named(self) -> set[str]:
        """Every text that is typed or stands in a ``-c`` file, so also every class that the user asked for."""
        return {*texts(self.configs), *(option.value for option in self.options if option.value)}

    @property
    def wants_help(self) -> bool:
        return any(o.key == "help" or o.key.endswith(".help") for o in self.options)


def parse(args: list[str]) -> Request:
    """
    Raises:
        UsageError: An unknown command, option, network, dataset or optimizer; an option without its value; an
            unreadable ``-c`` file.
    """
    command = args[0]
    if command.startswith("-"):
        raise UsageError(f"{command} comes after the command: fit {' '.join(args[:2])} ...")
    if command not in COMMANDS:
        words = (*COMMANDS, *ON_SOURCES)
        raise UsageError(f"no command {command!r}{nearest(command, words) or ': there are ' + ', '.join(words)}")
    options: list[Option] = []
    configs: dict[str, Config] = {}  # by where they stand
    vary: dict[str, Any] = {}
    for given, value in _split(args[1:]):
        key = _present_name(given, f"--{given}")
        if command == "list" and key != "help":
            raise UsageError("list takes no options")
        if key == "help" and value not in (None, "all"):
            raise UsageError(f"--help {value}: there is --help all, and --model.help NAME")
        if value is None and key in FLAGS:
            value = "true"
        if value is None and key not in ("help", "print_config", "trainer.help"):
            raise UsageError(f"--{key} needs a value: --{key} VALUE")
        if f"{key}.".startswith("vary."):
            _vary(vary, command, _load(value, f"--{key}"), f"--{key}", key.removeprefix("vary").removeprefix("."))
            continue
        key = SHORT.get(key, key)
        # may be said of the model, but is no argument of its class: every network has a loss
        name = key.removeprefix("model.") if f"{key}.".startswith("model.loss.") else key
        if key == "config":
            content = _read_config(str(value))
            if "vary" in content:
                _vary(vary, command, content.pop("vary"), f"-c {value}")
            configs[f"-c {value}"] = _normal(content, f"-c {value}")
        elif name in ("trainer", *CLASS_OPTIONS) and isinstance(content := _load(value, f"--{key}"), dict):
            configs[f"--{key}"] = _normal({name: content}, f"--{key}")
        elif name in REPEATED and name in (known := [option.key for option in options]):
            before = options.pop(known.index(name)).value
            options.append(Option(name, f"{before},{value}"))
        else:
            options.append(Option(name, value and _import_path(name.removesuffix(".help"), value)))
    request = Request(command, tuple(options), tuple(configs.values()), vary)
    for option in options:
        _check_name(option.key, request)
    for name in vary:
        _check_name(name, request, before="--vary.")
    for where, config in configs.items():
        for name, _ in dotted(config):
            _check_name(name, request, where)
    return request


def _present_name(key: str, given: str) -> str:
    """What an option is called now. For a former name, a line on standard error says so."""
    if key not in RENAMED:
        return key
    now, until = RENAMED[key]
    if is_first_here():
        print(f"{given} is now called {now}: version {until} no longer takes the former name", file=sys.stderr)
    return now


def check_environment(names: Iterable[str]) -> None:
    """
    Args:
        names: Names of the variables that are set.

    Raises:
        UsageError: One looks like an option, as LightningCLI and the Trainer read them elsewhere.
    """
    for name in names:
        if name.startswith(("KINDLING_", "PL_TRAINER_")) or (name.startswith("PL_") and "__" in name):
            raise UsageError(f"{name} is set, but options are not read from the environment: unset it, type the option")


def _vary(vary: dict[str, Any], command: str, given: Any, where: str, option: str = "") -> None:
    """Add what is to be varied, classes by their import paths.

    Args:
        given: A range or choices for ``option``; or, in a file, a mapping of options to these.
    """
    if command != "sweep":
        raise UsageError(f"{where}: vary is for sweep, not for {command}")
    if isinstance(given, dict):
        for name, value in given.items():
            _vary(vary, command, value, where, f"{option}.{name}".lstrip("."))
        return
    option = SHORT.get(option, option)
    if not option:
        raise UsageError(f"{where}: name the option to vary: --vary.OPTION VALUES, in a file  vary: {{OPTION: VALUES}}")
    if option in CLASS_OPTIONS and isinstance(given, list):
        given = [_import_path(option, value) if isinstance(value, str) else value for value in given]
    vary[option] = given


def _split(rest: list[str]) -> Iterator[Option]:
    tokens = iter(enumerate(rest))
    for i, token in tokens:
        key, equals, value = token.partition("=")
        name = {"-c": "config", "-h": "help"}.get(key) or (key[2:] if key.startswith("--") else "")
        if not name:
            raise UsageError(f"{token} is no option{_meant(token)}")
        alone = name in ("print_config", "trainer.help")
        if not equals and not alone and i + 1 < len(rest) and not rest[i + 1].startswith(("--", "-c", "-h")):
            value = next(tokens)[1]
        yield Option(name, value or None)


def _meant(token: str) -> str:
    """What to type for a word that is no option."""
    if token in ("log", "step"):
        return ": put the range into quotes: --vary.lr '1e-4..1 log'"
    kinds = {f"--{kind}": classes(kind) for kind in ("model", "data", "loss", "optimizer")}
    kinds["--ckpt_path"] = {"best": "", "last": "", "auto": ""}
    option = next((option for option, known in kinds.items() if token in known), "")
    option = option or {".yaml": "-c", ".yml": "-c", ".ckpt": "--ckpt_path"}.get(Path(token).suffix, "")
    return f", did you mean {option} {token}?" if option else ": options are typed as --name value"


def _full_name(name: str, request: Request) -> str:
    """Where an option stands whose name lacks what comes before the dot; empty if nowhere."""
    entries = {key: current().entries(key).get(request.class_name(key)) for key in ("model", "data")}
    known = {key: registry.options(key, entry, request.class_name(key)) for key, entry in entries.items() if entry}
    known |= {"trainer": registry.trainer_options(), "optimizer": ["weight_decay", "momentum", "betas", "eps"]}
    return next((f"{key}.{name}" for key, names in known.items() if name in names), "")


def _import_path(kind: str, value: str) -> str:
    """The import path of a class that may be given by its name alone; the value of any other option as it is."""
    if kind not in CLASS_OPTIONS or (value == "null" and kind != "model"):  # there is no training without a model
        return value
    typed = f"--{kind} {value}"
    if kind == "data" and value not in classes(kind) and Path(value).suffix != ".py" and Path(value).exists():
        option = "ImageFolder --data.root" if Path(value).is_dir() else "TabularCSV --data.path"
        raise UsageError(f"{typed}: is no name of a dataset, did you mean --data {option} {value}?")
    if "/" in value or "\\" in value or value.endswith(".py"):
        raise UsageError(
            f"{typed}: a class is named by module.Class, not by its file: my_module.MyClass for a class in "
            "my_module.py, in the current folder or where Python looks for modules"
        )
    if "." in value:
        return value
    if value in NEED_CODE:
        raise UsageError(
            f"{typed} takes more than options can describe: write a network that makes its own, "
            "as kindling.models.TripletNet does"
        )
    paths = classes(kind)
    if value not in paths:
        listed = kind in ("model", "data") and value not in IN_PYTHON
        if listed and (module := registry.defining_module(package := current().package(kind), value)):
            usual = ', default_data="NAME"' if kind == "model" else ""
            raise UsageError(
                f"{typed}: {module} has it, but {package} does not list it: add the line  "
                f'"{value}": Entry("{module}"{usual}),  to src/{package.replace(".", "/")}/__init__.py'
            )
        where = "" if kind in ("model", "data") else f" in {PACKAGES[kind]}"
        hint = nearest(value, paths) or f": there are {', '.join(paths)}"
        raise UsageError(f"{typed}: there is no {kind} {value!r}{where}{hint}")
    return paths[value]


def _check_name(key: str, request: Request, where: str = "", before: str = "--") -> None:
    first, _, rest = key.rstrip("+").partition(".")
    second = rest.partition(".")[0]
    place = f"{where}: " if where else ""
    if where and first in SHORT:
        raise UsageError(
            f"{place}{first} can be typed, but in a file it is {SHORT[first]}, nested as --print_config shows"
        )
    if first not in OPTIONS:
        meant = MEANT.get(first) or _full_name(first, request)
        hint = f", did you mean {before}{meant}?" if meant else nearest(first, (*OPTIONS, *SHORT), before)
        hint = hint or f": {request.command} --help lists them"
        raise UsageError(f"{place}no option {before}{key}{hint}")
    if where and first in TYPED:
        raise UsageError(f"{place}{before}{key} can't stand in a file: type it")
    if request.command not in ONLY.get(first, [request.command]):
        raise UsageError(f"{place}{before}{key} is an option of {' and '.join(ONLY[first])}, not of {request.command}")
    if first == "model" and second in SIZES:
        raise UsageError(f"{place}{before}{key} can't be set by hand: the data knows it")
    entries = current().entries(first)
    name = request.class_name(first) if entries else ""
    if not second or not (first == "trainer" or name in entries):
        return  # else a class of the user's own, or one that the checkpoint names
    known = registry.options(first, entries[name], name) if entries else registry.trainer_options()
    if second not in (*known, "help", *CLASS_PARTS):
        hint = nearest(second, known, f"{before}{first}.") or f": there are {', '.join(known)}"
        raise UsageError(f"{place}no option {before}{key}{hint}")


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one place: YAML would take the last, and nobody would see the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in keys[:i]:
                raise yaml.MarkedYAMLError(problem=f"a second {key.value}", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def _load(text: str | None, where: str) -> Any:
    try:
        return yaml.load(text or "", _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        remedy = " (a tab: indent with spaces)" if r"'\t'" in str(error.problem) else ""
        raise UsageError(f"{where} is no YAML{line}: {error.problem}{remedy}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {error}") from error


def _read_config(path: str) -> dict[Any, Any]:
    try:
        if Path(path).is_fifo() or Path(path).is_char_device():
            raise UsageError(f"-c {path} is a pipe or a device: name a file")
        content = _load(Path(path).read_text(encoding="utf-8"), f"-c {path}")
    except OSError as error:
        raise UsageError(f"-c {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"-c {path} is no text file") from error
    if not isinstance(content, dict):
        raise UsageError(f"-c {path} holds no options, which are written as  name: value")
    return content


def _normal(content: dict[Any, Any], where: str) -> Config:
    """The options in a file, each class with its import path and its options apart, as ``Config`` says.

    Raises:
        UsageError: They have another form, or name a class that doesn't exist.
    """
    config: Config = {}
    for given, value in content.items():
        key = _present_name(given, f"{where}: {given}")
        if "." in str(key):
            raise UsageError(f"{where}: {key} is how it is typed: in YAML it is nested, as --print_config shows")
        options = value if key == "trainer" else {}
        if key in CLASS_OPTIONS and value is not None:
            value = {"class_path": value} if isinstance(value, str) else value
            if not is_class(value) or (key == "model" and "class_path" not in value):
                raise UsageError(f"{where}: {key} is a name, or has a class_path with its options under init_args")
            if "class_path" in value:
                value = value | {"class_path": _import_path(key, value["class_path"])}
            options = value.get("init_args", {})
        if not isinstance(options, dict):
            raise UsageError(f"{where}: {key} holds no options, which are written as  name: value")
        if key == "model" and "loss" in options and value.get("class_path") in classes("model").values():
            raise UsageError(f"{where}: the loss stands beside the model, not in it:  loss: NAME")
        config[str(key)] = value
    return config


def dotted(config: Config) -> Iterator[tuple[str, Any]]:
    """The options in a file with their keys as they are typed, a class before its options."""
    for key, value in config.items():
        is_class = key in CLASS_OPTIONS and value is not None
        if key != "trainer":
            yield key, value.get("class_path") if is_class else value
        options = value.get("init_args", {}) if is_class else value if key == "trainer" else {}
        yield from ((f"{key}.{name}", option) for name, option in options.items())
