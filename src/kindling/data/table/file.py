"""One file of rows under named columns: its cells as numbers or as texts, and where in the file a row stands."""

import csv
import gzip
import hashlib
import io
import re
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kindling.data.base import LARGEST
from kindling.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
HEAD = 10_000  # rows that tell which columns can be read as numbers at once; the others are read as texts first
LONGEST_LINE = 2**24  # characters; a file without line ends would otherwise fill the memory
# what people write beside the digits of a number, e.g. in 1,5 and 12'000 and 1.200,50 € and -5 %
BESIDE_DIGITS = re.compile(
    r"(?<=\d)[,'\u2019\u00a0\u202f](?=\d)|(?<=\d)[. ](?=\d{3}(?:\D|$))|\s*(?:[$€£¥₹%‰]|\b(?:USD|EUR|GBP|CHF)\b)\s*"
)
TRUTHS = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}  # how pandas reads the former
Kind = str | None  # of a column: "number", "text", or None where its cells decide
Place = Callable[[Any], str]  # names a row by its label in a frame's index, e.g. "houses.csv, line 7"


class NotANumberError(DataError):
    """A text among numbers."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class Table(ABC):
    """A file whose shape was checked: a cell for every row and column, and no two columns of one name."""

    columns: list[str]  # one without a name is called by its place as in pandas, "Unnamed: 0"
    num_rows: int

    def __init__(self, path: Path) -> None:
        self.path = path

    def _check_shape(self) -> None:
        name, count = Counter(name.strip() for name in self.columns).most_common(1)[0]
        if count > 1:
            raise DataError(f"{self.path} has several columns called {name}: give each its own name")
        if not self.num_rows:
            raise DataError(f"{self.path} has column names but no rows: add some")

    @abstractmethod
    def read(self, kinds: Mapping[str, Kind]) -> pd.DataFrame:
        """The columns named by ``kinds``, in its order: numbers as float64 with NaN for gaps, texts as categories.

        Raises:
            NotANumberError: A column of kind "number", or one that begins like one, holds a text.
        """

    @abstractmethod
    def cells(self, rows: Iterable[int]) -> dict[str, list[object]]:
        """All columns of some rows, counted from 0, in the order asked for, exactly as the file has them."""

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row stands, for a message."""

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _typed(self, frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> pd.DataFrame:
        if len(frame) != self.num_rows:
            raise DataError(f"{self.path}: only {len(frame)} of {self.num_rows} rows can be read: save the table anew")
        for name, kind in kinds.items():
            if kind == "number" or (kind is None and _holds_numbers(frame[name])):
                frame[name] = numbers(frame[name], name, self.place)
        return frame[list(kinds)]


class TextTable(Table):
    """Cells parted by commas, semicolons or tabs; UTF-8, with or without the mark that Excel puts first."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.compression = "gzip" if path.suffix.lower() == ".gz" else None
        with self._text() as file:
            first = next((line for line in self._lines(file) if not line.isspace()), "")
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

    def read(self, kinds: Mapping[str, Kind]) -> pd.DataFrame:
        head = self._pandas(usecols=list(kinds), dtype=str, nrows=HEAD)
        sure = [c for c, kind in kinds.items() if kind != "text" and head[c].notna().any() and _holds_numbers(head[c])]
        dtype = {name: "float64" if name in sure else "category" for name in kinds}
        try:
            frame = self._pandas(usecols=list(kinds), dtype=dtype)
        except ValueError as error:  # a text further down, and pandas doesn't say where
            with self._pandas(usecols=sure, dtype=str, chunksize=HEAD) as parts:
                for part in parts:
                    for name in sure:
                        numbers(part[name], name, self.place)
            raise DataError(f"{self.path} can't be read as a table: {' '.join(str(error).split())}") from error
        return self._typed(frame, kinds)

    def cells(self, rows: Iterable[int]) -> dict[str, list[object]]:
        rows = list(rows)
        wanted = set(rows)
        found = {row: cells for row, (_, cells) in enumerate(self._records(), start=-1) if row in wanted}
        chosen = [found[row] for row in rows]
        return {name: [cells[n] for cells in chosen] for n, name in enumerate(self.columns)}

    def place(self, row: int) -> str:
        return f"{self.path}, line {next(line for n, (line, _) in enumerate(self._records(), start=-1) if n == row)}"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Cells, the header's first, and the line on which they begin; without blank lines, as pandas has it."""
        with self._text() as file:
            reader = csv.reader(self._lines(file), delimiter=self.separator, strict=True)
            line = 1
            try:
                for cells in reader:
                    if cells and not (len(cells) == 1 and cells[0].isspace()):
                        yield line, cells
                    line = reader.line_num + 1
            except csv.Error as error:
                limit = f"a cell of more than {csv.field_size_limit():,} characters"
                why = limit if "field larger" in str(error) else str(error)
                raise DataError(f"{self.path}, line {line}: {why}: see whether its quotes come in pairs") from error

    def _lines(self, file: io.TextIOWrapper) -> Iterator[str]:
        number = 1
        while line := file.readline(LONGEST_LINE + 1):
            if "\0" in line:
                raise DataError(f"{self.path}, line {number}: a NUL, which no text has: save the table as UTF-8")
            if len(line) > LONGEST_LINE:
                long = f"more than {LONGEST_LINE:,} characters"
                raise DataError(f"{self.path}, line {number}: {long}: see whether the file is a table")
            yield line
            number += 1

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        try:
            with self._bytes() as file:
                yield io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}, line {self._undecodable()}: not UTF-8: save the table as UTF-8") from error
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(self.path, error) from error

    def _bytes(self) -> BinaryIO | gzip.GzipFile:
        return gzip.open(self.path) if self.compression else self.path.open("rb")

    def _undecodable(self) -> int:
        with self._bytes() as file:
            return next(n for n, line in enumerate(file, start=1) if "\ufffd" in line.decode(errors="replace"))

    def _pandas(self, **options: Any) -> Any:
        form: dict[str, Any] = {"sep": self.separator, "encoding": "utf-8-sig", "compression": self.compression}
        try:
            return pd.read_csv(self.path, header=0, names=self.columns, index_col=False, **form, **options)
        except pd.errors.ParserError as error:
            raise DataError(f"{self.path} can't be read as a table: {' '.join(str(error).split())}") from error


