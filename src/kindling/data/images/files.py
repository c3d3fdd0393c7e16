"""Which image files lie in which folders, and which set and class each is in."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kindling.data.images.pixels import KINDS, SUFFIXES
from kindling.data.split import split_folds, split_rows
from kindling.errors import DataError

SETS = ("train", "val", "test")
UNREADABLE = "Unreadable, left out"
BETWEEN = "\0"  # paths: the one character that no path has


@dataclass
class Learned:
    """What the folder held when the training began, as plain data for a checkpoint."""

    options: dict[str, Any]  # by which it was split
    class_names: list[str]
    files: dict[str, list[str]]  # of each set, for each class: paths below the root, in order, with NULs between
    channels: int = 3
    image_size: int | None = None

    @property
    def is_sound(self) -> bool:
        """Whether its parts belong together."""
        each_class = all(len(of) == len(self.class_names) for of in self.files.values())
        return each_class and {"train", "val"} <= self.files.keys() <= {*SETS} and self.channels in (1, 3)

    def paths(self, name: str) -> list[str]:
        return [path for paths in self.files[name] if paths for path in paths.split(BETWEEN)]

    def labels(self, name: str) -> Tensor:
        """Of the paths, (N,) int64."""
        counts = [paths.count(BETWEEN) + bool(paths) for paths in self.files[name]]
        return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


@dataclass
class Scan:
    """What lies in a folder now; all paths are below it, in order."""

    root: Path
    sets: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # images by set and class
    others: list[str] = field(default_factory=list)  # what is no image, or in no class's folder
    twice: list[str] = field(default_factory=list)  # more links to an image of the same class

    @property
    def paths(self) -> set[str]:
        return {path for classes in self.sets.values() for paths in classes.values() for path in paths}


def scan(root: Path) -> Scan:
    """Find the images of ``root/class/`` or of ``root/train/class/``, ``root/val/class/``, ``root/test/class/``.

    In the first case they are in a set without a name.

    Raises:
        DataError: The folder is not there, or can't be read.
    """
    found, cut = Scan(root), len(f"{root}/")

    def below(entry: "os.DirEntry[str]") -> str:
        return entry.path[cut:].replace(os.sep, "/")  # a checkpoint may come to another system

    seen: dict[str, set[tuple[int, int]]] = defaultdict(set)  # files by class, however many names they have
    try:
        if not root.is_dir():
            raise DataError(f"--data.root {root}: there is no such folder: name one with a folder of images per class")
        train = root / "train"
        is_split = train.is_dir() and any(entry.is_dir() for entry in _entries(str(train)))
        for name in [name for name in SETS if (root / name).is_dir()] if is_split else [""]:
            classes = found.sets[name] = {}
            for entry in _entries(f"{root}/{name}"):
                if not entry.is_dir():
                    found.others.append(below(entry))
                    continue
                # not those of the entry, which are 0 on Windows
                paths, device = classes.setdefault(entry.name, []), Path(entry).stat().st_dev
                for file in walk(entry.path):
                    if not is_image(file):
                        found.others.append(below(file))
                        continue
                    status = file.stat() if file.is_symlink() else None  # 100,000 of them would take seconds
                    key = (status.st_dev, status.st_ino) if status else (device, file.inode())
                    (found.twice if key in seen[entry.name] else paths).append(below(file))
                    seen[entry.name].add(key)
        found.others += [entry.name for entry in _entries(str(root)) if is_split and entry.name not in SETS]
    except OSError as error:
        raise DataError(f"--data.root: {error.filename} can't be read ({error.strerror}): make it readable") from error
    return found


def learn(found: Scan, options: dict[str, Any], unreadable: set[str]) -> tuple[Learned, list[str]]:
    """Share the images out to sets, but for those that can't be read; also lines on what is in no set.

    Raises:
        DataError: There are too few images or classes to learn from.
        UsageError: There are more folds than images.
    """
    root, split, seed, folds = found.root, options["split"], options["seed"], options["folds"]
    for classes in found.sets.values():
        for name, paths in classes.items():
            classes[name] = [path for path in paths if path not in unreadable]
    known = found.sets.get("train", found.sets.get("", {}))
    names = [name for name, paths in known.items() if paths]
    if len(names) < 2:
        what = f"{root}/train" if "train" in found.sets else str(root)
        raise DataError(
            f"--data.root {root}: folders with {KINDS} files in {what}: {len(names)}, and each of at least two classes "
            "needs one: add some"
        )
    files = {name: [classes.get(c, []) for c in names] for name, classes in found.sets.items()}
    shares = list(split)
    if "train" in files:
        shares = [split[0] / sum(split[:2]), split[1] / sum(split[:2]), 0.0]
    if "val" not in files or folds:
        whole = files.pop("train", None) or files.pop("")
        val = files.pop("val", None)
        if val:
            whole = [a + b for a, b in zip(whole, val, strict=True)]
        labels = np.repeat(np.arange(len(names)), [len(of_class) for of_class in whole])
        paths = [path for of_class in whole for path in of_class]
        none = np.empty(0, np.int64)
        parts = (np.arange(len(paths)), none, none) if val else split_rows(labels, shares, seed, str(root), "images")
        if folds:
            of_classes = ((name, labels == n) for n, name in enumerate(names))
            parts = split_folds(parts, labels, folds, seed, str(root), of_classes, what="images")[options["fold"]]
        for name, part in zip(SETS, parts, strict=True):
            if len(part):
                files[name] = [[] for _ in names]
            for row in part.tolist():
                files[name][labels[row]].append(paths[row])
    for name, by_class in files.items():
        if not any(by_class):
            raise DataError(f"{root / name} holds no {KINDS} file of a class in train: add some, or remove the folder")
    lines = told(f"Left out as they are no {KINDS} files in the folder of a class", found.others)
    lines += told("Linked twice in one class, and used once", found.twice) + told(UNREADABLE, sorted(unreadable))
    lines += told("Classes without an image, left out", [name for name, paths in known.items() if not paths])
    for name in ("val", "test"):
        alone = [c for c, paths in found.sets.get(name, {}).items() if paths and c not in names]
        lines += told(f"Classes in {name} alone, left out", alone)
    joined = {name: [BETWEEN.join(paths) for paths in files[name]] for name in SETS if name in files}
    return Learned(options, names, joined), lines


def find_samples(samples: str | list[str] | None) -> tuple[list[str], list[str]]:
    """The images that ``--data.samples`` names, and a line on each folder that holds anything else but hidden files.

    Raises:
        DataError: There are none.
    """
    given = [samples] if isinstance(samples, str) else samples
    if given is not None and not given:
        raise DataError("--data.samples []: names no image or folder: name one")
    files: list[str] = []
    left_out: list[str] = []
    for path in map(Path, given or []):
        try:
            inside = list(walk(str(path))) if path.is_dir() else []
            images = [file.path for file in inside if is_image(file)] or [str(path)] * path.is_file()
        except OSError as error:
            raise DataError(f"--data.samples {path} can't be read ({error.strerror}): make it readable") from error
        if not images:
            there = f"the folder {path} holds no {KINDS}" if path.is_dir() else f"there is no image or folder {path}"
            raise DataError(f"--data.samples: {there}: name one that is there")
        known = set(images)
        others = [file.name for file in inside if file.path not in known]
        left_out += told(f"{path}: left out as they are no {KINDS} files", others)
        files += images
    return files, left_out


def walk(folder: str) -> Iterator["os.DirEntry[str]"]:
    """Files in a folder and in those inside it, in order, but hidden ones.

    A link to a folder counts as a file: it may lead back to where it is.
    """
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(entry.path)
        else:
            yield entry


def is_image(entry: "os.DirEntry[str]") -> bool:
    """As its name says; others, such as pipes, may never come to an end."""
    return entry.name.lower().endswith(SUFFIXES) and entry.is_file()


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    return sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)


def told(what: str, names: Sequence[str]) -> list[str]:
    """A line on them, if there are any."""
    return [f"{what}: {len(names):,}, first {names[0]}"] if names else []
