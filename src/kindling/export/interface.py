"""``preprocessing.json``: all that a program needs to ask an exported network, and to read its answers."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from math import floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kindling import __version__
from kindling.console import say
from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.export.check import FORMAT
from kindling.facts import LARGEST, Facts
from kindling.models.base import SupervisedModule
from kindling.runs.find import Checkpoint
from kindling.tasks.classification import Classification
from kindling.tasks.regression import Regression


def describe(
    model: SupervisedModule, data: DataModule, checkpoint: Checkpoint, content: dict[str, Any], x: Tensor, whole: bool
) -> dict[str, Any]:
    """A network and its data as plain data.

    Args:
        content: Of the checkpoint.
        x: Raw inputs (N, ...).
        whole: Whether to look at the training rows for what each column holds.
    """
    facts, task = model.task.facts, model.task
    predictions = model.predict_step((data.normalize(x[:1]),))
    names, kind = list(facts.class_names), facts.kind
    if kind == "regression" and predictions.ndim == 2:
        names = list(task.prediction_columns(predictions))
    if not isinstance(task, Classification | Regression) or predictions.shape[1:] != (len(names),):
        kind = facts.task or "other"
    meanings = {
        "binary": "probability of each class",
        "multiclass": "probability of each class",
        "multilabel": "probability of each tag",
        "regression": f"{facts.target}, in its own unit",
    }
    return {
        "format": FORMAT,
        "network": type(model).__name__,
        "data": type(data).__name__,
        "checkpoint": {
            "file": str(checkpoint.file),
            "epoch": content.get("epoch"),  # of weights without a training neither this nor the step is known
            "step": content.get("global_step"),
        },
        "written": str(date.today()),
        "versions": _versions(),
        "task": {
            "kind": kind,
            "target": facts.target,
            "targets": list(facts.targets),
            "class_names": list(facts.class_names),
            "threshold": task.threshold,
            "with_std": getattr(task, "with_std", False),
        },
        "input": {
            "name": "x",
            "shape": ["N", *x.shape[1:]],
            "dtype": str(x.dtype).removeprefix("torch."),
            **_meaning(data, facts, x, whole),
        },
        "output": {
            "name": "prediction",
            "shape": ["N", *predictions.shape[1:]],
            "dtype": str(predictions.dtype).removeprefix("torch."),
            "meaning": meanings.get(kind, f"{facts.target}, as {type(task).__name__} predicts it"),
            "columns": names,
        },
    }


def _versions() -> dict[str, str]:
    others = {package: version(package) for package in ("torch", "lightning")}
    return {"python": platform.python_version(), "kindling": __version__, **others}


def _meaning(data: DataModule, facts: Facts, x: Tensor, whole: bool) -> dict[str, Any]:
    if facts.image_size:
        form = data.image_form
        fits = form and x.shape[1:] == (1 if form.mode == "L" else 3, form.size, form.size)
        return {"meaning": data.pixels} | ({"image": asdict(form)} if form and fits else {})
    if x.shape[1:] != (len(facts.feature_names),):
        return {"meaning": "samples as the data has them"}
    columns, fields = _columns(data, facts.feature_names, _training_rows(data) if whole else None)
    meaning = "rows of a table, its columns in this order, numbers in their own units"
    return {"meaning": meaning, "columns": columns, "fields": fields}


def _training_rows(data: DataModule) -> NDArray[Any] | None:
    """Encoded rows (N, C), where they can be had."""
    try:
        data.setup("fit")
    except Exception as error:  # an adopter's own data may fail in its own way
        say(f"The range of each column is left out, as the training rows can't be read: {error}")
        return None
    return data.train_set.tensors[0].cpu().numpy() if isinstance(data.train_set, InMemory) else None


def _columns(
    data: DataModule, names: Sequence[str], training: NDArray[Any] | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The numbers of a row in their order, and what a user fills in, in the order of the user's own file."""
    learned: Any = getattr(data, "learned", None)
    features = getattr(learned, "features", None)  # of a table
    columns, fields = [], {}
    for n, name in enumerate(names):
        values = np.zeros(0) if training is None else training[:, n] + 0  # which makes numbers of truth values
        values = values[np.isfinite(values)]
        column: dict[str, Any] = {"column": name}
        field: dict[str, Any] = {"name": name, "type": "number", "gap": features is not None}
        if features and name in features.categorical:
            texts = features.categorical[name]
            column |= {"texts": {text: code for code, text in enumerate(texts)}, "gap": len(texts), "unseen": -1}
            codes = values[(values >= 0) & (values < len(texts))].astype(int)
            example = texts[np.bincount(codes, minlength=1).argmax()]
            field |= {"type": "category", "choices": texts, "example": example}
        else:
            low, middle, high = _low_middle_high(values)
            limits = {} if middle is None else {"low": low, "high": high}
            if middle is None:
                middle = features.numeric[name][0] if features else 0.0
            field |= limits | {"example": _rounded(middle, low, high)}
            if features:
                column["gap"] = "NaN"
                if form := learned.forms.get(name):
                    column |= _read_from(*form)
                    field = _text(name, form[1], form[2], middle, field["example"])
            column |= {"largest": features.largest[name] if features else LARGEST, **limits}
        columns.append(column)
        if column.get("read_from", name) == name:  # and is no part of a date
            fields[name] = field
    if features:
        rows: Any = data.test_set if training is None else data.train_set
        fields = {name: fields[name] for name in rows.table.columns if name in fields}
    return columns, list(fields.values())


def _read_from(column: str, form: str, detail: str) -> dict[str, str]:
    since = {"since": "1970-01-01, in days"} if "%" in form and not detail else {}
    return {"read_from": column, "form": form, "detail": detail, **since}


def _text(name: str, form: str, detail: str, middle: float, rounded: float) -> dict[str, Any]:
    from kindling.data.table.forms import shown, written  # with pandas, which a table has imported

    example = written(middle if "%" in form else rounded, form, detail)
    return {"name": name, "type": "text", "gap": True, "form": shown(form, detail), "example": example}


def _low_middle_high(values: NDArray[Any]) -> tuple[Any, Any, Any]:
    """With as few digits as tell them apart from other numbers of their kind; None where there are no values."""
    if not len(values):
        return None, None, None
    of_three = (values.min(), np.partition(values, middle := (len(values) - 1) // 2)[middle], values.max())
    low, median, high = (float(str(value)) for value in of_three)
    return low, median, high


def _rounded(value: float, low: float | None, high: float | None) -> float:
    """As people would write it: to a hundredth of the range, and within it."""
    size = abs(value) if low is None or high is None else high - low
    rounded = round(value, 2 - floor(log10(size))) if size else value
    if low is not None and high is not None and not low <= rounded <= high:
        rounded = value
    return int(rounded) if rounded == int(rounded) else rounded