class ParquetTable(Table):
    """Apache Parquet, whose cells have types."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import pyarrow as pa  # type: ignore[import-untyped]
            import pyarrow.parquet as pq  # type: ignore[import-untyped]
        except ImportError as error:
            raise DataError(f"{path}: a Parquet file needs pyarrow: pip install -e '.[parquet]'") from error
        try:
            with pq.ParquetFile(path) as file:
                schema, self.num_rows = file.schema_arrow, file.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error
        self.columns = list(schema.names)
        self.nested = {field.name for field in schema if pa.types.is_nested(field.type)}
        self._check_shape()

    def read(self, kinds: Mapping[str, Kind]) -> pd.DataFrame:
        name = next((name for name in kinds if name in self.nested), None)
        if name is not None:
            raise DataError(
                f"{self.path}: column {name} holds lists or the like: leave it out with --data.ignore {name}"
            )
        frame = self._arrow(list(kinds)).to_pandas(strings_to_categorical=True, self_destruct=True)
        return self._typed(frame, kinds)

    def cells(self, rows: Iterable[int]) -> dict[str, list[object]]:
        found: dict[str, list[object]] = self._arrow(self.columns).take(list(rows)).to_pydict()
        return found

    def place(self, row: int) -> str:
        return f"{self.path}, row {row + 1}"

    def _arrow(self, columns: list[str]) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.read_table(self.path, columns=columns, partitioning=None).replace_schema_metadata()
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(self.path, error) from error


def open_table(path: Path, option: str) -> Table:
    """Check the shape of the file that ``option`` names.

    Raises:
        DataError: It is not there, can't be read, is empty, has uneven rows, or two columns of one name.
    """
    try:
        if not path.is_file():
            what = "does not exist: name a file that does"
            if path.exists():
                what = "is a folder: name a file in it" if path.is_dir() else "is a pipe or a device: name a file"
            raise DataError(f"{option} {path} {what}")
    except OSError as error:
        raise DataError(f"{option} {path} can't be read ({error.strerror}): name a file that can") from error
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"{option} {path}: save the table as one of {', '.join(SUFFIXES)}")
    return ParquetTable(path) if path.suffix.lower() == ".parquet" else TextTable(path)


def numbers(column: pd.Series, name: str, place: Place, largest: float = LARGEST) -> NDArray[np.float64]:
    """Cells of any type as numbers, NaN where there is none.

    Raises:
        NotANumberError: A cell is a text.
        DataError: A number is beyond ``largest``, or infinite.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        places, distinct = pd.factorize(column)
        parsed = _parsed(distinct)
        texts = np.append(np.isnan(parsed), False)[places]
        if texts.any():
            row = int(texts.argmax())
            text = str(column.iloc[row])
            remedy = "mend that cell"
            if not np.isnan(_parsed([BESIDE_DIGITS.sub("", text)])).any():
                remedy = "write numbers with a point, nothing between thousands, and no currency or % beside them"
            raise NotANumberError(
                f"{place(column.index[row])}: {text!r} in column {name} is not a number: {remedy}", name
            )
        values = np.append(parsed, np.nan)[places]
    beyond = np.abs(values) > largest
    if beyond.any():
        row = int(beyond.argmax())
        what = f"{values[row]:g} in column {name} is too large, beyond {largest:.1e}"
        raise DataError(f"{place(column.index[row])}: {what}: leave that cell empty")
    return values


