"""jsonargparse's answers, which can run over twenty lines, in one that says what, where and what would do."""

import inspect
import re

from kindling.cli.arguments import OPTIONS
from kindling.facts import SIZES
from kindling.registry import import_class, nearest
from kindling.runs.trust import as_typed

REMEDIES = {  # for what Lightning leaves at that
    "No supported gpu backend found": "Leave out --trainer.accelerator to use what there is",
    "`Trainer(devices=": "Give a number above 0, or auto",
    "When using the learning rate finder": "Or let the command lr_find suggest one, and type it as --optimizer.lr",
    "has no attribute 'backbone'": ", which BackboneFinetuning trains later than the rest: drop that callback",
}


def explain(message: str) -> str:
    """The one line; the message itself, where it is of no known kind."""
    key = as_typed(".".join(dict.fromkeys(re.findall(r'[Kk]ey "([^"]+)"', message))))
    if "Unable to load config" in message:
        return f"--{key} takes no name: its options are typed as --{key}.NAME VALUE"
    owner = re.search(r"given class_path '([^']+)'", message)
    if unknown := re.search(r"[Oo]ption '([^']+)'", message):
        known = _options(owner[1]) if owner else []
        hint = nearest(unknown[1], known or OPTIONS) or (": there are " + ", ".join(known) if known else "")
        if owner and owner[1] == "torch.nn.Module":  # what any loss is
            hint = f" without --{key} NAME"
        return f"no option --{f'{key}.' if key else ''}{unknown[1]}{hint}"
    if stray := re.search(r"[Uu]nrecognized arguments?: (.+)", message):
        return f"{stray[1]} is no option: options are typed as --name value"
    if missing := re.search(r"following arguments are required: (.+)", message):
        name = owner[1].rpartition(".")[2] if owner else ""
        return f"--{key} {name} needs {', '.join(f'--{key}.{m}' for m in missing[1].split(', '))}"
    nested = re.search(r"NestedArg\(key='(.+?)'", message)
    if nested and not f".{key}".endswith(f".{nested[1]}"):
        return f"no option --{key}.{nested[1]}: it is --{key} VALUE"
    if absent := re.search(r"class_path '(.+?)':\s+(No module named .+|module .+ has no attribute .+)", message):
        return f"--{key} {absent[1]}: {absent[2]}"
    types = re.findall(r"Expected an? (<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+)\])", message)
    wanted = dict.fromkeys(name or literals for _, name, literals in types)
    if length := re.search(r"Expected a tuple with (\d+) elements", message):
        wanted[f"{length[1]} values"] = None
    if "Not of type Tensor" in message:
        wanted["a list of numbers"] = None
    if "Not of type PositiveInt" in message:
        wanted["a whole number above 0"] = None
    if base := re.search(r"Import path does not correspond to a subclass of (\w+)", message):
        wanted = {f"a class made from {base[1]}": None}
    if "Expected a dot import path string" in message:
        wanted = {"a class, by its import path": None}
    if owner:
        wanted.pop("NoneType", None)  # that would be instead of the whole class
    for said, remedy in REMEDIES.items():
        if said in message:
            return f"{message}{'' if remedy[0] == ',' else ' '}{remedy}"
    if failed := re.fullmatch(r"Problem with given class_path '(?:\w+\.)*(\w+)':\s+(.+)", message, re.DOTALL):
        return f"{failed[1]}: {failed[2]}"
    given = re.search(r"(?:Got value|Given value): (.+)", message)
    if key and wanted and given:
        return f"--{key} {given[1]}: should be {' or '.join(wanted).replace('NoneType', 'null')}"
    return message


def _options(class_path: str) -> list[str]:
    signature = inspect.signature(import_class(class_path, "class"))
    return [name for name in signature.parameters if name not in (*SIZES, "params", "optimizer")]
