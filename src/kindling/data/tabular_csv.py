"""Tables of one's own: .csv, .tsv and .parquet files."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from kindling.console import say
from kindling.data.base import DataModule
from kindling.data.split import check_fold, check_split
from kindling.data.table import decisions
from kindling.data.table.file import open_table
from kindling.data.table.forms import expand
from kindling.data.table.learned import Learned, Options, TableRows, split_table
from kindling.data.table.names import LISTS, check_columns, names_in
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.schema import matches

Gaps = Literal["mean", "median", "drop"]
Task = Literal["auto", "classification", "regression"]


class TabularCSV(DataModule):
    """A table of one's own: numbers, categories and gaps, to predict one or several of its columns.

    Numbers are standardised, a gap among them filled; a category becomes one column of 0 and 1 for each of its values
    and one for a gap. All that is needed for this is learned from the training rows alone and kept in the checkpoint.

    Args:
        path: Table to train on, split into training, validation and test rows: .csv or .tsv (each also .gz), UTF-8,
            with a line of column names, separated by commas, semicolons or tabs; or .parquet. What pandas takes for a
            missing value is a gap: an empty cell, NA, NaN, null, None.
        target: Column to predict, or several: all numbers, or all tags (0 and 1, false and true, or no and yes), of
            which a row can have any. Rows without a value there are left out.
        features: Columns to predict from; unless given all named ones but the target.
        ignore: Columns to leave out.
        categorical: Columns of numbers that are codes and have no size, e.g. a postcode.
        gaps: What fills a gap in a column of numbers, or ``drop`` to leave such rows out, but not of those to predict.
        task: Whether the target is a class or a number. ``auto`` takes texts for classes, and whole numbers if they are
            at most 20 different ones, on average in at least 5 rows each. Several targets are tags in a
            classification; ``auto`` takes them for tags if all can be.
        split: Shares of training, validation and test rows. With ``test_path`` only the first two count.
        group: Column, e.g. ``patient``: all rows with the same value in it are in one set. It is no feature, and tables
            to test with and to predict need not have it.
        test_path: Table of test rows.
        predict_path: Table of rows to predict instead of the test rows; needs no target.
        batch_size: Rows per batch.
        seed: Of the split, independent of ``--seed_everything``.
        folds: For cross-validation: to how many folds all rows but those for test are shared out. ``fit`` trains a run
            for each of them.
        fold: Number, from 0, of the fold to validate with; the others are to train with.

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
        target: str | list[str],
        features: str | list[str] | None = None,
        ignore: str | list[str] | None = None,
        categorical: str | list[str] | None = None,
        gaps: Gaps = "mean",
        task: Task = "auto",
        split: tuple[float, float, float] = (0.7, 0.15, 0.15),
        group: str | None = None,
        test_path: str | None = None,
        predict_path: str | None = None,
        batch_size: int = 32,
        seed: int = 0,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        super().__init__(batch_size)
        for option, value, known in (("gaps", gaps, get_args(Gaps)), ("task", task, get_args(Task))):
            if value not in known:
                raise UsageError(f"--data.{option} {value}: one of {', '.join(known)}")
        check_split(split, seed)
        check_fold(folds, fold)
        if not target:
            raise UsageError("--data.target: name a column to predict")
        self.path, self.test_path, self.predict_path = path, test_path, predict_path
        columns = {"target": target, "features": features, "ignore": ignore, "categorical": categorical}
        self._options: Options = {
            option: [names] if isinstance(names, str) else names or [] for option, names in columns.items()
        }
        self._options |= {
            "group": [group] if group else [],
            "gaps": gaps,
            "task": task,
            "split": list(split),
            "seed": seed,
            "folds": folds,
            "fold": fold,
        }
        self._learned: Learned | None = None
        self._parts: list[TableRows] | None = None  # training, validation and test rows of ``path``
        self._others: dict[str, TableRows] = {}  # rows of another file, by the option that names it

    @property
    def learned(self) -> Learned:
        """From a checkpoint if one was loaded, otherwise from the training file."""
        if self._learned is None:
            self._split()
        assert self._learned is not None
        return self._learned

    @property
    def facts(self) -> Facts:
        features = self.learned.features
        return Facts(in_features=features.size, feature_names=features.names, **self.learned.targets.facts())

    @property
    def title(self) -> str:
        """What the screen calls the data."""
        return f"{Path(self.path).name} ({self.learned.targets})"

    @property
    def predict_needs(self) -> str:
        return "" if self.test_path or len(self._split()[2]) else "--data.predict_path FILE"

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return asdict(self.learned)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take columns, statistics and split from a checkpoint; without effect where they are known already.

        Raises:
            UsageError: An option contradicts the checkpoint.
            DataError: Something else was learned before.
        """
        if not matches(state_dict, Learned):
            raise DataError(f"what the checkpoint knows of {self.path} is damaged: take another checkpoint")
        learned = Learned(**state_dict)
        for name, given in self._options.items():
            trained: Any = learned.options.get(name)
            if (names_in(given, trained) if name in LISTS else given) != trained:
                what = f"--data.{name} {given}: the checkpoint was trained with {trained}"
                raise UsageError(f"{what}: leave that option out, or train anew")
        if self._learned not in (None, learned):
            raise DataError(
                f"{self.path}, as it is split here, is not what the checkpoint was trained on: give its state to "
                "load_state_dict before the data is read"
            )
        self._learned = learned

    def prepare_data(self) -> None:
        """Read what the command needs before the loggers make their files, which a mistake would leave behind."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.setup(self.trainer.state.fn)

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.predict_path is not None:
            self.predict_set = self._read("predict_path", self.predict_path)
        elif stage in ("test", "predict"):
            self.test_set = self._read("test_path", self.test_path) if self.test_path else self._split()[2]
            self.predict_set = self.test_set
            if not len(self.test_set):
                option = "predict_path" if stage == "predict" else "test_path"  # Lightning's stage is no plain text
                raise DataError(f"the split of {self.path} left no test rows: name some with --data.{option}")
        else:
            self.train_set, self.val_set, _ = self._split()
            if stage == "fit" and self.test_path:  # a mistake in it should not show after the training
                self._read("test_path", self.test_path)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Raw rows to what the sets store; other columns and their order are of no matter.

        Returns:
            (N, C) float32: numbers with NaN for gaps, then categories as codes: with K of them in the training rows
            0 to K - 1, K for a gap and -1 for any other.

        Raises:
            DataError: A column is missing, or holds a text where it held numbers.
        """
        features = self.learned.features
        check_columns(self.learned.columns, frame.columns, "the frame")
        forms = {name: self.learned.forms[name] for name in features.names if name in self.learned.forms}
        return features.encode(expand(frame, forms, "row {}".format), "row {}".format)

    def normalize(self, x: Tensor) -> Tensor:
        """Stored rows (B, C) to what the network takes (B, in_features), float32 on x's device."""
        return self.learned.features.normalize(x)

    def describe(self, dataset: Dataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        """All columns of the file, unchanged."""
        assert isinstance(dataset, TableRows)
        return dict(dataset.table.cells(dataset.rows[list(indices)].tolist()))

    def decisions(self) -> tuple[list[str], dict[str, list[object]]]:
        parts = [*self._split()[:2], self._read("test_path", self.test_path) if self.test_path else self._split()[2]]
        return decisions.on_screen(self.learned, parts), decisions.as_columns(self.learned, parts)

    def _split(self) -> list[TableRows]:
        """Training, validation and test rows of ``path``; reads it once, and learns from it if nothing is known."""
        if self._parts is None:
            table, shares = open_table(Path(self.path), "--data.path"), self._options["split"]
            if self._learned is not None:
                shares = self._learned.shares
                if self._learned.sha256 != table.sha256():
                    raise DataError(
                        f"{self.path} is not the file that the training saw, so which of its rows were for what can't "
                        "be told: name rows with --data.test_path or --data.predict_path, or train anew"
                    )
            elif self.test_path:
                shares = [shares[0] / sum(shares[:2]), shares[1] / sum(shares[:2]), 0.0]
            self._learned, self._parts = split_table(table, self._options, shares, self._learned)
        return self._parts

    def _count_known_groups(self, others: TableRows) -> None:
        """Say how many groups of another table's test rows are among the training or validation rows, too."""
        if not (groups := self.learned.groups(others)):
            return
        path, (name,) = others.table.path, self.learned.options["group"]
        try:
            known = {group for part in self._split()[:2] for group in self.learned.groups(part)}
        except DataError:
            say(f"{path}: which groups of {name} were trained on can't be told without {self.path} as it was then")
            return
        rows = sum(group in known for group in groups)
        shared = f"{len(known.intersection(groups))} of {len({*groups})} ({rows} of {len(others)} rows)"
        say(f"{path}: groups of {name} that are also among the training or validation rows: {shared}")

    def _read(self, option: str, path: str) -> TableRows:
        """Rows of another file than that for training."""
        if option not in self._others:
            table = open_table(Path(path), f"--data.{option}")
            self._others[option] = self.learned.encode(table, with_targets=option == "test_path")
            if option == "test_path":
                self._count_known_groups(self._others[option])
        return self._others[option]
