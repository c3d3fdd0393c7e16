"""Folders of photos or other images: a folder for each class."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torchvision.transforms import v2

from kindling.console import say
from kindling.data import augment
from kindling.data.base import DataModule
from kindling.data.images.files import BETWEEN, SETS, UNREADABLE, Learned, Scan, find_samples, learn, scan, told
from kindling.data.images.pixels import ImageForm, is_grey
from kindling.data.images.reading import Images, Pixels, free_memory
from kindling.data.loading import BalancedShuffle, EpochShuffle, global_seed
from kindling.data.split import check_fold, check_split
from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.schema import matches

# Of ImageNet's training photos, pixels in [0, 1], as torchvision's weights expect them; for grey their means
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = sum(MEAN) / 3, sum(STD) / 3
USUAL_SIZE = 224  # pixels, of most networks for photos
SHARE_OF_MEMORY = 0.25  # of what is free, for images that are kept
LOOKED_AT = 100  # images that tell whether all are grey

Augment = Literal["none", "flip", "crop", "trivial"]
Unreadable = Literal["stop", "skip"]


class ImageFolder(DataModule):
    """Photos or other images, PNG, JPEG, WebP, BMP or TIFF of any size: a folder for each class.

    The folders lie in ``root``, or in ``root/train``, ``root/val`` and ``root/test``. The network gets the middle
    square of each image, normalised as for networks that were trained on ImageNet: in grey if up to 100 training
    images, evenly spaced, are all stored as grey, otherwise in colour. Which image is in which set is kept in the
    checkpoint: images that come later are in none.

    Args:
        root: The folder.
        image_size: Height and width in pixels that each image gets; unless given what the network is made for, or 224.
        augment: Random changes of the training images: flip, left to right; crop, a flip and a part of what the network
            would get, 35 to 100 % of its area, scaled up; trivial, a flip and torchvision's TrivialAugmentWide.
        split: Shares of training, validation and test images. With ``root/train`` and without ``root/val`` the first
            two count.
        seed: Of the split, independent of ``--seed_everything``.
        balance: Whether each epoch draws as many images from each class.
        unreadable: What to do with an image that can't be read: stop, or skip it, for which all are read once before.
        cache: Whether images are kept in memory once they are read; auto if they take up a quarter of what is free.
        samples: Image files, or folders of them and of folders, to predict instead of the test set.
        batch_size: Images per batch.
        num_workers: Threads that read images ahead of time; unless given one less than there are cores.
        folds: For cross-validation: to how many folds all images but those for test are shared out, those of
            ``root/val`` too. ``fit`` trains a run for each of them.
        fold: Number, from 0, of the fold to validate with; the others are to train with.

    Raises:
        DataError: There are no images, too few, or others than the checkpoint was trained on; one can't be read.
        UsageError: An option is out of its range, or differs from what a checkpoint was trained with.
    """

    train_set: Images
    val_set: Images
    test_set: Images
    predict_set: Images
    decisions_file = "files.csv"
    pixels = (
        "pixels from 0 to 255: images, channels (grey, or red, green and blue), rows, columns, of the middle square of "
        "each image, resized by bilinear interpolation with antialiasing"
    )

    def __init__(
        self,
        root: str,
        image_size: int | None = None,
        augment: Augment = "none",
        split: tuple[float, float, float] = (0.7, 0.15, 0.15),
        seed: int = 0,
        balance: bool = False,
        unreadable: Unreadable = "stop",
        cache: bool | Literal["auto"] = "auto",
        samples: str | list[str] | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        folds: int | None = None,
        fold: int | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers or 0)
        for option, value, known in (("augment", augment, Augment), ("unreadable", unreadable, Unreadable)):
            if value not in get_args(known):
                raise UsageError(f"--data.{option} {value}: one of {', '.join(get_args(known))}")
        if image_size is not None and not 1 <= image_size <= 10_000:
            raise UsageError(f"--data.image_size {image_size}: should be from 1 to 10,000")
        check_split(split, seed)
        check_fold(folds, fold)
        self.root, self.given_size, self.change, self.threads = Path(root), image_size, augment, num_workers
        self.balance, self.unreadable, self.cache = balance, unreadable, cache
        self._options = {"split": list(split), "seed": seed, "folds": folds, "fold": fold}  # of the split
        self.files, self.left_out = find_samples(samples)
        self._learned: Learned | None = None
        self._is_new = False  # whether it was learned here, and not taken from a checkpoint
        self._lines: list[str] = []
        self._sets: dict[str, Images] = {}

    @property
    def learned(self) -> Learned:
        """From a checkpoint if one was loaded, otherwise from the folder."""
        if self._learned is None:
            found = scan(self.root)
            skipped = self._unreadable(self.root, sorted(found.paths))
            learned, self._lines = learn(found, self._options, skipped)
            paths = learned.paths("train")
            grey = {is_grey(self.root / path) for path in paths[:: -(-len(paths) // LOOKED_AT)]} - {None}
            self._learned = replace(learned, channels=1 if grey == {True} else 3)
            self._is_new = True
        return self._learned

    @property
    def image_size(self) -> int:
        known = self._learned.image_size if self._learned else None
        return self.given_size or known or self.usual_image_size or USUAL_SIZE

    @property
    def image_form(self) -> ImageForm:
        mode: Literal["L", "RGB"] = "L" if self._learned and self._learned.channels == 1 else "RGB"
        return ImageForm(mode, self.image_size, "white", "middle square")

    @property
    def facts(self) -> Facts:
        channels, size = self.learned.channels, self.image_size
        return Facts(
            in_features=channels * size**2,
            class_names=tuple(self.learned.class_names),
            class_counts=tuple(self.learned.labels("train").bincount().tolist()),
            in_channels=channels,
            image_size=size,
        )

    @property
    def title(self) -> str:
        """What the screen calls the data."""
        count, size = len(self.learned.class_names), self.image_size
        return f"{self.root} ({count:,} classes, {size}x{size} in {'grey' if self.learned.channels == 1 else 'colour'})"

    @property
    def predict_needs(self) -> str:
        return "" if "test" in self.learned.files else "--data.samples FOLDER"

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps."""
        return asdict(self.learned) | {"image_size": self.image_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take classes, files, size and colour from a checkpoint.

        Raises:
            UsageError: An option contradicts the checkpoint.
            DataError: What it holds is damaged.
        """
        if not matches(state_dict, Learned) or not Learned(**state_dict).is_sound:
            raise DataError(f"what the checkpoint knows of {self.root} is damaged: take another checkpoint")
        learned = Learned(**state_dict)
        trained = learned.options | {"image_size": learned.image_size}
        for name, given in (self._options | {"image_size": self.given_size or learned.image_size}).items():
            if given != trained.get(name):
                what = f"--data.{name} {given}: the checkpoint was trained with {trained.get(name)}"
                raise UsageError(f"{what}: leave that option out, or train anew")
        if learned != self._learned:
            self._learned, self._is_new, self._sets = learned, False, {}

    def prepare_data(self) -> None:
        """Find what the command needs before the loggers make their files, which a mistake would leave behind."""
        if self.trainer is not None and self.trainer.state.fn is not None:
            self.setup(self.trainer.state.fn)

    def setup(self, stage: str) -> None:
        if stage == "predict" and self.files:
            if "predict" not in self._sets:
                skipped = self._unreadable(Path(), self.files)
                for line in [*self.left_out, *told(UNREADABLE, sorted(skipped))]:
                    say(line)
                self._sets["predict"] = self._images(Path(), [file for file in self.files if file not in skipped])
            self.predict_set = self._sets["predict"]
            return
        names = ("test",) if stage in ("test", "predict") else ("train", "val")
        if not self._sets.keys() >= {*names}:  # made once: what they hold in memory is wanted again
            self._make_sets(names, stage)
        for name in names:
            setattr(self, f"{name}_set", self._sets[name])
        if names == ("test",):
            self.predict_set = self.test_set

    def augment(self, x: Tensor) -> Tensor:
        if self.change == "none":
            return x
        x = augment.flip(x)
        if self.change == "trivial":
            return torch.stack([v2.TrivialAugmentWide()(image) for image in x])
        return augment.crop(x) if self.change == "crop" else x

    def normalize(self, x: Tensor) -> Tensor:
        pixels = x.float() / 255  # (B, C, S, S)
        if x.shape[1] == 1:
            return (pixels - GREY_MEAN) / GREY_STD
        mean, std = (torch.tensor(values, device=x.device).view(-1, 1, 1) for values in (MEAN, STD))
        return (pixels - mean) / std

    def shuffle(self) -> EpochShuffle:
        if not self.balance:
            return super().shuffle()
        return BalancedShuffle(self.learned.labels("train"), global_seed())

    def describe(self, dataset: Images, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        paths = [str(dataset.folder / dataset.paths[index]) for index in indices]
        if dataset.labels is None:
            return {"image": paths}
        return {"image": paths, "label": [self.learned.class_names[dataset.labels[index]] for index in indices]}

    def decisions(self) -> tuple[list[str], dict[str, list[object]]]:
        learned = self.learned
        names, counts = learned.class_names, learned.labels("train").bincount()
        low, high = (f"{counts[n]:,} ({names[n]})" for n in (int(counts.argmin()), int(counts.argmax())))
        sizes = "/".join(f"{len(learned.paths(name)) if name in learned.files else 0:,}" for name in SETS)
        line = f"{sizes} images to train, validate and test; from {low} to {high} training images of a class"
        rows = [
            (path, names[label], name)
            for name in learned.files
            for path, label in zip(learned.paths(name), learned.labels(name).tolist(), strict=True)
        ]
        columns = zip(("image", "class", "set"), zip(*rows, strict=True), strict=True)
        return [line, *self._lines], {name: list(cells) for name, cells in columns}

    def _make_sets(self, names: Sequence[str], stage: str) -> None:
        learned = self.learned
        if not self._is_new or not learned.files.keys() >= {*names}:
            self._compare(scan(self.root), names, stage)
        hold = stage == "fit" and self._fit_in_memory()
        for name in names:
            self._sets[name] = self._images(self.root, learned.paths(name), learned.labels(name), hold)

    def _images(self, folder: Path, paths: list[str], labels: Tensor | None = None, hold: bool = False) -> Images:
        threads = suggested_max_num_workers(self._processes) if self.threads is None else self.threads
        shape = (self.learned.channels, self.image_size, self.image_size)
        return Images(folder, paths, labels, self._read, shape, threads, hold)

    def _read(self, path: Path) -> Pixels:
        try:
            return self.image_form.read(path)
        except DataError as error:
            raise DataError(f"{error}, with --data.unreadable skip") from error

    def _unreadable(self, folder: Path, paths: list[str]) -> set[str]:
        """Those to skip."""

        def is_readable(path: str) -> bool:
            try:
                self._read(folder / path)
            except DataError:
                return False
            return True

        if self.unreadable == "stop":
            return set()
        with ThreadPoolExecutor(suggested_max_num_workers(self._processes)) as pool:
            return {path for path, is_good in zip(paths, pool.map(is_readable, paths), strict=True) if not is_good}

    @property
    def _processes(self) -> int:
        """On this machine."""
        return self.trainer.num_devices if self.trainer else 1

    def _fit_in_memory(self) -> bool:
        """Whether the images for training and validation may be kept."""
        count = sum(len(self.learned.paths(name)) for name in ("train", "val"))
        needed = count * self.facts.in_features * self._processes
        kept = needed <= SHARE_OF_MEMORY * free_memory() if self.cache == "auto" else self.cache
        how = "kept in memory once they are read" if kept else "read anew in each epoch"
        say(f"The images are {how}, {needed / 1e6:,.0f} MB (--data.cache {str(self.cache).lower()})")
        return kept

    def _compare(self, found: Scan, names: Sequence[str], stage: str) -> None:
        """Compare what a checkpoint knows with what is there.

        Raises:
            DataError: Images of the sets are gone, or there is no test set.
        """
        learned = self.learned
        if "test" in names and "test" not in learned.files:  # there was none when the training began
            classes = [found.sets.get("test", {}).get(name, []) for name in learned.class_names]
            skipped = self._unreadable(self.root, [path for paths in classes for path in paths])
            learned.files["test"] = [BETWEEN.join(path for path in paths if path not in skipped) for paths in classes]
            if not any(learned.files["test"]):
                del learned.files["test"]
                raise DataError(self._without_test(found, stage))
        there = found.paths
        for name in names:
            if gone := [path for path in learned.paths(name) if path not in there and path not in found.twice]:
                raise DataError(
                    f"{len(gone):,} of the run's {name} images are not in {self.root} any more, first {gone[0]}: put "
                    "them back, or train anew"
                )
        new = sorted(there.difference(*map(learned.paths, learned.files)))
        for line in told("Images in no set of the run, as they are new or were left out", new):
            say(line)

    def _without_test(self, found: Scan, stage: str) -> str:
        if stage == "predict":
            return f"{self.root} has no test set to predict: name images, or folders of them, with --data.samples"
        if "" in found.sets:
            return f"--data.split left no test images of {self.root}: give it a third share, and train anew"
        return (
            f"{self.root} has no folder test, and a test on what was validated would tell nothing: put other images "
            f"into {self.root / 'test'}, in a folder for each class"
        )
