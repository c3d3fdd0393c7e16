"""Image files of any size, as uploads or base64, read as ``predict`` reads them."""

import base64
import binascii
import json
from collections.abc import Sequence
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from kindling.data.images.pixels import ImageForm
from kindling.errors import DataError
from kindling.serve.inputs import Array, Inputs, Samples, mistake, read_json, too_many

MOST_FILES = 64  # of one request
MOST_PIXELS = 25_000_000  # of an image that is no JPEG, which takes 12 bytes for each while it is read
_SMALLEST = (  # a PNG of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


class Images(Inputs):
    """Image files.

    Args:
        form: How they are read.
    """

    is_slow = True
    largest_body = 32

    def __init__(self, form: ImageForm) -> None:
        self.form = form

    def read(self, content_type: str, body: bytes) -> Samples:
        if content_type.startswith("image/"):
            return self.read_files([("the image", BytesIO(body))], is_list=False)
        if body.count(b",") > 2 * MOST_FILES:  # base64 has none, so that reading anything else can't fill the memory
            raise too_many(MOST_FILES, "images")
        given = read_json(body)
        rows = given if isinstance(given, list) else [given]
        if len(rows) > MOST_FILES:
            raise too_many(MOST_FILES, "images")
        files: list[tuple[str, BinaryIO]] = []
        for n, row in enumerate(rows):
            place: list[str | int] = [n] if isinstance(given, list) else []
            if not isinstance(row, dict) or row.keys() != {"image"} or not isinstance(row["image"], str):
                raise mistake(place, 'send an image as {"image": "BASE64"}, or a list of such')
            try:
                content = base64.b64decode(row["image"].partition("base64,")[2] or row["image"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise mistake([*place, "image"], f"this is no base64 ({error})") from error
            files.append((f"image {n}" if place else "the image", BytesIO(content)))
        return self.read_files(files, is_list=isinstance(given, list))

    def read_files(self, files: Sequence[tuple[str, BinaryIO]], is_list: bool) -> Samples:
        """
        Args:
            files: Each with the name that a message calls it by.
        """
        if not files:
            raise mistake([], "there is no image: send at least one")
        read = []
        for n, (name, file) in enumerate(files):
            try:
                read.append(self.form.read(file, name, MOST_PIXELS))
            except DataError as error:
                raise mistake([n] if is_list else [], str(error)) from error
        return Samples(np.stack(read), is_list)

    def content(self) -> dict[str, Any]:
        image: dict[str, Any] = {
            "type": "object",
            "title": "Image",
            "properties": {"image": {"type": "string", "format": "byte"}},
        }
        image |= {"required": ["image"], "additionalProperties": False}
        images = {"type": "array", "items": image, "minItems": 1}
        files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
        upload = {"type": "object", "properties": {"images": files}, "required": ["images"]}
        return {
            "multipart/form-data": {"schema": upload},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {"anyOf": [image, images]}, "example": {"image": _SMALLEST}},
        }

    def example(self) -> Array:
        return self.read("application/json", json.dumps({"image": _SMALLEST}).encode()).x
