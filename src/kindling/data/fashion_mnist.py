import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import datasets
from torchvision.datasets.utils import check_integrity, download_and_extract_archive

from kindling.data import augment
from kindling.data.base import DataModule, say
from kindling.data.loading import InMemory, take
from kindling.errors import DataError, UsageError
from kindling.facts import Facts

MEAN, STD = 0.2860, 0.3530  # the 60,000 training images, pixels in [0, 1]
SIZE = 28
IMAGE_FILES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
FORMATS = "PNG, JPEG, WebP or BMP"
ANEW = "delete it, so that its archive is unpacked, or downloaded, anew"


class FashionMNIST(DataModule):
    """Zalando's 70,000 pictures of clothes, 28x28 grey, 10 classes.

    Downloaded on first use. The official 10,000 test images are the test set, whole.

    Args:
        root: Folder that holds, or will hold, ``FashionMNIST/raw/`` with the four official archives.
        batch_size: Images per batch.
        val_size: Images of the 60,000 for training that are set aside for validation.
        seed: Of the choice of the validation images, independent of ``--seed_everything``.
        flip: Whether half of the training images, drawn anew each epoch, are mirrored.
        shift: Pixels by which each training image is at most shifted, each way.
        samples: Image files or folders of them (PNG, JPEG, WebP, BMP, any size) to predict instead of the test set. As
            in the data set, the object should be light on a dark ground.

    Raises:
        DataError: The archives are neither there nor to be had, or damaged; an image can't be read.
    """

    def __init__(
        self,
        root: str = "data",
        batch_size: int = 64,
        val_size: int = 5000,
        seed: int = 0,
        flip: bool = False,
        shift: int = 0,
        samples: str | list[str] | None = None,
    ) -> None:
        super().__init__(batch_size)
        if val_size < 1:
            raise UsageError(f"--data.val_size {val_size}: at least 1 validation image is needed")
        if not 0 <= shift < 28:
            raise UsageError(f"--data.shift {shift}: images of 28x28 pixels are shifted by 0 to 27")
        self.root = Path(root)
        self.val_size = val_size
        self.seed = seed
        self.flip = flip
        self.shift = shift
        if samples is not None and not samples:
            raise DataError("--data.samples []: names no image or folder: name one")
        self.files, self.left_out = _image_files([samples] if isinstance(samples, str) else samples or [])

    @property
    def facts(self) -> Facts:
        return Facts(
            in_features=28 * 28,
            class_names=tuple(datasets.FashionMNIST.classes),
            in_channels=1,
            image_size=28,
        )

    def prepare_data(self) -> None:
        if self.files and self.trainer is not None and self.trainer.state.fn == "predict":
            return  # the data set itself is not needed
        raw = self._raw
        archives = {raw / name: md5 for name, md5 in datasets.FashionMNIST.resources}
        try:
            if not all(map(_matches, archives)):
                raw.mkdir(parents=True, exist_ok=True)
                with FileLock(raw / ".lock"):  # of two processes the second finds the work done
                    for archive in archives:
                        if not _matches(archive):
                            url = datasets.FashionMNIST.mirrors[0] + archive.name
                            download_and_extract_archive(url, raw, filename=archive.name, md5=archives[archive])
        except (FileExistsError, NotADirectoryError) as error:
            raise DataError(
                f"--data.root {self.root}: {raw} can't be a folder, as there is a file in its place: name another root"
            ) from error
        except PermissionError as error:
            raise DataError(
                f"{raw} can't be read and written ({error.strerror}): get the right to, or copy the archives to a "
                "folder of your own, and name that with --data.root"
            ) from error
        except (RuntimeError, OSError) as error:
            why = str(error).strip().splitlines()[-1]
            lacking = [a.name for a, md5 in archives.items() if not _matches(a) and not check_integrity(a, md5)]
            if not lacking:
                raise DataError(f"the archives in {raw} can't be unpacked ({why}): mend that, or empty it") from error
            raise DataError(
                f"FashionMNIST is not in {raw}, or in parts, or damaged, and can't be downloaded ({why}): put these "
                f"official archives there: {', '.join(lacking)}"
            ) from error

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.files:
            for line in self.left_out:
                say(line)
            self.predict_set = InMemory(torch.stack([_read_image(f) for f in self.files]))
            return
        if stage in ("fit", "validate"):
            x, y = self._read(train=True)
            if self.val_size >= len(x):
                raise DataError(f"--data.val_size {self.val_size}: there are {len(x)} images to choose from")
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(self.seed))
            val, train = order[: self.val_size], order[self.val_size :]
            self.train_set, self.val_set = InMemory(x[train], y[train]), InMemory(x[val], y[val])
        else:
            self.test_set = self.predict_set = InMemory(*self._read(train=False))

    @property
    def _raw(self) -> Path:
        return self.root / "FashionMNIST" / "raw"

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) uint8, a quarter of the bytes of floats until the device, and labels (N,) int64."""
        images, labels = (
            self._raw / f"{'train' if train else 't10k'}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")
        )
        x, y = _read_idx(images, SIZE, SIZE), _read_idx(labels)
        if len(x) != len(y):
            raise DataError(f"{images} has {len(x)} images, but {labels.name} {len(y)} labels: {ANEW}")
        if (y >= len(self.facts.class_names)).any():
            raise DataError(f"{labels} has a label {y.max()}, but the classes are 0 to 9: {ANEW}")
        return x.unsqueeze(1), y.long()

    def augment(self, x: Tensor) -> Tensor:
        x = augment.flip(x) if self.flip else x
        return augment.shift(x, self.shift) if self.shift else x

    def normalize(self, x: Tensor) -> Tensor:
        return (x.float() / 255 - MEAN) / STD

    def describe(self, dataset: Dataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        _, *labels = take(dataset, indices)
        if not labels:
            return {"image": [str(self.files[i]) for i in indices]}
        return {"image": indices, "label": [self.facts.class_names[i] for i in labels[0].tolist()]}


def _matches(archive: Path) -> bool:
    """Whether the unpacked file lies beside its archive and is what a gzip trailer says: CRC-32 and length."""
    unpacked = archive.with_suffix("")
    if not unpacked.is_file():
        return False
    if not archive.is_file():
        return True  # somebody tidied the archives away
    content = unpacked.read_bytes()
    return archive.read_bytes()[-8:] == struct.pack("<II", zlib.crc32(content), len(content))


def _read_idx(file: Path, *item: int) -> Tensor:
    """Items (N, *item) uint8 of an IDX file: a magic number, the sizes, and then the bytes, row by row."""
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise DataError(f"{file} can't be read ({error.strerror}): make it readable, or {ANEW}") from error
    shape = (int.from_bytes(content[4:8].tobytes(), "big"), *item)
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    if content[: len(header)].tobytes() != header or len(content) != len(header) + math.prod(shape) > len(header):
        what = f"images of {SIZE}x{SIZE} pixels" if item else "labels"
        raise DataError(f"{file} is damaged, or doesn't hold {what}: {ANEW}")
    return torch.from_numpy(content[len(header) :]).reshape(shape)


def _image_files(samples: list[str]) -> tuple[list[Path], list[str]]:
    """The images, and a line on each folder that holds anything else but hidden files."""
    files: list[Path] = []
    left_out: list[str] = []
    for path in map(Path, samples):
        try:
            if path.is_dir():
                inside = sorted(f for f in path.iterdir() if not f.name.startswith("."))
                # others, such as pipes, may never come to an end
                images = [f for f in inside if f.suffix.lower() in IMAGE_FILES and f.is_file()]
                others = sorted(f.name for f in {*inside} - {*images})
                if not images:
                    raise DataError(f"--data.samples: the folder {path} holds no {FORMATS}: name another")
                if others:
                    left_out.append(
                        f"{path}: left out as they are no {FORMATS} files: {len(others)}, first {others[0]}"
                    )
                files += images
            elif path.is_file():
                files.append(path)
            else:
                raise DataError(f"--data.samples: there is no image or folder {path}: name one that is there")
        except OSError as error:
            raise DataError(f"--data.samples {path} can't be read ({error.strerror}): make it readable") from error
    return files, left_out


def _read_image(path: Path) -> Tensor:
    """Any picture as (1, 28, 28) uint8: grey, its longer side 28 pixels, on black where it is empty."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what Pillow copes with
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "WEBP", "BMP")) as file:
                image: Image.Image = ImageOps.exif_transpose(file)
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise DataError(
            f"{path} can't be read as an image ({_why(error)}): save it anew as PNG or JPEG, or leave it out"
        ) from error
    if max(image.size) >= 2 * SIZE * min(image.size):
        raise DataError(f"{path}: of {image.width}x{image.height} pixels none is left in {SIZE}x{SIZE}: cut it")
    if image.mode == "I;16":
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))  # convert would make 255 of whatever is more
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA"))
    small = ImageOps.pad(image.convert("L"), (SIZE, SIZE), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(small)).unsqueeze(0)


def _why(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return f"no {FORMATS}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "damaged, or cut short"
