"""The columns to predict from, and how their cells become numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from kindling.data.table.cells import Place, categories, encode
from kindling.data.table.names import ColumnError
from kindling.facts import LARGEST


class Features:
    """What the training rows tell about the columns to predict from.

    Args:
        numeric: For each column of numbers what fills a gap, mean, and standard deviation.
        categorical: For each other column its categories, in the order of their codes.
    """

    def __init__(self, numeric: dict[str, list[float]], categorical: dict[str, list[str]]) -> None:
        self.numeric, self.categorical = numeric, categorical
        self.names = (*numeric, *categorical)
        sizes = [len(known) + 1 for known in categorical.values()]
        self.size = len(numeric) + sum(sizes)  # numbers per row that normalize returns
        self.largest = {name: min(std, 1) * LARGEST for name, (_, _, std) in numeric.items()}  # standardised, too
        fill, mean, std = (torch.tensor([values[n] for values in numeric.values()]) for n in range(3))
        column = torch.tensor([len(numeric) + n for n, size in enumerate(sizes) for _ in range(size)], dtype=torch.long)
        code = torch.tensor([float(code) for size in sizes for code in range(size)])
        self._constants: dict[torch.device, tuple[Tensor, ...]] = {torch.device("cpu"): (fill, mean, std, column, code)}

    @classmethod
    def learn(
        cls, training: pd.DataFrame, numeric: Sequence[str], gaps: str, path: str
    ) -> tuple["Features", list[ColumnError]]:
        """From the training rows, whose columns are ``numeric``, as float64, or else categories.

        Returns:
            Also which columns can't be used, as they have no value, or too many categories.
        """
        found_numbers, found_categories, unusable = {}, {}, []
        for name in training.columns:
            column = training[name].dropna()
            if not len(column):
                why = "has no value in the training rows"
                unusable.append(ColumnError(f"{path}: column {name} {why}", name, why))
                continue
            if name in numeric:
                mean, std = mean_and_std(column.to_numpy())
                found_numbers[name] = [float(column.median()) if gaps == "median" else mean, mean, std]
                continue
            found_categories[name] = categories(column)
            if too_many(len(found_categories[name]), len(training)):
                why = f"has {len(found_categories[name])} different values in {len(training)} training rows"
                message = f"{path}: column {name} {why}, too many for categories"
                unusable.append(ColumnError(message, name, why))
        return cls(found_numbers, found_categories), unusable

    def encode(self, frame: pd.DataFrame, place: Place) -> Tensor:
        """(N, C) float32, as ``TabularCSV.encode`` says."""
        return torch.from_numpy(encode(frame, self.largest, self.categorical, place))

    def normalize(self, x: Tensor) -> Tensor:
        """Encoded rows (B, C) to standardised numbers and columns of 0 and 1, (B, size), on x's device."""
        if x.device not in self._constants:
            self._constants[x.device] = tuple(t.to(x.device) for t in self._constants[torch.device("cpu")])
        fill, mean, std, column, code = self._constants[x.device]
        stored = x[:, : len(mean)]
        standardised = (torch.where(stored.isnan(), fill, stored) - mean) / std
        return torch.cat([standardised, (x[:, column] == code).to(x.dtype)], dim=1)


def mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    """The standard deviation is 1 where all values are the same, or are as float32."""
    same = np.float32(values.min()) == np.float32(values.max()) or values.std() < np.finfo(np.float32).tiny
    return float(values.mean()), 1.0 if same else float(values.std())


def too_many(distinct: int, rows: int) -> bool:
    """Whether these are texts of each row's own rather than categories."""
    return distinct > 1000 or (distinct > 20 and distinct > rows / 2)
