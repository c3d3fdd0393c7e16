"""Reading the file of a table: .csv, .tsv, each also .gz, and .parquet."""

import csv
import gzip
import hashlib
import re
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kindling.data.table.cells import are_numbers, cell_texts
from kindling.data.table.names import ColumnError
from kindling.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
HEAD = 10_000  # rows that tell which columns pandas can read as numbers at once, which takes less memory
NOT_TEXT = re.compile("[\0\udc80-\udcff]")  # NUL, and what Python's "surrogateescape" makes of bytes that aren't UTF-8


class Table(ABC):
    """A file with a cell for every row and column, and no two columns of one name."""

    columns: list[str]  # one without a name is called by its place as in pandas, "Unnamed: 0"
    num_rows: int

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unusable: list[ColumnError] = []  # columns whose cells are neither numbers nor texts
        self._texts: dict[str, NDArray[np.object_]] = {}

    @abstractmethod
    def read(self, columns: Sequence[str], texts: Collection[str] = ()) -> pd.DataFrame:
        """All rows of some columns, of numbers or categories; ``texts`` names those whose cells stay as written."""

    @abstractmethod
    def cells(self, rows: Sequence[int]) -> dict[str, list[object]]:
        """All columns of some rows, counted from 0, in the order asked for, exactly as the file has them."""

    def texts(self, column: str) -> NDArray[np.object_]:
        """The cells (N,) of one column as texts, None for a gap; read once."""
        if column not in self._texts:
            self._texts[column] = cell_texts(self.read([column], [column])[column])
        return self._texts[column]

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row stands, for a message."""

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _check_shape(self) -> None:
        name, count = Counter(name.strip() for name in self.columns).most_common(1)[0]
        if count > 1:
            raise DataError(f"{self.path} has several columns called {name}: give each its own name")
        if not self.num_rows:
            raise DataError(f"{self.path} has column names but no rows: add some")


class TextTable(Table):
    """Cells separated by commas, semicolons or tabs; UTF-8, with or without the mark that Excel puts first."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        first = next((line for line in self._lines() if not line.isspace()), "")
        unquoted = re.sub('"[^"]*"', "", first)
        self.separator = "\t" if path.name.lower().endswith((".tsv", ".tsv.gz")) else max(",;\t", key=unquoted.count)
        records = self._records()
        _, header = next(records, (1, []))
        if not header:
            raise DataError(f"{path} is empty: the first line of a table names its columns, the others are its rows")
        self.columns = [name or f"Unnamed: {n}" for n, name in enumerate(header)]
        self.num_rows = 0
        for line, cells in records:  # pandas fills up a short row without a word
            if len(cells) != len(header):
                raise DataError(
                    f"{path}, line {line}: the number of cells is {len(cells)}, but that of columns {len(header)}: "
                    "mend that line"
                )
            self.num_rows += 1
        self._check_shape()

    def read(self, columns: Sequence[str], texts: Collection[str] = ()) -> pd.DataFrame:
        head = self._pandas(columns, "str", nrows=HEAD)
        plain = [c for c in columns if c not in texts and head[c].notna().any() and are_numbers(head[c])]
        try:
            frame = self._pandas(columns, {c: "float64" if c in plain else "category" for c in columns})
        except ValueError:  # a text further down
            frame = self._pandas(columns, "category")
        if len(frame) != self.num_rows:
            raise DataError(f"{self.path}: only {len(frame)} of {self.num_rows} rows can be read: save the table anew")
        return frame

    def cells(self, rows: Sequence[int]) -> dict[str, list[object]]:
        wanted = set(rows)
        found = {row: cells for row, (_, cells) in enumerate(self._records(), start=-1) if row in wanted}
        return {name: [found[row][n] for row in rows] for n, name in enumerate(self.columns)}

    def place(self, row: int) -> str:
        return f"{self.path}, line {next(line for n, (line, _) in enumerate(self._records(), start=-1) if n == row)}"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Cells, the header's first, and the line on which they begin; without blank lines, as pandas has it."""
        reader = csv.reader(self._lines(), delimiter=self.separator, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells and not (len(cells) == 1 and cells[0].isspace()):
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{self.path}, line {line}: {error}: see whether its quotes come in pairs") from error

    def _lines(self) -> Iterator[str]:
        open_text: Any = gzip.open if self.path.suffix.lower() == ".gz" else Path.open
        try:
            with open_text(self.path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                for number, line in enumerate(file, start=1):
                    if NOT_TEXT.search(line):
                        how = "save the table as UTF-8, in Excel as CSV UTF-8"
                        raise DataError(f"{self.path}, line {number}: not UTF-8 text: {how}")
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(self.path, error) from error

    def _pandas(self, columns: Sequence[str], dtype: Any, nrows: int | None = None) -> pd.DataFrame:
        form: dict[str, Any] = {"sep": self.separator, "header": 0, "names": self.columns, "index_col": False}
        return pd.read_csv(self.path, usecols=list(columns), dtype=dtype, nrows=nrows, **form)


class ParquetTable(Table):
    """Apache Parquet, whose cells have types."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow as pa  # type: ignore[import-untyped]
            from pyarrow import dataset
        except ImportError as error:
            raise DataError(f"{path}: a Parquet file needs pyarrow: pip install -e '.[parquet]'") from error
        try:
            self.file = dataset.dataset(path, format="parquet")
            self.columns, self.num_rows = list(self.file.schema.names), self.file.count_rows()
            nested = [field.name for field in self.file.schema if pa.types.is_nested(field.type)]
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error
        why = "holds lists or the like"
        self.unusable = [ColumnError(f"{path}: column {name} {why}", name, why) for name in nested]
        self._check_shape()

    def read(self, columns: Sequence[str], texts: Collection[str] = ()) -> pd.DataFrame:
        if unusable := [error for error in self.unusable if error.name in columns]:
            raise unusable[0]
        found = self.file.to_table(columns=list(columns)).replace_schema_metadata()
        frame: pd.DataFrame = found.to_pandas(strings_to_categorical=True, self_destruct=True)
        return frame

    def cells(self, rows: Sequence[int]) -> dict[str, list[object]]:
        found: dict[str, list[object]] = self.file.take(list(rows)).to_pydict()
        return found

    def place(self, row: int) -> str:
        return f"{self.path}, row {row + 1}"


def open_table(path: Path, option: str) -> Table:
    """Check the shape of the file that ``option`` names.

    Raises:
        DataError: It is not there, can't be read, is empty, has uneven rows, or two columns of one name.
    """
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise DataError(f"{option} {path} {what}: name the file of a table")
    except OSError as error:
        raise _unreadable(path, error) from error
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{option} {path}: save the table as one of {', '.join(SUFFIXES)}")
    return ParquetTable(path) if path.suffix.lower() == ".parquet" else TextTable(path)


def _unreadable(path: Path, error: Exception) -> DataError:
    why = " ".join(str(getattr(error, "strerror", None) or error).split())
    return DataError(f"{path} can't be read ({why}): make it readable, or save the table anew")
