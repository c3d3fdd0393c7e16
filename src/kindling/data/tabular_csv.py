from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from kindling.data.base import LARGEST, DataModule, say
from kindling.data.loading import InMemory
from kindling.data.table.file import (
    Kind,
    NotANumberError,
    Place,
    Table,
    categories,
    codes,
    mostly_numbers,
    numbers,
    open_table,
)
from kindling.data.table.split import split_rows
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.registry import nearest
from kindling.schema import matches

Gaps = Literal["mean", "median", "drop"]
Task = Literal["auto", "classification", "regression"]
SHOWN_COLUMNS = 100  # in a message
MOST_FEATURES = 10_000  # columns, each of which takes a millisecond to get to know


class Learned(TypedDict):
    """What is known from the training rows, in plain types that a checkpoint can hold."""

    options: dict[str, Any]  # those that decide columns and split, as they were given
    sha256: str  # of the training file
    shares: list[float]  # of the split that was made
    numeric: dict[str, list[float]]  # column -> what fills a gap, mean, standard deviation
    categorical: dict[str, list[str]]  # column -> its categories, in the order of their codes
    classes: list[str]  # in label order; empty where the target is a number
    numbers: dict[str, Any]  # target_mean, target_std and target_min where it is one


class TableRows(InMemory):
    """Rows of one file: x (N, C) float32 and, but for rows to predict, y (N,)."""

    def __init__(self, table: Table, rows: NDArray[np.int64], *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.table, self.rows = table, rows  # places in the file, counted from 0, ascending


class TabularCSV(DataModule):
    """A table of one's own: numbers, categories and gaps, to predict one of its columns.

    Numbers are standardised, a gap among them filled; a category becomes one column of 0 and 1 for each of its values
    and one for a gap. All that is needed for this is learned from the training rows alone and kept in the checkpoint.

    Args:
        path: Table to train on, split into training, validation and test rows: .csv or .tsv (each also .gz), UTF-8,
            with a line of column names, parted by commas, semicolons or tabs; or .parquet. What pandas takes for a
            missing value is a gap: an empty cell, NA, NaN, null, None.
        target: Column to predict. Rows without it are left out.
        features: Columns to predict from; unless given all named ones but the target.
        ignore: Columns to leave out.
        categorical: Columns of numbers that are codes and have no size, e.g. a postcode.
        gaps: What fills a gap in a column of numbers, or ``drop`` to leave such rows out, but not of those to predict.
        task: Whether the target is a class or a number. ``auto`` takes texts for classes, and whole numbers if they are
            at most 20 different ones, on average in at least 5 rows each.
        split: Shares of training, validation and test rows. With ``test_path`` only the first two count.
        test_path: Table of test rows.
        predict_path: Table of rows to predict instead of the test rows; needs no target.
        batch_size: Rows per batch.
        seed: Of the split, independent of ``--seed_everything``.

    Raises:
        DataError: A table can't be read, doesn't hold what its columns promise, or is not the one trained on.
        UsageError: A column that doesn't exist, or an option that differs from what a checkpoint was trained with.
    """

    train_set: TableRows
    val_set: TableRows
    test_set: TableRows
    predict_set: TableRows

    def __init__(
        self,
        path: str,
        target: str,
        features: str | list[str] | None = None,
        ignore: str | list[str] | None = None,
        categorical: str | list[str] | None = None,
        gaps: Gaps = "mean",
        task: Task = "auto",
        split: tuple[float, float, float] = (0.7, 0.15, 0.15),
        test_path: str | None = None,
        predict_path: str | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size)
        if gaps not in get_args(Gaps):
            raise UsageError(f"--data.gaps {gaps}: one of {', '.join(get_args(Gaps))}")
        if task not in get_args(Task):
            raise UsageError(f"--data.task {task}: one of {', '.join(get_args(Task))}")
        shares_add_up = len(split) == 3 and abs(sum(split) - 1) <= 1e-6  # which NaN doesn't
        if not shares_add_up or min(split) < 0 or min(split[:2]) == 0:
            raise UsageError(
                f"--data.split {list(split)}: three shares that add up to 1, and only that of test can be 0"
            )
        if seed < 0:
            raise UsageError(f"--data.seed {seed}: a seed is at least 0")
        self.path, self.test_path, self.predict_path = path, test_path, predict_path
        self.target, self.gaps, self.task, self.split, self.seed = target, gaps, task, split, seed
        self.features = None if features is None else _names(features)
        self.ignore, self.categorical = _names(ignore), _names(categorical)
        self._learned: Learned | None = None
        self._parts: list[TableRows] | None = None  # training, validation and test rows of ``path``
        self._others: dict[str, TableRows] = {}  # rows of another file, by the option that names it
        self._constants: dict[torch.device, tuple[Tensor, ...]] = {}

    @property
    def learned(self) -> Learned:
        """From a checkpoint if one was loaded, otherwise from the training file."""
        if self._learned is None:
            self._split()
        assert self._learned is not None
        return self._learned

    @property
    def facts(self) -> Facts:
        numeric, categorical = self.learned["numeric"], self.learned["categorical"]
        return Facts(
            in_features=len(numeric) + sum(len(known) + 1 for known in categorical.values()),
            class_names=tuple(self.learned["classes"]),
            target=self.target,
            feature_names=(*numeric, *categorical),
            **self.learned["numbers"],
        )

    @property
    def title(self) -> str:
        """What the screen calls the data."""
        classes = len(self.learned["classes"])
        return f"{Path(self.path).name} ({self.target}: {f'{classes} classes' if classes else 'a number'})"

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps; plain data, which ``torch.load`` reads with ``weights_only=True``."""
        return dict(self.learned)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take columns, statistics and split from a checkpoint; without effect where they are known already.

        Raises:
            UsageError: An option contradicts the checkpoint.
            DataError: Something else was learned before.
        """
        options = self._options()
        sound = matches(state_dict, Learned) and state_dict["options"].keys() == options.keys()
        if not sound or not all(len(n) == 3 and np.isfinite(n).all() for n in state_dict["numeric"].values()):
            raise DataError(f"what the checkpoint knows of {self.path} is damaged: take another checkpoint")
        for name, trained in state_dict["options"].items():
            if options[name] != trained:
                raise UsageError(_contradiction(name, options[name], trained))
        if self._learned is not None and self._learned != state_dict:
            raise DataError(
                f"{self.path}, as it is split here, is not what the checkpoint was trained on: give its state to "
                "load_state_dict before the data is read"
            )
        self._learn(Learned(**state_dict))  # type: ignore[typeddict-item]

    def prepare_data(self) -> None:
        """Read what the command needs before the loggers make their files, which a mistake would leave behind."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.setup(self.trainer.state.fn)

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.predict_path is not None:
            self.predict_set = self._read(self.predict_path, "--data.predict_path", with_target=False)
        elif stage in ("test", "predict") and self.test_path is not None:
            self.test_set = self.predict_set = self._read(self.test_path, "--data.test_path", with_target=True)
        elif stage in ("test", "predict"):
            *_, self.test_set = self._split(stage)
            self.predict_set = self.test_set
            if not len(self.test_set):
                raise DataError(f"the split of {self.path} left no test rows: name some with {_other(stage)}")
        else:
            self.train_set, self.val_set, _ = self._split(stage)
            if stage == "fit" and self.test_path is not None:  # a mistake in it should not show after the training
                self._read(self.test_path, "--data.test_path", with_target=True)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Raw rows to what the sets store; other columns and their order are of no matter.

        Returns:
            (N, C) float32: numbers with NaN for gaps, then categories as codes: with K of them in the training rows
            0 to K - 1, K for a gap and -1 for any other.

        Raises:
            DataError: A column is missing, or holds a text where it held numbers.
        """
        self._check_columns(frame.columns, "the frame", with_target=False)
        return self._encode(frame, "row {}".format)

    def normalize(self, x: Tensor) -> Tensor:
        """Stored rows (B, C) to what the network takes (B, in_features), float32 on x's device."""
        fill, mean, std, column, code = self._constants_on(x.device)
        stored = x[:, : len(mean)]
        standardised = (torch.where(stored.isnan(), fill, stored) - mean) / std
        return torch.cat([standardised, (x[:, column] == code).to(x.dtype)], dim=1)

    def describe(self, dataset: Dataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        """All columns of the file, unchanged."""
        assert isinstance(dataset, TableRows)
        return dict(dataset.table.cells(dataset.rows[list(indices)].tolist()))

    def _options(self) -> dict[str, Any]:
        names = "target", "seed", "split", "features", "ignore", "categorical", "gaps", "task"
        return {name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in names}

    def _learn(self, learned: Learned) -> None:
        self._learned = learned
        fill, mean, std = (torch.tensor([numbers[n] for numbers in learned["numeric"].values()]) for n in range(3))
        sizes = [len(known) + 1 for known in learned["categorical"].values()]
        column = [len(mean) + n for n, size in enumerate(sizes) for _ in range(size)]
        code = [float(code) for size in sizes for code in range(size)]
        on_cpu = fill, mean, std, torch.tensor(column, dtype=torch.long), torch.tensor(code)
        self._constants = {torch.device("cpu"): on_cpu}

    def _constants_on(self, device: torch.device) -> tuple[Tensor, ...]:
        if self._learned is None:
            self._split()
        if device not in self._constants:
            self._constants[device] = tuple(t.to(device) for t in self._constants[torch.device("cpu")])
        return self._constants[device]

    def _split(self, stage: str = "fit") -> list[TableRows]:
        """Training, validation and test rows of ``path``; reads it once, and learns from it if nothing is known."""
        if self._parts is not None:
            return self._parts
        table = open_table(Path(self.path), "--data.path")
        sha256 = table.sha256()
        if self._learned is None:
            frame, shares = self._read_unknown(table), [*self.split]
            if self.test_path is not None:
                shares = [shares[0] / sum(shares[:2]), shares[1] / sum(shares[:2]), 0.0]
            features = [str(c) for c in frame.columns if c != self.target]
            numeric = [c for c in features if c not in self.categorical and frame[c].dtype == np.float64]
        elif self._learned["sha256"] == sha256:
            frame, shares = table.read(self._kinds(with_target=True)), self._learned["shares"]
            numeric = list(self._learned["numeric"])
        else:
            kind, other = "validation", ""
            if stage in ("test", "predict"):
                kind, other = "test", f"name other rows with {_other(stage)}, or "
            raise DataError(
                f"{self.path} is not the file that the training saw, so which of its rows are {kind} rows can't be "
                f"told: {other}train anew"
            )
        rows = self._usable(table, frame, numeric)
        known = frame[self.target].iloc[rows]
        classes = self._classes(known) if self._learned is None else self._learned["classes"]
        y = self._targets(known, classes, table.place)
        parts = split_rows(y if classes else np.zeros_like(y), shares, self.seed, self.path)
        if self._learned is None:
            training = rows[parts[0]]
            self._learn(
                Learned(
                    options=self._options(),
                    sha256=sha256,
                    shares=shares,
                    numeric={c: self._statistics(frame[c].iloc[training]) for c in numeric},
                    categorical={c: self._categories(frame[c].iloc[training]) for c in features if c not in numeric},
                    classes=classes,
                    numbers={} if classes else _target_statistics(y[parts[0]]),
                )
            )
        x = self._encode(frame, table.place)
        del frame  # a large table would otherwise be in memory three times
        targets = _targets_tensor(y, classes)
        self._parts = [TableRows(table, rows[part], x[rows[part]], targets[part]) for part in parts]
        return self._parts

    def _read(self, path: str, option: str, with_target: bool) -> TableRows:
        """Rows of another file than that for training."""
        if option not in self._others:
            self._others[option] = self._read_other(path, option, with_target)
        return self._others[option]

    def _read_other(self, path: str, option: str, with_target: bool) -> TableRows:
        table, learned = open_table(Path(path), option), self.learned
        self._check_columns(table.columns, path, with_target)
        frame = table.read(self._kinds(with_target))
        if not with_target:
            return TableRows(table, np.arange(len(frame)), self._encode(frame, table.place))
        rows = self._usable(table, frame, list(learned["numeric"]))
        if not len(rows):
            raise DataError(f"{path} has no row to test with: name another table with {option}")
        frame = frame.iloc[rows]
        y = self._targets(frame[self.target], learned["classes"], table.place)
        return TableRows(table, rows, self._encode(frame, table.place), _targets_tensor(y, learned["classes"]))

    def _read_unknown(self, table: Table) -> pd.DataFrame:
        """Features and target of the training file, with the kind of each decided by its cells."""
        named = {"target": [self.target], "features": self.features or [], "ignore": self.ignore}
        for option, columns in {**named, "categorical": self.categorical}.items():
            for column in columns:
                if column not in table.columns:
                    some = table.columns[:SHOWN_COLUMNS]
                    more = ", ..." if len(table.columns) > SHOWN_COLUMNS else ""
                    hint = nearest(column, some) or f", but {', '.join(some)}{more}: name one of its own"
                    raise UsageError(f"--data.{option}: {table.path} has no column {column}{hint}")
                if column == self.target and option != "target":
                    raise UsageError(f"--data.{option} {column}: that is the target, so take it out")
                if columns.count(column) > 1 or (option == "ignore" and column in named["features"]):
                    raise UsageError(f"--data.{option} {column}: that column is named twice, so take it out once")
        with_names = [c for c in table.columns if not c.startswith("Unnamed: ")]  # an index, from pandas
        chosen = set(with_names if self.features is None else self.features) - {self.target, *self.ignore}
        features = [c for c in table.columns if c in chosen]
        if not features:
            raise UsageError(
                f"--data.features: no column of {table.path} is left to predict {self.target} from: name one"
            )
        if len(features) > MOST_FEATURES:
            raise UsageError(
                f"{table.path} has {len(features):,} columns to predict {self.target} from, more than "
                f"{MOST_FEATURES:,}: name those that count with --data.features"
            )
        kinds: dict[str, Kind] = {c: "text" if c in self.categorical else None for c in features}
        kinds[self.target] = {"auto": None, "classification": "text", "regression": "number"}[self.task]
        try:
            frame = table.read(kinds)
            for column, kind in kinds.items():
                if frame[column].isna().all():
                    raise DataError(self._no_value(column))
                if kind is None and mostly_numbers(frame[column]):
                    numbers(frame[column], column, table.place)
        except NotANumberError as error:
            option = "task classification" if error.column == self.target else f"categorical {error.column}"
            raise DataError(f"{error}, or take the column for texts with --data.{option}") from error
        return frame

    def _kinds(self, with_target: bool) -> dict[str, Kind]:
        kinds: dict[str, Kind] = dict.fromkeys(self.learned["numeric"], "number")
        kinds |= dict.fromkeys(self.learned["categorical"], "text")
        return kinds | {self.target: "text" if self.learned["classes"] else "number"} if with_target else kinds

    def _usable(self, table: Table, frame: pd.DataFrame, numeric: list[str]) -> NDArray[np.int64]:
        """Rows to train or test with, as opposed to predict."""
        known = frame[self.target].notna().to_numpy(dtype=bool)
        if not known.all():
            say(f"{table.path}: rows left out as they have no {self.target}: {(~known).sum()} of {len(known)}")
        if self.gaps == "drop":
            gap = known & frame[numeric].isna().to_numpy(dtype=bool).any(axis=1)
            if gap.any():
                say(f"{table.path}: rows left out as they have a gap: {gap.sum()} of {len(known)}")
            known = known & ~gap
        return np.flatnonzero(known)

    def _classes(self, known: pd.Series) -> list[str]:
        """Names in label order, or none where the target is a number."""
        distinct = known.unique()
        if len(known) < 3:
            raise DataError(
                f"{self.path}: usable rows {len(known)}, but at least 3 are needed, one for each set: add some"
            )
        if len(distinct) == 1:
            raise DataError(
                f"{self.path}: {self.target} is {distinct[0]} in all usable rows, so nothing can be learned: add "
                "rows where it is not, or see --data.target"
            )
        if self.task == "regression":
            return []
        if self.task == "auto" and known.dtype == np.float64:
            few = len(distinct) <= 20 and len(known) >= 5 * len(distinct)
            if not (few and (distinct % 1 == 0).all()):
                return []
        elif self.task == "auto" and _too_many(len(distinct), len(known)):
            raise DataError(
                f"{self.path}: {self.target} has {len(distinct)} different texts in {len(known)} rows, too many for "
                "classes: see --data.target, or insist with --data.task classification"
            )
        return categories(known)

    def _targets(self, column: pd.Series, classes: list[str], place: Place) -> NDArray[np.float64]:
        """Labels (N,), or numbers in their own unit."""
        if not classes:
            return numbers(column, self.target, place)
        y = codes(column, classes)
        if (y < 0).any():
            row = int((y < 0).argmax())
            text = str(column.iloc[row])
            raise DataError(
                f"{place(column.index[row])}: {self.target} is {text}, a class that the training rows don't have: "
                f"leave that row out{nearest(text, classes)}"
            )
        return y.astype(np.float64)

    def _statistics(self, training: pd.Series) -> list[float]:
        """What fills a gap, mean, and standard deviation."""
        values = training.dropna().to_numpy()
        if not len(values):
            raise DataError(self._no_value(training.name))
        mean, std = _mean_and_std(values)
        return [float(np.median(values)) if self.gaps == "median" else mean, mean, std]

    def _categories(self, training: pd.Series) -> list[str]:
        found = categories(training)
        if not found:
            raise DataError(self._no_value(training.name))
        if _too_many(len(found), len(training)):
            raise DataError(
                f"{self.path}: column {training.name} has {len(found)} different values in {len(training)} "
                f"training rows, too many for categories: leave it out with --data.ignore {training.name}"
            )
        return found

    def _encode(self, frame: pd.DataFrame, place: Place) -> Tensor:
        numeric, categorical = self.learned["numeric"], self.learned["categorical"]
        x = np.empty((len(frame), len(numeric) + len(categorical)), dtype=np.float32)
        for n, (column, (_, _, std)) in enumerate(numeric.items()):
            x[:, n] = numbers(frame[column], column, place, largest=min(std, 1) * LARGEST)  # standardised, too
        for n, (column, known) in enumerate(categorical.items(), start=len(numeric)):
            x[:, n] = codes(frame[column], known)
        return torch.from_numpy(x)

    def _check_columns(self, columns: Iterable[str], where: str, with_target: bool) -> None:
        for column in self._kinds(with_target):
            if column not in columns:
                hint = nearest(column, columns)
                raise DataError(f"{where} has no column {column}, which the training table had: add it{hint}")

    def _no_value(self, column: object) -> str:
        if column == self.target:
            return f"{self.path}: column {column} has no value, so nothing can be learned: see --data.target"
        return (
            f"{self.path}: column {column} has no value in the training rows: leave it out with --data.ignore {column}"
        )


def _names(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _other(stage: str) -> str:
    """The option that names other rows for a stage."""
    return "--data.predict_path" if stage == "predict" else "--data.test_path"


def _too_many(distinct: int, rows: int) -> bool:
    return distinct > 1000 or (distinct > 20 and distinct > rows / 2)


def _mean_and_std(values: NDArray[np.float64]) -> tuple[float, float]:
    """The standard deviation is 1 where all values are the same, or are as float32."""
    same = np.float32(values.min()) == np.float32(values.max()) or values.std() < np.finfo(np.float32).tiny
    return float(values.mean()), 1.0 if same else float(values.std())


def _target_statistics(values: NDArray[np.float64]) -> dict[str, float]:
    mean, std = _mean_and_std(values)
    return {"target_mean": mean, "target_std": std, "target_min": float(values.min())}


def _targets_tensor(y: NDArray[np.float64], classes: list[str]) -> Tensor:
    return torch.from_numpy(y.astype(np.int64 if classes else np.float32))


def _contradiction(option: str, given: object, trained: object) -> str:
    if option == "target":
        return f"--data.target {given}: the checkpoint was trained to predict {trained}"
    why = "which would mix training and test rows" if option in ("seed", "split") else "so train anew to change it"
    return f"--data.{option} {given}: the checkpoint was trained with {trained}, {why}"
