"""jsonargparse's messages, which can run over twenty lines, in one that says what, where and how to mend."""

import inspect
import re

from kindling.facts import SIZES
from kindling.registry import import_class, nearest


def explain(message: str) -> str:
    """The one line; the message itself, where it is of no known kind."""
    key = ".".join(dict.fromkeys(re.findall(r'[Kk]ey "([^"]+)"', message)))
    if "Unable to load config" in message:
        return f"--{key} takes no name: its options are typed as --{key}.NAME VALUE"
    made = re.search(r"class_path '((?:\w+\.)*(\w+))':\s+(.+)", message)
    path, name, problem = made.groups() if made else ("", "", message)
    if unknown := re.search(r"[Oo]ption '([^']+)'", message):
        known = _options(path) if path else []
        hint = nearest(unknown[1], known, f"--{key}.") or (": there are " + ", ".join(known) if known else "")
        return f"no option --{key}.{unknown[1]}{hint}"
    if missing := re.search(r"following arguments are required: (.+)", message):
        return f"--{key} {name} needs {', '.join(f'--{key}.{m}' for m in missing[1].split(', '))}"
    nested = re.search(r"NestedArg\(key='(.+?)'", message)
    if nested and not f".{key}".endswith(f".{nested[1]}"):
        return f"no option --{key}.{nested[1]}: it is --{key} VALUE"
    given = re.search(r"(?:Got value|Given value): (.+)", message)
    if key and given:
        return f"--{key} {given[1]}: {_expected(message, given[1], bool(made))}"
    if extra := re.search(r"Requirement '(mlflow|wandb)\b", problem):
        return f"{name} needs {extra[1]}: pip install -e '.[{extra[1]}]'"
    return f"{name}: {problem}" if message.startswith("Problem with") else message


def _expected(message: str, given: str, in_class: bool) -> str:
    if base := re.search(r"does not correspond to a subclass of (\w+)", message):
        return f"should be a class made from {base[1]}"
    if "Expected a dot import path string" in message:
        from lightning.pytorch import callbacks, loggers  # late: a sweep reads its own options without torch

        known = [*callbacks.__all__, *loggers.__all__]
        return "should be a class, by its import path" + nearest(given, known)
    if absent := re.search(r"No module named .+|module .+ has no attribute .+", message):
        return absent[0]
    lines = re.findall(r"^[ -]*(?:Expected an?|Not of type) (.+?)(?:\. Got value.*|: .*)?$", message, re.MULTILINE)
    types = [re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+)\]", r"\1\2", line) for line in lines]
    # null is not for the option of a class: it would be instead of the whole class
    wanted = [
        kind.replace("NoneType", "null") for kind in dict.fromkeys(types) if not (in_class and kind == "NoneType")
    ]
    return f"should be {' or '.join(wanted)}" if wanted else " ".join(message.split())


def _options(class_path: str) -> list[str]:
    from lightning.pytorch import LightningDataModule

    made = import_class(class_path, "class")
    signature = inspect.signature(made)
    filled = () if issubclass(made, LightningDataModule) else SIZES
    return [name for name in signature.parameters if name not in (*filled, "params", "optimizer", "args", "kwargs")]
