"""The cells of one column as numbers, categories or codes, whatever type pandas gave them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kindling.data.table.names import CellError, ColumnError
from kindling.facts import LARGEST

# what people write beside the digits of a number, e.g. in 1,5 and 12'000 and 1.200,50 € and -5 %
BESIDE_DIGITS = re.compile(
    r"(?<=\d)[,'\u2019\u00a0\u202f](?=\d)|(?<=\d)[. ](?=\d{3}(?:\D|$))|\s*(?:[$€£¥₹%‰]|\b(?:USD|EUR|GBP|CHF)\b)\s*"
)
# digits and signs that are as wide as a Chinese letter, as Chinese keyboards write them; categories keep theirs
NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0xFFE1: "£", 0xFFE5: "¥"}
TRUTHS = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}  # pandas reads True as a truth value
Place = Callable[[Any], str]  # names a row by its label in a frame's index, e.g. "houses.csv, line 7"


def are_numbers(column: pd.Series) -> bool:
    """Whether all cells but the gaps are numbers; truth values are not."""
    if pd.api.types.is_numeric_dtype(column):
        return not pd.api.types.is_bool_dtype(column)
    return not np.isnan(_parsed(pd.factorize(column)[1])).any()


def seem_numbers(column: pd.Series) -> bool:
    """Whether all cells are numbers, or most of the different ones are, at least without commas and units."""
    distinct = [BESIDE_DIGITS.sub("", str(value).translate(NARROW)) for value in pd.factorize(column)[1]]
    return are_numbers(column) or bool(np.isnan(_parsed(distinct)).mean() < 0.5)


def numbers(column: pd.Series, place: Place, largest: float = LARGEST, remedy: str = "") -> NDArray[np.float64]:
    """Numbers (N,), NaN for a gap; ``remedy`` ends the message about a text.

    Raises:
        DataError: A cell is a text, infinite, or beyond ``largest``.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        places, distinct = pd.factorize(column)  # -1 for a gap, which is the last of the following
        values = np.append(_parsed(str(value).translate(NARROW) for value in distinct), np.nan)[places]
        texts = np.isnan(values) & (places >= 0)
        if texts.any():
            row = int(texts.argmax())
            what = f"{str(column.iloc[row])!r} in column {column.name} is not a number"
            how = f"write it like 1234.5, without commas, currency or %{remedy}"
            where, name = place(column.index[row]), str(column.name)
            why = f"has {str(column.iloc[row])!r} in {where.rpartition(', ')[2]}, which is not a number"
            raise ColumnError(f"{where}: {what}: {how}", name, why, ", or leave the column out")
    beyond = np.abs(values) > largest
    if beyond.any():
        row = int(beyond.argmax())
        what = f"{values[row]:g} in column {column.name} is too large, beyond {largest:.1e}"
        raise CellError(f"{place(column.index[row])}: {what}: leave that cell empty", str(column.name))
    return values


def categories(column: pd.Series) -> list[str]:
    """Different cells as sorted texts, by size where all are numbers; 1, 1.0 and "01" are the text "1"."""
    texts = sorted(set(_as_texts(pd.factorize(column)[1])))
    values = _parsed(texts)
    return texts if np.isnan(values).any() else [texts[n] for n in np.argsort(values, kind="stable")]


def cell_texts(column: pd.Series) -> NDArray[np.object_]:
    """The text (N,) of each cell, as ``categories`` has it, but without spaces around it; None for a gap."""
    places, distinct = pd.factorize(column)  # -1 for a gap, which is the last of the following
    found = [text.strip().removesuffix(" 00:00:00") for text in _as_texts(distinct)]  # as pandas writes a day
    return np.array([*found, None], dtype=object)[places]


def codes(column: pd.Series, code_of: Mapping[str, int], gap: int = -1) -> NDArray[np.int64]:
    """The code (N,) of each cell's text, -1 for an unknown one."""
    places, distinct = pd.factorize(column)  # -1 for a gap, which is the last of the following
    return np.array([*(code_of.get(text, -1) for text in _as_texts(distinct)), gap])[places]


def encode(
    frame: pd.DataFrame, largest: Mapping[str, float], categorical: Mapping[str, Sequence[str]], place: Place
) -> NDArray[np.float32]:
    """Rows as ``TabularCSV.encode`` says, (N, C).

    Args:
        frame: Has each of the columns.
        largest: For each column of numbers the largest size that one may have.
        categorical: For each other column its categories, in the order of their codes.
        place: Names a row of the frame, for a message.

    Raises:
        DataError: A number is none, or beyond ``largest``.
    """
    x = np.empty((len(frame), len(largest) + len(categorical)), dtype=np.float32)
    for n, (column, limit) in enumerate(largest.items()):
        x[:, n] = numbers(frame[column], place, limit)
    for n, (column, known) in enumerate(categorical.items(), start=len(largest)):
        x[:, n] = codes(frame[column], {text: code for code, text in enumerate(known)}, gap=len(known))
    return x


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
