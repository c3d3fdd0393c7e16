"""The pixels of image files of any kind and size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kindling.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
KINDS = "PNG, JPEG, WebP, BMP or TIFF"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # whatever a file is called


def read_image(
    path: str | Path, mode: str, ground: str, fit: Callable[[Image.Image], Image.Image], least: int | None = None
) -> NDArray[np.uint8]:
    """Pixels (C, H, W), turned as a camera has noted it.

    Args:
        mode: L for grey, or RGB.
        ground: Colour behind what is transparent.
        fit: Makes an image of that mode the size that is wanted.
        least: Pixels of the shorter side that will do, where the file has more: a JPEG is then decoded at 1/2, 1/4 or
            1/8 of its scale, which takes a fraction of the time.

    Raises:
        DataError: The file can't be read.
    """
    try:
        with Image.open(str(path), formats=FORMATS) as file:
            if least:
                file.draft("L" if mode == "L" else None, (least, least))
            if file.width * file.height > (limit := Image.MAX_IMAGE_PIXELS or 0):  # Pillow only warns of it
                raise ValueError(f"Image size ({file.width * file.height} pixels) exceeds limit of {limit} pixels")
            ImageOps.exif_transpose(file, in_place=True)
            image: Image.Image = file
            if image.mode.startswith("I;16"):  # convert would make 255 of all above it
                image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise ValueError("its numbers of 32 bits have no largest one that would be white")
            if image.has_transparency_data:
                behind = Image.new("RGBA", image.size, ground)
                image = Image.alpha_composite(behind, image.convert("RGBA"))
            pixels = np.array(fit(image if image.mode == mode else image.convert(mode)))  # (H, W) or (H, W, C)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise DataError(
            f"{path} can't be read as an image ({error}): save it anew as PNG or JPEG, or leave it out"
        ) from error
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def middle_square(image: Image.Image, size: int) -> Image.Image:
    """The largest square in the middle, as ``size`` x ``size`` pixels."""
    if image.size == (size, size):
        return image
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def is_grey(path: str | Path) -> bool | None:
    """Whether a file stores one channel of grey, as its first bytes say; None if they say nothing."""
    try:
        with Image.open(str(path), formats=FORMATS) as file:
            return file.mode in ("1", "L", "LA") or file.mode.startswith("I;16")
    except Exception:  # it will be named when its pixels are read
        return None
