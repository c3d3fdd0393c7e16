"""Samples shared out to training, validation and test."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kindling.errors import DataError, UsageError

Split = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # rows for training, validation and test


def check_split(split: Sequence[float], seed: int) -> None:
    """
    Raises:
        UsageError: They are no three shares, or no seed.
    """
    adds_up = len(split) == 3 and abs(sum(split) - 1) <= 1e-6  # which NaN doesn't
    if not adds_up or min(split) < 0 or min(split[:2]) == 0:
        what = "three shares that add up to 1, and only that of test can be 0"
        raise UsageError(f"--data.split {list(split)}: {what}")
    if seed < 0:
        raise UsageError(f"--data.seed {seed}: a seed is at least 0")


def check_fold(folds: int | None, fold: int | None) -> None:
    """
    Raises:
        UsageError: There are too few folds, or none of that number.
    """
    if folds is None:
        if fold is not None:
            raise UsageError(f"--data.fold {fold}: of how many is missing: add e.g. --data.folds 5")
        return
    if folds < 2:
        raise UsageError(f"--data.folds {folds}: should be at least 2")
    if fold is None:
        what = f"--data.folds {folds}: only the command fit trains all folds by itself"
        raise UsageError(f"{what}: name one with --data.fold, from 0 to {folds - 1}")
    if not 0 <= fold < folds:
        raise UsageError(f"--data.fold {fold}: should be from 0 to {folds - 1}, as --data.folds is {folds}")


def split_rows(classes: NDArray[Any], shares: Sequence[float], seed: int, path: str, what: str = "rows") -> Split:
    """Share out rows at random, each class (N,) in proportion, to training, validation and test, each ascending.

    Every class has a training row; a set has at least one row unless its share is 0.

    Raises:
        DataError: There are too few rows for that.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    by_class = order[np.argsort(classes[order], kind="stable")]
    _, first = np.unique(classes[by_class], return_index=True)
    rest = np.delete(by_class, first)
    least = [int(share > 0) for share in shares]
    if len(rest) < least[1] + least[2]:
        raise DataError(
            f"{path}: {len(classes)} {what} of {len(first)} classes are too few to train and to validate with: add some"
        )

    def take(share: float, left_for_others: int) -> NDArray[np.int64]:
        """Evenly spaced, so that every class has its part."""
        nonlocal rest
        count = min(max(round(share * len(classes)), int(share > 0)), len(rest) - left_for_others)
        places = ((np.arange(count) + 0.5) * len(rest) / max(count, 1)).astype(np.int64)
        taken, rest = rest[places], np.delete(rest, places)
        return np.sort(taken)

    test = take(shares[2], least[1])
    val = take(shares[1], 0)
    return np.sort(np.concatenate([by_class[first], rest])), val, test


def split_groups(
    groups: NDArray[np.int64], classes: NDArray[Any], shares: Sequence[float], seed: int, what: str
) -> Split:
    """Likewise, but all rows of a group are in one set; the shares are as near as that allows.

    Raises:
        DataError: There are too few groups for that.
    """
    chosen = _share_groups(groups, classes, [share for share in shares if share], seed, what)  # only test can have none
    train, val, test = (np.flatnonzero(chosen == one) for one in range(3))
    return train, val, test


def split_folds(
    split: Split,
    classes: NDArray[Any],
    folds: int,
    seed: int,
    path: str,
    of_classes: Iterable[tuple[str, NDArray[np.bool_]]],
    groups: NDArray[np.int64] | None = None,
    what: str = "rows",
) -> list[Split]:
    """Share out all rows but those for test to folds, each class (N,) in proportion.

    Args:
        split: For training, validation and test.
        of_classes: Names of classes or tags, and which rows (N,) have them: each needs some to train on.
        groups: The group (N,) of each row, numbered from 0, all of whose rows are in one fold.
        what: Names the rows in a message, or the groups.

    Returns:
        For each fold a split in which it is for validation, and the others for training.

    Raises:
        UsageError: There are more folds than rows or groups.
        DataError: A class or tag would have no row for training.
    """
    rest = np.sort(np.concatenate(split[:2]))
    labels = classes[rest]
    several = np.unique(groups[rest], return_inverse=True)[1] if groups is not None else np.arange(len(rest))
    if (count := len(np.unique(several))) < folds:
        raise UsageError(f"--data.folds {folds}: {path} has only {count} {what} beside those to test with: give fewer")
    if groups is None:
        order = np.random.default_rng(seed).permutation(len(rest))
        chosen = np.empty(len(rest), np.int64)
        chosen[order[np.argsort(labels[order], kind="stable")]] = np.arange(len(rest)) % folds
    else:
        chosen = _share_groups(several, labels, [1 / folds] * folds, seed)
    for name, rows in of_classes:
        if np.unique(chosen[rows[rest]]).size == 1:
            raise DataError(
                f"{path}: all {what} with {name} beside those to test with are in one fold, which leaves none to "
                "train on: add some, or leave them out"
            )
    return [(rest[chosen != fold], rest[chosen == fold], split[2]) for fold in range(folds)]


