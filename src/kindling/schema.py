"""Whether plain data has the form that a type describes: what comes from a file is not always what was written."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

CONTAINERS = {list: list, tuple: list | tuple}  # what stands for which: YAML and JSON know no tuples


def matches(value: Any, form: Any) -> bool:
    """
    Args:
        value: Any data.
        form: ``int``, ``float`` (for which an ``int`` will do), ``str``, ``dict[str, list[float]]``, ``int | None``
            and the like; a ``TypedDict`` or a dataclass stands for a dict with those keys, no others.
    """
    origin, parts = get_origin(form), get_args(form)
    if origin in (Union, UnionType):
        return any(matches(value, part) for part in parts)
    if form is dict or origin is dict:
        key, part = parts or (Any, Any)
        return isinstance(value, dict) and all(matches(k, key) and matches(v, part) for k, v in value.items())
    if origin in CONTAINERS:
        return isinstance(value, CONTAINERS[origin]) and all(matches(part, parts[0]) for part in value)
    if form is Any:
        return True
    if form is float:
        return type(value) in (int, float)
    if form in (bool, int, str, NoneType):
        return type(value) is form
    keys = get_type_hints(form)
    needed: frozenset[str] = getattr(form, "__required_keys__", frozenset())  # a dataclass has defaults
    known = isinstance(value, Mapping) and needed <= value.keys() <= keys.keys()
    return known and all(matches(part, keys[key]) for key, part in value.items())
