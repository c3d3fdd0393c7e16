"""Dates, and numbers as people write them: 31.12.2024, 2024年5月1日, 12%, $1,200, 1.234,56 and 120 000 km."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import floor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kindling.data.table.cells import NARROW, Place, are_numbers
from kindling.data.table.names import ColumnError
from kindling.facts import LARGEST

# by the name of a number that the network gets: the column it is read from, and how. A date has its format and "",
# "month" or "weekday"; a number has its decimal mark and its unit. Lists of texts, for a checkpoint.
Forms = dict[str, list[str]]

DAYS = [f"%Y{mark}%m{mark}%d" for mark in "-/."]
DAYS += [f"%{first}{mark}%{second}{mark}%{year}" for year in "Yy" for mark in "./-" for first, second in ("dm", "md")]
DAYS += [form for month in "bB" for form in (f"%d %{month} %Y", f"%d-%{month}-%Y", f"%{month} %d, %Y", f"%{month} %Y")]
DAYS += ["%Y-%m", "%Y/%m", "%Y年%m月%d日", "%Y年%m月"]
PARTS = ("month", "weekday")
TIME = re.compile(r"(.*?)(?:[T ]+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?) ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})?)?")
CURRENCY = r"[$€£¥₹]|(?:USD|EUR|GBP|CHF)(?![A-Za-z])"
UNIT = r"(?:[^\W\d_]|[℃\u3371-\u33df])[^,;:_\-]{0,11}"  # begins with a letter, or with what is one sign, as ㎡
NUMBER = re.compile(  # sign, currency, digits with their marks, unit
    rf"([-+\u2212]?)\s*({CURRENCY}|)\s*([0-9](?:[-+0-9.,'\u2019\s]*[0-9])?)\s*(%|‰|{CURRENCY}|{UNIT}|)"
)
DIGITS = {  # by the decimal mark
    mark: re.compile(
        rf"(?:[1-9][0-9]{{0,2}}(?:([{other}'\u2019\s])[0-9]{{3}})(?:\1[0-9]{{3}})*|[0-9]+)(?:[{mark}][0-9]+)?"
    )
    for mark, other in (".,", ",.")
}


def find_form(column: pd.Series, most: bool = False) -> tuple[str, str] | None:
    """How all cells but the gaps are written, or most of them; None for plain numbers, and for other texts."""
    texts = _texts(pd.factorize(column)[1])
    if not texts or are_numbers(column) or pd.api.types.is_bool_dtype(column):
        return None
    least = 0.5 if most else 1.0
    return _date_form(texts, least) or _number_form(texts, least)


def expand(frame: pd.DataFrame, forms: Mapping[str, Sequence[str]], place: Place) -> pd.DataFrame:
    """A table with each column that has a form replaced by its numbers, NaN for a gap; a date may become several.

    Raises:
        DataError: A cell is written in another form.
    """
    found: dict[str, pd.Series] = {}
    for name, (column, form, detail) in forms.items():
        if form in DIGITS and pd.api.types.is_numeric_dtype(frame[column]):  # given as such from Python
            continue
        places, distinct = pd.factorize(frame[column])  # -1 for a gap, which is the last of the following
        texts = _texts(distinct)
        numbers = _numbers(texts, form, detail) if form in DIGITS else _dates(texts, form, detail)
        values = np.append(numbers, np.nan)[places]
        unread = np.isnan(values) & (places >= 0)
        if unread.any():
            row = int(unread.argmax())
            text, where = str(frame[column].iloc[row]), place(frame.index[row])
            like = f"is not written like {shown(form, detail)}"
            message = f"{where}: {text!r} in column {column} {like}, as the others are: write it so, or empty that cell"
            why = f"has {text!r} in {where.rpartition(', ')[2]}, which {like}"
            raise ColumnError(message, column, why, ", or leave the column out")
        found[name] = pd.Series(values, frame.index, name=name)
    return frame.assign(**found)


def written(value: float, form: str, detail: str) -> str:
    """A cell that is read as a number, or as a date that is ``value`` days after 1970-01-01."""
    if form not in DIGITS:
        day = date(1970, 1, 1) + timedelta(days=floor(value))
        return re.sub("%.", lambda code: day.strftime(code[0]), form)  # Windows may not take 年 in a form
    sign, digits = "-" if value < 0 else "", f"{Decimal(str(abs(value))):,f}"
    if form == ",":
        digits = digits.translate(str.maketrans(",.", ".,"))
    return f"{sign}{detail}{digits}" if detail in ("$", "£", "¥") else f"{sign}{digits} {detail}".strip()


def shown(form: str, detail: str) -> str:
    """How a message names a form, e.g. ``DD.MM.YYYY`` and ``1.234,5 km``."""
    if form in DIGITS:
        return written(1234.5, form, detail)
    names = {"%Y": "YYYY", "%y": "YY", "%m": "MM", "%d": "DD", "%b": "Jan", "%B": "January"}
    return re.sub("%.", lambda code: names[code[0]], form)


def _texts(distinct: Iterable[object]) -> list[str]:
    return [str(value).strip() for value in distinct]


def _number(text: str) -> re.Match[str] | None:
    """Its parts; as it stands first, since a unit may be in wide letters, or have wide marks in it."""
    return NUMBER.fullmatch(text) or NUMBER.fullmatch(text.translate(NARROW))


def _number_form(texts: list[str], least: float) -> tuple[str, str] | None:
    by_unit: dict[str | None, list[str]] = defaultdict(list)
    for text in texts:
        match = _number(text)
        by_unit[(match[2] + match[4]).strip() if match else None].append(match[3] if match else "")
    unit, digits = max(by_unit.items(), key=lambda item: len(item[1]))
    if unit is None or len(digits) < least * len(texts):
        return None
    fitting = [mark for mark, pattern in DIGITS.items() if all(map(pattern.fullmatch, digits))]
    if len(fitting) < 2:
        return (fitting[0], unit) if fitting else None
    with_point, with_comma = (any(mark in text for text in digits) for mark in ".,")
    if with_point and with_comma:
        return None  # 1.234 beside 1,234
    # each mark has three digits behind it, so it parts thousands: where that is wrong, a cell like 0.5 will be refused
    return ("," if with_point and unit not in ("", "%", "‰") else ".", unit)


def _numbers(texts: list[str], mark: str, unit: str) -> NDArray[np.float64]:
    """NaN for a text in another form."""
    values = np.full(len(texts), np.nan)
    for n, text in enumerate(texts):
        match = _number(text)
        if match and (match[2] + match[4]).strip() == unit and DIGITS[mark].fullmatch(match[3]):
            value = float(re.sub(rf"[^0-9{mark}]", "", match[3]).replace(mark, "."))
            value = value if value <= LARGEST else np.nan
            values[n] = -value if match[1] in ("-", "\u2212") else value
    return values


def _date_form(texts: list[str], least: float) -> tuple[str, str] | None:
    fitting = DAYS
    for some in (texts[:20], texts):
        fitting = [form for form in fitting if np.isfinite(_dates(some, form, "")).mean() >= least]
    if not fitting:
        return None
    # where 01/02 may be January or February, that which has the fewer different days of a month
    return min(fitting, key=lambda form: len(np.unique(_dates(texts, form, "day")))), ""


def _dates(texts: list[str], form: str, part: str) -> NDArray[np.float64]:
    """Days since 1970, or the part of the date that is asked for; NaN for a text in another form."""
    narrow = [text.translate(NARROW) for text in texts]
    split = [match.groups() if (match := TIME.fullmatch(text)) else ("", None) for text in narrow]
    days = pd.Series(pd.to_datetime([day for day, _ in split], format=form, errors="coerce"))
    if part:
        return getattr(days.dt, "day_of_week" if part == "weekday" else part).to_numpy(
            dtype=np.float64, na_value=np.nan
        )
    whole = days.to_numpy().astype("datetime64[D]")  # also years that nanoseconds can't hold
    since = np.where(np.isnat(whole), np.nan, whole.astype(np.int64))
    return since + np.array([_of_a_day(time) if time else 0.0 for _, time in split])


def _of_a_day(time: str) -> float:
    """NaN for no time of day."""
    hours, minutes, seconds = (*map(float, time.split(":")), 0.0)[:3]
    return (hours + minutes / 60 + seconds / 3600) / 24 if hours < 24 and minutes < 60 and seconds < 60 else np.nan
