"""What all kinds of inputs have: a body becomes samples, or is refused."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

MOST_ROWS = 10_000  # of one request: a million rows would fill the memory, and keep others waiting
Array = NDArray[Any]


class Refused(Exception):  # noqa: N818
    """A request that can't be answered.

    Args:
        status: Of HTTP.
        detail: One line, or one entry ``{"loc", "msg", "type"}`` for each mistake.
    """

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


def mistake(place: Iterable[str | int], message: str, kind: str = "value_error") -> Refused:
    """A refusal of one part of a request's body, in the form that FastAPI gives to its own."""
    return Refused(422, [{"loc": ["body", *place], "msg": message, "type": kind}])


def too_many(most: int, what: str) -> Refused:
    """A refusal of a request that asks about more than ``most`` samples."""
    return Refused(413, f"at most {most:,} {what} are taken at once: send them in several requests")


@dataclass
class Samples:
    """
    Args:
        x: Raw inputs of the network (N, ...).
        is_list: Whether a list of answers is expected.
        drift: How many values were ``missing``, ``unknown`` or ``outside`` what training saw, by column and kind.
    """

    x: Array
    is_list: bool
    drift: dict[tuple[str, str], int] = field(default_factory=dict)


class Inputs(ABC):
    """How a body becomes samples."""

    is_slow = False  # whether reading takes so long that other requests should not wait for it
    largest_body = 4  # MB, unless told otherwise

    @abstractmethod
    def read(self, content_type: str, body: bytes) -> Samples:
        """
        Raises:
            Refused: The body is of another form, or holds what the network was not made for.
        """

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The types of bodies that are taken; for OpenAPI, what each of them is, with an example that works."""

    @abstractmethod
    def example(self) -> Array:
        """One sample (1, ...)."""


def read_json(body: bytes) -> Any:
    """
    Raises:
        Refused: It is no JSON.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise mistake([], f"this is no JSON ({error})", "json_invalid") from error
