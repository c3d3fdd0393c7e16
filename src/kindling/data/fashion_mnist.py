import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import datasets

from kindling.data import augment
from kindling.data.recipe import InMemory, Recipe
from kindling.errors import DataError, UsageError
from kindling.facts import Facts

MEAN, STD = 0.2860, 0.3530  # the 60,000 training images, pixels in [0, 1]
IMAGE_FILES = {".png", ".jpg", ".jpeg"}


class FashionMNIST(Recipe):
    """Zalando's 70,000 pictures of clothes, 28x28 grey, 10 classes.

    Downloaded on first use. The official 10,000 test images are the test set, whole.

    Args:
        root: Folder that holds, or will hold, ``FashionMNIST/raw/`` with the four official archives.
        batch_size: Images per batch.
        val_size: Images of the 60,000 for training that are set aside for validation.
        seed: Of the choice of the validation images, independent of ``--seed_everything``.
        flip: Whether half of the training images, drawn anew each epoch, are mirrored.
        shift: Pixels by which each training image is at most shifted, each way.
        samples: Image files or folders of them (PNG, JPEG, any size) to predict instead of the test set. As in the data
            set, the object should be light on a dark ground.

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
        self.files = _image_files([samples] if isinstance(samples, str) else samples or [])

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
        raw = self.root / "FashionMNIST" / "raw"
        archives = [raw / name for name, _ in datasets.FashionMNIST.resources]
        try:
            if not all(_matches(archive) for archive in archives):
                raw.mkdir(parents=True, exist_ok=True)
                with FileLock(raw / ".lock"):  # of two processes the second finds the work done
                    for archive in archives:
                        if not _matches(archive):
                            archive.with_suffix("").unlink(missing_ok=True)
                    datasets.FashionMNIST(str(self.root), download=True)
        except PermissionError as error:
            raise DataError(
                f"{raw} can't be written ({error.strerror}): make it writable, or copy the archives to a folder that "
                "is, and name that with --data.root"
            ) from error
        except (RuntimeError, OSError) as error:
            names = ", ".join(archive.name for archive in archives)
            raise DataError(
                f"FashionMNIST is not in {raw} and can't be downloaded ({str(error).strip().splitlines()[-1]}): "
                f"put the four official archives there: {names}"
            ) from error

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.files:
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

    def _read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images (N, 1, 28, 28) uint8, a quarter of the bytes of floats until the device, and labels (N,) int64."""
        images = datasets.FashionMNIST(str(self.root), train=train)
        return images.data.unsqueeze(1), images.targets

    def augment(self, x: Tensor) -> Tensor:
        x = augment.flip(x) if self.flip else x
        return augment.shift(x, self.shift) if self.shift else x

    def normalize(self, x: Tensor) -> Tensor:
        return (x.float() / 255 - MEAN) / STD

    def describe(self, samples: InMemory) -> dict[str, Sequence[object]]:
        _, *labels = samples.tensors
        if not labels:
            return {"image": [str(f) for f in self.files]}
        return {"image": range(len(samples)), "label": [self.facts.class_names[i] for i in labels[0]]}


def _matches(archive: Path) -> bool:
    """Whether the unpacked file lies beside its archive and is what a gzip trailer says: CRC-32 and length."""
    unpacked = archive.with_suffix("")
    if not unpacked.is_file():
        return False
    if not archive.is_file():
        return True  # somebody tidied the archives away; the IDX reader still checks the length
    with archive.open("rb") as file:
        file.seek(-8, 2)
        crc, length = struct.unpack("<II", file.read(8))
    content = unpacked.read_bytes()
    return (len(content), zlib.crc32(content)) == (length, crc)


def _image_files(samples: list[str]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, samples):
        if path.is_dir():
            inside = sorted(f for f in path.iterdir() if f.suffix.lower() in IMAGE_FILES)
            if not inside:
                raise DataError(f"--data.samples: the folder {path} holds no PNG or JPEG")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"--data.samples: there is no image or folder {path}")
    return files


def _read_image(path: Path) -> Tensor:
    """Any picture as (1, 28, 28) uint8: grey, its longer side 28 pixels, on black where it is empty."""
    try:
        with Image.open(path) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.has_transparency_data:
                black = Image.new("RGBA", image.size, "black")
                image = Image.alpha_composite(black, image.convert("RGBA"))
            small = ImageOps.pad(image.convert("L"), (28, 28), Image.Resampling.LANCZOS)
    except (OSError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} can't be read as an image: {error}") from error
    return torch.from_numpy(np.array(small)).unsqueeze(0)