def categories(column: pd.Series) -> list[str]:
    """Different cells of any type as sorted texts, by size where all are numbers; 1, 1.0 and "01" are the text "1"."""
    texts = sorted(set(_as_texts(pd.factorize(column)[1])))
    values = _parsed(texts)
    return texts if np.isnan(values).any() else [texts[n] for n in np.argsort(values, kind="stable")]


def codes(column: pd.Series, known: Sequence[str]) -> NDArray[np.int64]:
    """Cells as places among known categories, of which there are K: K where there is none, -1 for any other."""
    code_of = {category: code for code, category in enumerate(known)}
    places, distinct = pd.factorize(column)  # -1 where there is none, which is the last of the following
    return np.array([code_of.get(text, -1) for text in _as_texts(distinct)] + [len(known)])[places]


def mostly_numbers(column: pd.Series) -> bool:
    """Whether most of the different cells of any type are numbers, or would be but for commas and units; not all."""
    distinct = [BESIDE_DIGITS.sub("", str(value)) for value in pd.factorize(column)[1]]
    return not _holds_numbers(column) and bool(np.isnan(_parsed(distinct)).mean() < 0.5)


def _as_texts(distinct: Iterable[object]) -> list[str]:
    """One text for what pandas writes and reads in several ways: whole numbers, and truth values."""
    return [
        str(int(n)) if n.is_integer() and abs(n) < 2**53 else TRUTHS.get(str(value), str(value))
        for value, n in zip(distinct, _parsed(distinct).tolist(), strict=True)
    ]


def _parsed(values: Iterable[object]) -> NDArray[np.float64]:
    """NaN for what isn't a number; a truth value isn't."""
    texts = pd.Series([str(v) for v in values], dtype=object)
    return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)


def _holds_numbers(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return not pd.api.types.is_bool_dtype(column)
    return not np.isnan(_parsed(pd.factorize(column)[1])).any()


def _unreadable(path: Path, error: Exception) -> DataError:
    why = " ".join(str(getattr(error, "strerror", None) or error).split())
    remedy = "make it readable" if isinstance(error, PermissionError) else "save the table anew"
    return DataError(f"{path} can't be read ({why}): {remedy}")