def _share_groups(
    groups: NDArray[np.int64], classes: NDArray[Any], shares: Sequence[float], seed: int, what: str | None = None
) -> NDArray[np.int64]:
    """The set (N,) of each row, numbered as the shares.

    First, where ``what`` names the groups, a random one with each class goes to the first set, for training. The others
    follow, large ones before small ones, in random order where they have about as many rows. Each goes to the set where
    it lowers chi-square most: the squares of rows too many or too few, of each class and in all, divided by the rows
    wanted. This is much like scikit-learn's StratifiedGroupKFold, whose sets are of one size.

    Raises:
        DataError: There are too few groups for that.
    """
    share = np.array(shares)[:, None]  # (S, 1)
    sets, sizes = range(len(share)), np.bincount(groups)
    rank = np.random.default_rng(seed).permutation(len(sizes))
    rows_of = np.split(np.argsort(groups, kind="stable"), np.cumsum(sizes)[:-1])
    _, labels, per_class = np.unique(classes, return_inverse=True, return_counts=True)
    total = np.append(per_class, len(classes))  # (C + 1,) rows of each class, and of all
    have = np.zeros((len(sets), len(total)))  # rows so far
    chosen = np.full(len(sizes), -1)  # a set for each group

    def put(group: int, among: Sequence[int]) -> None:
        rows = rows_of[group]
        added = np.append(np.bincount(labels[rows], minlength=len(per_class)), len(rows))  # (C + 1,)
        lowers = (added * (2 * (share * total - have) - added) / (share * total)).sum(axis=1)  # (S,)
        chosen[group] = max(among, key=lambda one: float(lowers[one]))
        have[chosen[group]] += added

    by_rank = np.argsort(rank[groups], kind="stable")
    first = groups[by_rank[np.unique(labels[by_rank], return_index=True)[1]]]  # (C,) a random group with each class
    groups_with = np.bincount(np.unique(labels * len(sizes) + groups) // len(sizes))  # (C,)
    for label in np.argsort(groups_with, kind="stable") if what is not None else ():
        if not have[0, label]:
            put(int(first[label]), [0])
    rest = [group for group in np.lexsort((rank, -np.frexp(sizes)[1])) if chosen[group] < 0]
    if what is not None and len(rest) < len(sets) - 1:
        least = len(sizes) - len(rest) + len(sets) - 1
        raise DataError(
            f"{what} {len(sizes)}, but at least {least} are needed, one for each set and to train on each class: add "
            "some, or see --data.split"
        )
    for done, group in enumerate(rest):
        empty = [one for one in sets if not have[one, -1]]
        put(group, empty if len(empty) == len(rest) - done else sets)
    return chosen[groups]


def rarest_tag(tags: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rarest tag (N,) of each row of 0 and 1 (N, T), -1 for a row without tags: classes to split the rows by.

    A tag that is nowhere the rarest gets a row all the same, so that each has one among the training rows.
    """
    counts = np.where(tags == 1, tags.sum(axis=0), len(tags) + 1)
    rarest = np.where(tags.any(axis=1), counts.argmin(axis=1), -1)
    for tag in set(range(tags.shape[1])).difference(rarest.tolist()):
        rarest[tags[:, tag].argmax()] = tag
    return rarest
