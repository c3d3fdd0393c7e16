"""The pixels of image files of any kind and size."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kindling.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
KINDS = "PNG, JPEG, WebP, BMP or TIFF"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # whatever a file is called


@dataclass(frozen=True)
class ImageForm:
    """What is made of an image file of any kind and size.

    Args:
        mode: L for grey, or RGB.
        size: Height and width in pixels.
        ground: Colour behind what is transparent, and beside what is padded.
        fit: What is resized: the largest square in the middle, or the whole image, which is padded to a square.
    """

    mode: Literal["L", "RGB"]
    size: int
    ground: str
    fit: Literal["middle square", "pad"]

    def read(self, source: str | Path | BinaryIO, name: str = "", most: int | None = None) -> NDArray[np.uint8]:
        """Pixels (C, size, size), turned as a camera has noted it.

        Args:
            source: A file's path or content.
            name: What a message calls it, where it is the content.
            most: Pixels that it may have, where it is no JPEG; None: as many as Pillow takes.

        Raises:
            DataError: It can't be read.
        """
        opened = str(source) if isinstance(source, Path) else source
        try:
            with Image.open(opened, formats=FORMATS) as file:
                if self.fit == "middle square":  # a JPEG is decoded at 1/2, 1/4 or 1/8: a fraction of the time
                    file.draft("L" if self.mode == "L" else None, (self.size, self.size))
                limit = Image.MAX_IMAGE_PIXELS or 0  # of which Pillow only warns
                limit = most if most and file.format != "JPEG" else limit
                if file.width * file.height > limit:
                    raise ValueError(f"Image size ({file.width * file.height} pixels) exceeds limit of {limit} pixels")
                ImageOps.exif_transpose(file, in_place=True)
                image: Image.Image = file
                if image.mode.startswith("I;16"):  # convert would make 255 of all above it
                    image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
                elif image.mode in ("I", "F"):
                    raise ValueError("its numbers of 32 bits have no largest one that would be white")
                if image.has_transparency_data:
                    behind = Image.new("RGBA", image.size, self.ground)
                    image = Image.alpha_composite(behind, image.convert("RGBA"))
                pixels = np.array(self._fitted(image if image.mode == self.mode else image.convert(self.mode)))
        except Exception as error:  # Pillow's decoders raise whatever they stumble over
            name = name or str(source)
            why = str(error).replace(repr(source), repr(name))
            raise DataError(
                f"{name} can't be read as an image ({why}): save it anew as PNG or JPEG, or leave it out"
            ) from error
        return np.atleast_3d(pixels).transpose(2, 0, 1)

    def _fitted(self, image: Image.Image) -> Image.Image:
        size = (self.size, self.size)
        if self.fit == "pad":
            if max(image.size) >= 2 * self.size * min(image.size):
                raise ValueError(f"of {image.width}x{image.height} pixels none is left in {self.size}x{self.size}")
            return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=self.ground)
        if image.size == size:
            return image
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        return image.resize(size, Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def is_grey(path: str | Path) -> bool | None:
    """Whether a file stores one channel of grey, as its first bytes say; None if they say nothing."""
    try:
        with Image.open(str(path), formats=FORMATS) as file:
            return file.mode in ("1", "L", "LA") or file.mode.startswith("I;16")
    except Exception:  # it will be named when its pixels are read
        return None
