"""What the training rows of a table tell, and the sets of rows that are encoded by it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from kindling.console import say
from kindling.data.loading import InMemory
from kindling.data.split import Split, rarest_tag, split_folds, split_groups, split_rows
from kindling.data.table.cells import numbers, seem_numbers
from kindling.data.table.features import Features, mean_and_std, too_many
from kindling.data.table.file import Table
from kindling.data.table.forms import DIGITS, PARTS, Forms, expand, find_form
from kindling.data.table.names import LISTS, ColumnError, check_columns, names_in, pasted, raise_all
from kindling.data.table.targets import Targets, find_classes
from kindling.errors import DataError, UsageError
from kindling.registry import nearest


class TableRows(InMemory):
    """Rows of one file: x (N, C) float32 and, except for rows to predict, y (N,) or (N, T)."""

    def __init__(self, table: Table, rows: NDArray[np.int64], *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.table, self.rows = table, rows  # positions in the file, counted from 0, ascending

    @property
    def order(self) -> list[int]:
        """By which they are sorted, also among those of other folds."""
        rows: list[int] = self.rows.tolist()
        return rows


Options = dict[str, Any]  # those of ``TabularCSV`` that decide columns, statistics and split


@dataclass
class Learned:
    """What the training rows tell, as plain data for a checkpoint; with it rows of any file are encoded alike."""

    options: Options  # by which it was learned
    sha256: str  # of the training file
    shares: list[float]  # of training, validation and test rows
    numeric: dict[str, list[float]]  # as Features has it
    categorical: dict[str, list[str]]
    classes: list[str]  # as Targets has it
    statistics: list[list[float]]
    forms: Forms = field(default_factory=dict)  # of dates, and of numbers that are not written plainly

    def __post_init__(self) -> None:
        self.options = Options(group=[], folds=None, fold=None) | self.options  # which older checkpoints lack
        self.features = Features(self.numeric, self.categorical)
        self.targets = Targets(self.options["target"], self.classes, self.statistics)

    def read(self, table: Table, with_targets: bool = True) -> pd.DataFrame:
        """The known columns of a file.

        Raises:
            DataError: One of them is missing.
        """
        columns = [*self.columns, *(self.targets.columns if with_targets else [])]
        check_columns(columns, table.columns, str(table.path))
        forms = {name: form for name, form in self.forms.items() if form[0] in columns}
        as_written = {*self.categorical, *(form[0] for form in forms.values())}
        texts = as_written.union(self.targets.columns) if self.classes else as_written
        return expand(table.read(columns, texts.intersection(columns)), forms, table.place)

    @property
    def columns(self) -> list[str]:
        """Those of the file that the features are made of."""
        return list(dict.fromkeys(self.forms.get(name, [name])[0] for name in self.features.names))

    def encode(self, table: Table, with_targets: bool) -> TableRows:
        """Rows of another file than that of the training, to test with or, without targets, to predict."""
        frame = self.read(table, with_targets)
        without_gaps = self.numeric if self.options["gaps"] == "drop" else []
        rows = usable_rows(table, frame, self.targets.columns, without_gaps) if with_targets else np.arange(len(frame))
        if not len(rows):
            raise DataError(f"{table.path} has no row to test with: name another table with --data.test_path")
        frame = frame.iloc[rows]
        y = [self.targets.tensor(self.targets.encode(frame, table.place))] if with_targets else []
        x = self.features.encode(frame, table.place)
        counts = (x[:, len(self.numeric) :] == -1).sum(dim=0).tolist()
        names = [f"{name} {count}" for name, count in zip(self.categorical, counts, strict=True) if count]
        if names:
            say(f"{table.path}: cells whose category the training rows don't have: {', '.join(names)} of {len(x)} rows")
        return TableRows(table, rows, x, *y)

    def groups(self, part: TableRows) -> list[str]:
        """The group of each row that has one; none where the table has no such column."""
        names = [name for name in self.options["group"] if name in part.table.columns]
        return [group for name in names for group in part.table.texts(name)[part.rows] if group is not None]


def split_table(
    table: Table, options: Options, shares: list[float], learned: Learned | None
) -> tuple[Learned, list[TableRows]]:
    """Training, validation and test rows of a file, and what the first tell unless that is ``learned`` already.

    Raises:
        DataError: The file doesn't hold what its columns promise, or there is nothing to learn from it.
        UsageError: An option names a column that is not there.
    """
    path, unusable = str(table.path), list[ColumnError]()
    if learned:
        options, forms, frame = learned.options, learned.forms, learned.read(table)
    else:
        lists = {option: names_in(options[option], table.columns) for option in LISTS}
        frame, forms, unusable = read_training_table(table, options := options | lists)
    target = options["target"]
    columns = [c for c in frame.columns if c not in target]
    numbers_read = [c for c in columns if c not in options["categorical"] and frame[c].dtype == np.float64]
    numeric = list(learned.numeric) if learned else numbers_read
    rows = usable_rows(table, frame, target, numeric if options["gaps"] == "drop" else [])
    known = frame[target].iloc[rows]
    targets = learned.targets if learned else Targets(target, find_classes(known, options["task"], path), [])
    y = targets.encode(known, table.place)
    strata = rarest_tag(y) if targets.tags else y if targets.classes else np.zeros(len(y))
    groups, what, seed = None, "rows", options["seed"]
    if options["group"]:
        (name,) = options["group"]
        groups, what = _number_groups(table, name, rows), f"groups of {name}"
        parts = split_groups(groups, strata, shares, seed, f"{path}: {what}")
    else:
        parts = split_rows(strata, shares, seed, path)
    splits: list[Split] = []
    if folds := options["folds"]:
        of_classes = ((c, y[:, n] == 1 if targets.tags else y == n) for n, c in enumerate(targets.classes))
        splits = split_folds(parts, strata, folds, seed, path, of_classes, groups, what)
        parts = splits[options["fold"]]
    if learned is None:
        training = frame[columns].iloc[rows[parts[0]]]
        same = [name for name in forms if forms[name][2] in PARTS and training[name].nunique() < 2]
        forms = {name: form for name, form in forms.items() if name not in same}
        features, unfit = Features.learn(training.drop(columns=same), numeric, options["gaps"], path)
        for train, _, _ in splits if options["fold"] == 0 else ():  # a column should not fail when some are trained
            unfit += Features.learn(frame[columns].iloc[rows[train]], numeric, options["gaps"], path)[1]
        raise_all(list({error.name: error for error in [*unusable, *unfit]}.values()), options["ignore"], path)
        numbers_of_each = () if targets.classes else np.atleast_2d(y[parts[0]].T)
        statistics = [[*mean_and_std(values), float(values.min())] for values in numbers_of_each]
        if targets.classes and not targets.tags:
            statistics = [np.bincount(y[parts[0]]).astype(float).tolist()]
        known_features = features.numeric, features.categorical
        learned = Learned(options, table.sha256(), shares, *known_features, targets.classes, statistics, forms)
    if shares[2] and targets.classes:
        _name_untested(targets, y[parts[2]], path)
    x, targets_of_rows = learned.features.encode(frame, table.place), targets.tensor(y)
    del frame  # a large table would otherwise be in memory three times
    return learned, [TableRows(table, rows[part], x[rows[part]], targets_of_rows[part]) for part in parts]


def read_training_table(table: Table, options: Options) -> tuple[pd.DataFrame, Forms, list[ColumnError]]:
    """Features in the order of the file, then targets; as float64 where all cells are numbers or dates and may be.

    Returns:
        Also how they are written, and which columns can't be used.

    Raises:
        UsageError: An option names a column that is not there, or twice, or no column is left.
        DataError: A text stands among the numbers of a target.
    """
    for option in (*LISTS, "group"):
        named = options[option]
        for column in named:
            if column not in table.columns:
                hint = nearest(column, table.columns) or f", but {', '.join(table.columns[:100])}: name one of its own"
                raise UsageError(f"--data.{option}: {table.path} has no column {column}{hint}")
            if named.count(column) > 1 or (option != "target" and column in options["target"]):
                raise UsageError(f"--data.{option} {column}: that is the target, or named twice: take it out")
            if option == "group" and (twice := [other for other in LISTS if column in options[other]]):
                raise UsageError(f"--data.{twice[0]} {column}: that is the column of --data.group: take it out")
    with_names = [c for c in table.columns if not c.startswith("Unnamed: ")]  # which pandas calls an index
    chosen = set(options["features"] or with_names).difference(options["target"], options["ignore"], options["group"])
    if not chosen:
        what = f"no column of {table.path} is left to predict {', '.join(options['target'])} from"
        raise UsageError(f"--data.features: {what}: name one")
    unusable = [error for error in table.unusable if error.name in chosen]
    chosen -= {error.name for error in unusable}
    columns = [*(c for c in table.columns if c in chosen), *options["target"]]
    texts = (
        [*options["categorical"], *options["target"]] if options["task"] == "classification" else options["categorical"]
    )
    frame = table.read(columns, texts)
    forms: Forms = {}
    for name in (name for name in columns if name not in texts):
        is_target, column = name in options["target"], frame[name]
        seem, many = seem_numbers(column), too_many(column.nunique(), len(column))
        # a target of a few texts is classes, also if they are dates or have units
        if (not is_target or seem or many) and (form := find_form(column)):
            forms[name] = [name, *form]
            is_date = form[0] not in DIGITS
            if is_date:
                forms |= {f"{name} {p}": [name, form[0], p] for p in PARTS if f"{name} {p}" not in table.columns}
        elif many and not is_target and (form := find_form(column, most=True)) and form != (".", ""):
            try:
                expand(frame[[name]], {name: [name, *form]}, table.place)
            except ColumnError as error:
                unusable.append(error)
        elif seem:
            option = "task classification" if is_target else f"categorical {pasted([*options['categorical'], name])}"
            remedy = f", or take the column for texts with --data.{option}"
            try:
                frame[name] = numbers(column, table.place, remedy=remedy)
            except ColumnError as error:
                if is_target:
                    raise
                unusable.append(error)
    usable = [name for name in columns if name not in (error.name for error in unusable)]
    return expand(frame[usable], forms, table.place), forms, unusable


def usable_rows(table: Table, frame: pd.DataFrame, target: list[str], numeric: Iterable[str]) -> NDArray[np.int64]:
    """Rows to train or test with: those that have each target and no gap in the columns ``numeric``."""
    known = frame[target].notna().to_numpy(dtype=bool).all(axis=1)
    gap = known & frame[[*numeric]].isna().to_numpy(dtype=bool).any(axis=1)
    for what, left_out in ((f"no {' or '.join(target)}", ~known), ("a gap", gap)):
        if left_out.any():
            say(f"{table.path}: rows left out as they have {what}: {left_out.sum()} of {len(frame)}")
    return np.flatnonzero(known & ~gap)


def _number_groups(table: Table, name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group (N,) of each row, numbered from 0.

    Raises:
        DataError: A row has none.
    """
    numbers, _ = pd.factorize(table.texts(name)[rows], sort=True)
    if (gaps := rows[numbers < 0]).size:
        what = f"{table.place(int(gaps[0]))}: no {name}, as in {len(gaps)} of {len(rows)} rows"
        raise DataError(f"{what}: give each of them its group, or a value of its own, or leave it out")
    return numbers


def _name_untested(targets: Targets, y: NDArray[Any], path: str) -> None:
    """Say which classes or tags none of the test rows has, whose targets are ``y``."""
    tested = set((y.nonzero()[1] if targets.tags else y).tolist())
    untested = [name for label, name in enumerate(targets.classes) if label not in tested]
    if untested:
        what = f"{len(untested)} of {len(targets.classes)} {'tags' if targets.tags else 'classes'}"
        say(f"{path}: {what} are trained on but never tested, as no test row has them, e.g. {untested[0]}")
