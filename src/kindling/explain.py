"""jsonargparse's answers, which can run over twenty lines, in one that says what, where and what would do."""

import inspect
import re

from kindling.arguments import OPTIONS, as_typed
from kindling.catalog import import_class, nearest
from kindling.facts import SIZES


def explain(message: str) -> str:
    """The one line; the message itself, where it is of no known kind."""
    key = as_typed(".".join(re.findall(r'[Kk]ey "([^"]+)"', message)))
    owner = re.search(r"given class_path '([^']+)'", message)
    if unknown := re.search(r"[Oo]ption '([^']+)'", message):
        hint = nearest(unknown[1], _options(owner[1]) if owner else OPTIONS)
        return f"no option --{f'{key}.' if key else ''}{unknown[1]}{hint}"
    if stray := re.search(r"[Uu]nrecognized arguments?: (.+)", message):
        return f"{stray[1]} is no option: options are typed as --name value"
    if missing := re.search(r"following arguments are required: (.+)", message):
        name = owner[1].rpartition(".")[2] if owner else ""
        return f"--{key} {name} needs {', '.join(f'--{key}.{m}' for m in missing[1].split(', '))}"
    types = re.findall(r"Expected an? (<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+)\])", message)
    wanted = dict.fromkeys(name or literals for _, name, literals in types)
    if length := re.search(r"Expected a tuple with (\d+) elements", message):
        wanted[f"{length[1]} values"] = None
    if "Not of type Tensor" in message:
        wanted["a list of numbers"] = None
    if owner:
        wanted.pop("NoneType", None)  # that would be instead of the whole class
    given = re.search(r"(?:Got value|Given value): (.+)", message)
    if key and wanted and given:
        return f"--{key} {given[1]}: should be {' or '.join(wanted).replace('NoneType', 'null')}"
    return message


def _options(class_path: str) -> list[str]:
    signature = inspect.signature(import_class(class_path, "class"))
    return [name for name in signature.parameters if name not in SIZES]
