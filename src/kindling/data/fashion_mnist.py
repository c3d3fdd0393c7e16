from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from kindling.console import say
from kindling.data import augment
from kindling.data.base import DataModule
from kindling.data.images.files import find_samples
from kindling.data.images.pixels import ImageForm
from kindling.data.loading import InMemory
from kindling.errors import DataError, UsageError
from kindling.facts import Facts

MEAN, STD = 0.2860, 0.3530  # the 60,000 training images, pixels in [0, 1]
SIZE = 28


class FashionMNIST(DataModule):
    """Zalando's 70,000 pictures of clothes, 28x28 grey, 10 classes.

    Downloaded on first use. The official 10,000 test images are the test set, whole.

    Args:
        root: Folder that holds, or will hold, ``FashionMNIST/raw/`` with the four official archives.
        batch_size: Images per batch.
        val_size: Images of the 60,000 for training that are set aside for validation.
        seed: Chooses the validation images, independent of ``--seed_everything``.
        flip: Whether half of the training images, drawn anew each epoch, are mirrored.
        shift: Pixels by which each training image is at most shifted, each way.
        samples: Image files or folders of them (PNG, JPEG, WebP, BMP, TIFF, any size) to predict instead of the test
            set. As in the data set, the object should be light on a dark ground.

    Raises:
        DataError: The archives are missing and can't be downloaded, or are damaged; an image can't be read.
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
        if not 0 <= shift < SIZE:
            raise UsageError(f"--data.shift {shift}: images of 28x28 pixels are shifted by 0 to 27")
        self.root, self.val_size, self.seed = Path(root), val_size, seed
        self.flip, self.shift = flip, shift
        self.files, self.left_out = find_samples(samples)

    @property
    def facts(self) -> Facts:
        return Facts(
            in_features=SIZE * SIZE,
            class_names=tuple(datasets.FashionMNIST.classes),
            in_channels=1,
            image_size=SIZE,
        )

    @property
    def image_form(self) -> ImageForm:
        """Grey, the longer side 28 pixels, on black where it is empty."""
        return ImageForm("L", SIZE, "black", "pad")

    def prepare_data(self) -> None:
        if self.files and self.trainer is not None and self.trainer.state.fn == "predict":
            return  # the data set itself is not needed
        raw = self.root / "FashionMNIST" / "raw"
        try:
            raw.mkdir(parents=True, exist_ok=True)
            with FileLock(raw / ".lock"):  # of two processes the second finds the work done
                datasets.FashionMNIST(self.root, download=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            what = f"{raw} can't be read and written ({error.strerror})"
            raise DataError(f"{what}: name another root for the archives with --data.root") from error
        except Exception as error:  # torchvision meets damaged files with whatever it stumbles over
            why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            files = {raw / name: md5 for name, md5 in datasets.FashionMNIST.resources}
            lacking = [
                f.name for f, md5 in files.items() if not f.with_suffix("").exists() and not check_integrity(f, md5)
            ]
            if not lacking:
                raise _damaged(raw, why) from error
            raise DataError(
                f"FashionMNIST is not in {raw}, or in parts, or damaged, and can't be downloaded ({why}): put these "
                f"official archives there: {', '.join(lacking)}"
            ) from error

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.files:
            for line in self.left_out:
                say(line)
            self.predict_set = InMemory(torch.from_numpy(np.stack([self.image_form.read(f) for f in self.files])))
        elif stage in ("fit", "validate"):
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
        found = datasets.FashionMNIST(self.root, train)
        x, y = found.data, found.targets
        if x.shape != (len(y), SIZE, SIZE) or y.max() >= len(found.classes):
            raise _damaged(Path(found.raw_folder), f"images {tuple(x.shape)}, labels {len(y)}, up to {y.max()}")
        return x.unsqueeze(1), y

    def augment(self, x: Tensor) -> Tensor:
        x = augment.flip(x) if self.flip else x
        return augment.shift(x, self.shift) if self.shift else x

    def normalize(self, x: Tensor) -> Tensor:
        return (x.float() / 255 - MEAN) / STD

    def describe(self, dataset: InMemory, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        _, *labels = dataset.tensors
        if not labels:
            return {"image": [self.files[i] for i in indices]}
        return {"image": indices, "label": [self.facts.class_names[labels[0][i]] for i in indices]}


def _damaged(raw: Path, why: str) -> DataError:
    return DataError(
        f"the files in {raw} are damaged, or don't hold images of 28x28 pixels with labels from 0 to 9 ({why}): delete "
        "them, so that the archives are unpacked or downloaded again"
    )
