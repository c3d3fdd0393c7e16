"""The columns to predict: classes, tags or numbers, and how their cells become targets."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from kindling.data.table.cells import Place, are_numbers, categories, codes, numbers
from kindling.data.table.features import too_many
from kindling.errors import DataError
from kindling.registry import nearest

TAGS = {"0": 0, "1": 1, "False": 0, "True": 1, "no": 0, "yes": 1, "No": 0, "Yes": 1, "NO": 0, "YES": 1}


class Targets:
    """What the training rows tell about the columns to predict.

    Args:
        columns: Their names.
        classes: Of one column, in label order; the columns themselves where they are tags; empty for numbers.
        statistics: For each column of numbers mean, standard deviation and lowest; for classes the rows of each.
    """

    def __init__(self, columns: list[str], classes: list[str], statistics: list[list[float]]) -> None:
        self.columns, self.classes, self.statistics = columns, classes, statistics
        self.several = len(columns) > 1
        self.tags = self.several and bool(classes)

    def facts(self) -> dict[str, Any]:
        """What ``Facts`` says of them."""
        facts: dict[str, Any] = {"target": ", ".join(self.columns), "class_names": tuple(self.classes)}
        if self.classes:
            counts = self.statistics[0] if self.statistics else ()  # which older checkpoints lack
            return facts | {"task": "multilabel" if self.tags else "", "class_counts": tuple(map(int, counts))}
        mean, std, low = (of if self.several else of[0] for of in zip(*self.statistics, strict=True))
        targets = tuple(self.columns) if self.several else ()
        return facts | {"targets": targets, "target_mean": mean, "target_std": std, "target_min": low}

    def __str__(self) -> str:
        """How the screen names them, e.g. ``Price: a number``."""
        count, names = len(self.columns), ", ".join(self.columns)
        if self.classes:
            return f"{count} tags" if self.tags else f"{names}: {len(self.classes)} classes"
        return f"{names}: {count} numbers" if self.several else f"{names}: a number"

    def encode(self, frame: pd.DataFrame, place: Place) -> NDArray[Any]:
        """Targets (N,) of one column, (N, T) of several: labels or tags as int64, or numbers in their unit as float64.

        Raises:
            DataError: A class that is not known, a cell that is no tag, or a text among numbers.
        """
        found = [self._labels(frame[c], place) if self.classes else numbers(frame[c], place) for c in self.columns]
        return np.stack(found, axis=1) if self.several else found[0]

    def tensor(self, y: NDArray[Any]) -> Tensor:
        """int64 of labels and tags, float32 of numbers."""
        return torch.from_numpy(y if self.classes else y.astype(np.float32))

    def _labels(self, column: pd.Series, place: Place) -> NDArray[np.int64]:
        label_of = TAGS if self.tags else {name: label for label, name in enumerate(self.classes)}
        y = codes(column, label_of)
        if (y < 0).any():
            row = int((y < 0).argmax())
            text, what = str(column.iloc[row]), "no tag" if self.tags else "a class that the training rows don't have"
            where = f"{place(column.index[row])}: {column.name}"
            raise DataError(f"{where} is {text}, {what}: leave that row out{nearest(text, label_of)}")
        return y


def find_classes(usable: pd.DataFrame, task: str, path: str) -> list[str]:
    """The classes or tags to predict, none for numbers, from the targets of the rows to train and test with.

    Raises:
        DataError: There is nothing to learn, or no task that fits.
    """
    if len(usable) < 3:
        raise DataError(f"{path}: usable rows {len(usable)}, but at least 3 are needed, one for each set: add some")
    for name in usable:
        if usable[name].nunique() == 1:
            what = f"{name} is {usable[name].iloc[0]} in all usable rows, so nothing can be learned"
            raise DataError(f"{path}: {what}: add rows where it is not, or see --data.target")
    if task == "regression":
        return []
    return _find_class_names(usable.iloc[:, 0], task, path) if usable.shape[1] == 1 else _find_tags(usable, task, path)


def _find_class_names(usable: pd.Series, task: str, path: str) -> list[str]:
    distinct = usable.unique()
    if task == "auto" and usable.dtype == np.float64:
        few = len(distinct) <= 20 and len(usable) >= 5 * len(distinct)
        return categories(usable) if few and (distinct % 1 == 0).all() else []
    if task == "auto" and too_many(len(distinct), len(usable)):
        what = f"{usable.name} has {len(distinct)} different texts in {len(usable)} rows, too many for classes"
        raise DataError(f"{path}: {what}: see --data.target, or insist with --data.task classification")
    return categories(usable)


def _find_tags(usable: pd.DataFrame, task: str, path: str) -> list[str]:
    no_tags = [str(name) for name in usable if not TAGS.keys() >= set(categories(usable[name]))]
    no_numbers = [str(name) for name in usable if not are_numbers(usable[name])]
    if no_tags and (no_numbers or task == "classification"):
        also = f" and {no_numbers[0]} no number" if no_numbers else ""
        raise DataError(
            f"{path}: several targets must be all numbers, or all tags (0 and 1, false and true, no and yes), but "
            f"{no_tags[0]} is no tag{also}: change --data.target or --data.task"
        )
    return [] if no_tags else [str(name) for name in usable]
