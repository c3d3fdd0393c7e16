"""Numbers of any shape, of data that says nothing of what they mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kindling.serve.inputs import MOST_ROWS, Array, Inputs, Refused, Samples, mistake, read_json


class Arrays(Inputs):
    """Numbers of any shape, for data that says nothing of what they mean.

    Args:
        shape: Of one sample.
        dtype: As the network takes them.
    """

    def __init__(self, shape: Sequence[int], dtype: str) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    def read(self, content_type: str, body: bytes) -> Samples:
        given = read_json(body)
        rows = given if isinstance(given, list) else [given]
        if not 1 <= len(rows) <= MOST_ROWS:
            raise Refused(413 if rows else 422, f"one to {MOST_ROWS:,} samples are taken at once")
        return Samples(
            np.stack([self._array(row, [n] if isinstance(given, list) else []) for n, row in enumerate(rows)]),
            isinstance(given, list),
        )

    def _array(self, row: Any, place: list[str | int]) -> Array:
        taken = f"takes numbers of the shape {list(self.shape)}"
        if not isinstance(row, dict) or row.keys() != {"x"}:
            raise mistake(place, 'send a sample as {"x": numbers}, or a list of such')
        try:
            x = np.asarray(row["x"])
        except ValueError as error:
            raise mistake([*place, "x"], taken) from error
        if x.shape != self.shape or x.dtype.kind not in "iuf":
            raise mistake([*place, "x"], taken)
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if x.dtype.kind == "f" or (x.size and (x.min() < limits.min or x.max() > limits.max)):
                raise mistake([*place, "x"], f"{taken}, whole ones from {limits.min} to {limits.max}")
        elif not (np.abs(x) <= np.finfo(self.dtype).max).all():  # nor where it is NaN
            raise mistake([*place, "x"], f"{taken}, finite ones of {self.dtype}")
        return x.astype(self.dtype)

    def content(self) -> dict[str, Any]:
        numbers: dict[str, Any] = {"type": "number"}
        for size in reversed(self.shape):
            numbers = {"type": "array", "items": numbers, "minItems": size, "maxItems": size}
        one: dict[str, Any] = {"type": "object", "title": "Sample", "properties": {"x": numbers}, "required": ["x"]}
        one["additionalProperties"] = False
        some = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_ROWS}
        return {"application/json": {"schema": {"anyOf": [one, some]}, "example": {"x": self.example()[0].tolist()}}}

    def example(self) -> Array:
        return np.zeros((1, *self.shape), self.dtype)
