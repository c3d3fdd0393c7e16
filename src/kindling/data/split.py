"""Samples shared out to training, validation and test."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kindling.errors import DataError, UsageError


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


def split_rows(
    classes: NDArray[Any], shares: Sequence[float], seed: int, path: str, what: str = "rows"
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
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
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Likewise, but all rows of a group are in one set; the shares are as near as that allows.

    First a random group with each class is for training. The others follow, large ones before small ones, in random
    order where they have about as many rows. Each goes to the set where it lowers chi-square most: the squares of rows
    too many or too few, of each class and in all, divided by the rows wanted. This is much like scikit-learn's
    StratifiedGroupKFold, whose sets are of one size.

    Args:
        groups: The group (N,) of each row, numbered from 0.
        what: Names the groups in a message.

    Raises:
        DataError: There are too few groups for that.
    """
    share = np.array([one for one in shares if one])[:, None]  # (S, 1), as only that of test can be 0
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
    for label in np.argsort(groups_with, kind="stable"):
        if not have[0, label]:
            put(int(first[label]), [0])
    rest = [group for group in np.lexsort((rank, -np.frexp(sizes)[1])) if chosen[group] < 0]
    if len(rest) < len(sets) - 1:
        least = len(sizes) - len(rest) + len(sets) - 1
        raise DataError(
            f"{what} {len(sizes)}, but at least {least} are needed, one for each set and to train on each class: add "
            "some, or see --data.split"
        )
    for done, group in enumerate(rest):
        empty = [one for one in sets if not have[one, -1]]
        put(group, empty if len(empty) == len(rest) - done else sets)
    train, val, test = (np.flatnonzero(chosen[groups] == one) for one in range(3))
    return train, val, test


def rarest_tag(tags: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rarest tag (N,) of each row of 0 and 1 (N, T), -1 for a row without tags: classes to split the rows by.

    A tag that is nowhere the rarest gets a row all the same, so that each has one among the training rows.
    """
    counts = np.where(tags == 1, tags.sum(axis=0), len(tags) + 1)
    rarest = np.where(tags.any(axis=1), counts.argmin(axis=1), -1)
    for tag in set(range(tags.shape[1])).difference(rarest.tolist()):
        rarest[tags[:, tag].argmax()] = tag
    return rarest
