"""Rows of a table, as JSON or as a CSV file, read as ``predict`` reads them."""

import csv
import json
import tempfile
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, FailFast, StrictBool, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict  # of which pydantic knows more than of Python 3.11's

from kindling.data.table.cells import Place, encode
from kindling.data.table.file import open_table
from kindling.data.table.forms import expand
from kindling.data.table.names import CellError, check_columns
from kindling.errors import DataError
from kindling.serve.inputs import MOST_ROWS, Array, Inputs, Refused, Samples, mistake, too_many

Row = dict[str, Any]


class Rows(Inputs):
    """Rows of a table.

    Args:
        columns: For each number that the network takes how it is read, as ``preprocessing.json`` says.
        fields: For each column that the user gives its type and examples, likewise.
    """

    def __init__(self, columns: list[dict[str, Any]], fields: list[dict[str, Any]]) -> None:
        self.columns, self.fields = columns, fields
        self.names = [one["name"] for one in fields]
        self._number = {one["column"]: n for n, one in enumerate(columns)}
        self._numeric = {one["column"]: one["largest"] for one in columns if "texts" not in one}
        self._categorical = {one["column"]: list(one["texts"]) for one in columns if "texts" in one}
        self._forms = {
            one["column"]: [one["read_from"], one["form"], one["detail"]] for one in columns if "form" in one
        }
        self._plain = not self._categorical and not self._forms  # whether all are numbers as they are
        self._largest = np.array([self._numeric.get(one["column"], np.inf) for one in columns])
        self._low = np.array([one.get("low", -np.inf) for one in columns], dtype=np.float32)
        self._high = np.array([one.get("high", np.inf) for one in columns], dtype=np.float32)
        self._is_category = np.array(["texts" in one for one in columns], dtype=bool)
        self._gap_code = np.array([one["gap"] if "texts" in one else 0 for one in columns], dtype=np.float32)
        row = TypedDict("Row", {one["name"]: _type(one) for one in fields})  # type: ignore[misc]
        # other columns are looked for later, as pydantic would keep an error, of 3 kB, for each of a million
        row.__pydantic_config__ = ConfigDict(extra="allow", allow_inf_nan=False)  # type: ignore[attr-defined]
        self._one: TypeAdapter[Any] = TypeAdapter(row)
        self._several: TypeAdapter[Any] = TypeAdapter(Annotated[list[row], FailFast()])

    def read(self, content_type: str, body: bytes) -> Samples:
        if content_type == "text/csv":
            return self._read_table(body)
        is_list = body.lstrip()[:1] == b"["
        if body.count(b"{") > MOST_ROWS:
            raise too_many(MOST_ROWS, "rows")
        try:
            rows: list[Row] = self._several.validate_json(body) if is_list else [self._one.validate_json(body)]
        except ValidationError as error:
            raise Refused(422, self._mistakes(body)) from error
        if not rows:
            raise mistake([], "the list is empty: send at least one row")
        if any(len(row) > len(self.names) for row in rows):
            raise Refused(422, self._mistakes(body))
        x = self._encode(rows)
        return self._samples(x if x is not None else self._parse(rows, is_list), is_list)

    def _encode(self, rows: list[Row]) -> Array | None:
        """(N, C), where all are plain numbers or gaps; None where some have to be parsed."""
        if not self._plain:
            return None
        cells = [[np.nan if row[name] is None else row[name] for name in self._number] for row in rows]
        if any(isinstance(cell, str) for row in cells for cell in row):
            return None
        x = np.array(cells, dtype=np.float64)
        return None if (np.abs(x) > self._largest).any() else x.astype(np.float32)

    def _parse(self, rows: list[Row], is_list: bool) -> Array:
        """(N, C), by the code that reads a table for ``predict``."""
        frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in self.names})
        places: list[int] = []

        def place(row: Any) -> str:
            places.append(int(row))
            return f"row {row}"

        try:
            return self._encode_frame(frame, place)
        except DataError as error:
            of = places[-1:] if is_list else []
            name = [error.name] if isinstance(error, CellError) else []
            message = str(error).removeprefix(f"row {places[-1]}: ") if places else str(error)
            raise mistake([*of, *name], message) from error

    def _encode_frame(self, frame: pd.DataFrame, place: Place) -> Array:
        return encode(expand(frame, self._forms, place), self._numeric, self._categorical, place)

    def _read_table(self, body: bytes) -> Samples:
        """A whole file, read as ``predict`` reads one."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "table.csv"
            file.write_bytes(body)
            try:
                table = open_table(file, "body")
                if table.num_rows > MOST_ROWS:
                    raise too_many(MOST_ROWS, "rows")
                check_columns(self.names, table.columns, "the table")
                as_written = {*self._categorical, *(form[0] for form in self._forms.values())}
                frame = table.read(self.names, as_written)
                x = self._encode_frame(frame, table.place)
            except DataError as error:
                raise mistake([], str(error).replace(str(file), "the table")) from error
        self._check_gaps(x)
        return self._samples(x, is_list=True)

    def _check_gaps(self, x: Array) -> None:
        for name in (one["name"] for one in self.fields if not one["gap"]):
            rows = np.isnan(x[:, self._number[name]])
            if rows.any():
                raise mistake([int(rows.argmax()), name], "a number is needed here, as training knew no gaps")

    def _samples(self, x: Array, is_list: bool) -> Samples:
        usual = (x >= self._low) & (x <= self._high)  # not so for a gap
        if not self._is_category.any() and usual.all():
            return Samples(x, is_list)
        outside = ~usual & ~np.isnan(x) & ~self._is_category
        missing = np.where(self._is_category, x == self._gap_code, np.isnan(x))
        unknown = (x == -1) & self._is_category
        drift: dict[tuple[str, str], int] = {}
        for kind, found in (("missing", missing), ("unknown", unknown), ("outside", outside)):
            if found.any():
                for n in np.flatnonzero(found.any(axis=0)).tolist():
                    drift[self.columns[n]["column"], kind] = int(found[:, n].sum())
        return Samples(x, is_list, drift)

    def _mistakes(self, body: bytes) -> list[dict[str, Any]]:
        """One entry for each value of a body that is refused, in our words, at most 20 of them."""
        try:
            given = from_json(body)
        except ValueError as error:
            return [{"loc": ["body"], "msg": f"this is no JSON ({error})", "type": "json_invalid"}]
        found: list[dict[str, Any]] = []
        for n, row in enumerate(given if isinstance(given, list) else [given]):
            found += self._explained(row, [n] if isinstance(given, list) else [])
            if len(found) >= 20:
                break
        return found[:20]

    def _explained(self, row: Any, place: list[str | int]) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        types = {one["name"]: one for one in self.fields}

        def explain(name: str, message: str, kind: str) -> None:
            found.setdefault(name, {"loc": ["body", *place, *([name] if name else [])], "msg": message, "type": kind})

        try:
            self._one.validate_python(row)
        except ValidationError as error:
            for one in error.errors(include_url=False, include_context=False, include_input=False):
                name = str(one["loc"][0]) if one["loc"] else ""
                if one["type"] == "missing":
                    explain(name, f"this column is missing: send {_taken(types[name])}", "missing")
                elif name in types:
                    explain(name, f"takes {_taken(types[name])}", one["type"])
                else:
                    example = json.dumps(self._row(), ensure_ascii=False)
                    explain("", f"send a row as an object, like {example}, or a list of rows", one["type"])
        others = (name for name in row if name not in types) if isinstance(row, dict) else ()
        for name in islice(others, 20):
            explain(name, f"there is no such column: there are {', '.join(self.names[:50])}", "extra_forbidden")
        return list(found.values())

    def content(self) -> dict[str, Any]:
        properties = {one["name"]: _schema(one) for one in self.fields}
        row = {
            "type": "object",
            "title": "Row",
            "properties": properties,
            "required": self.names,
            "additionalProperties": False,
        }
        rows = {"type": "array", "title": "Rows", "items": row, "minItems": 1, "maxItems": MOST_ROWS}
        csv.writer(table := StringIO(), lineterminator="\n").writerows([self.names, self._row().values()])
        return {
            "application/json": {"schema": {"anyOf": [row, rows]}, "example": self._row()},
            "text/csv": {"schema": {"type": "string"}, "example": table.getvalue()},
        }

    def _row(self) -> Row:
        return {one["name"]: one["example"] for one in self.fields}

    def example(self) -> Array:
        return self.read("application/json", json.dumps(self._row()).encode()).x


def _type(field: dict[str, Any]) -> Any:
    kinds: Any = StrictFloat | StrictStr
    if field["type"] != "number":
        kinds = StrictStr | StrictInt | StrictFloat | StrictBool
    return kinds | None if field["gap"] else kinds


def _taken(field: dict[str, Any]) -> str:
    """What a column takes, in words."""
    gap = ", or null for a gap" if field["gap"] else ""
    example = json.dumps(field["example"], ensure_ascii=False)
    if field["type"] == "number":
        return f"a finite number, such as {example}{gap}"
    if field["type"] == "category":
        return f"a text, such as {example}{gap}"
    return f"a text like {field['form']}, such as {example}{gap}"


def _schema(field: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of one column."""
    if field["type"] == "number":
        text = f"in training {field['low']:g} to {field['high']:g}" if "low" in field else "a number"
        kinds = ["number", "string"]
    elif field["type"] == "category":
        kinds, text = ["string", "number", "boolean"], "known from training: " + ", ".join(field["choices"][:50])
    else:
        kinds, text = ["string"], f"written like {field['form']}"
    kinds += ["null"] if field["gap"] else []
    text += "; null is a gap" if field["gap"] else ""
    return {"type": kinds, "description": text, "examples": [field["example"]]}
