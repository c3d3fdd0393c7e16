"""Sets of image files that are read batch by batch, by several threads ahead of time."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kindling.data.loading import Batch, ByBatch

AHEAD = 2  # batches
Pixels = NDArray[np.uint8]


class Images(ByBatch):
    """Image files, and their labels where these are known.

    Pillow lets other threads run while it decodes and resizes: on two cores two threads are 1.9 times as fast as one.
    Unlike processes they start at once, share what is held, and copy nothing.

    Args:
        folder: That all are in.
        paths: Of the files, below it.
        labels: (N,) int64; None for images to predict.
        read: Makes pixels (C, H, W) of a file.
        shape: Of the pixels.
        threads: Read ahead of time; 0 to read when a batch is asked for.
        hold: Whether each image is kept in memory when it has been read.
    """

    def __init__(
        self,
        folder: Path,
        paths: list[str],
        labels: Tensor | None,
        read: Callable[[Path], Pixels],
        shape: tuple[int, int, int],
        threads: int = 0,
        hold: bool = False,
    ) -> None:
        self.folder, self.paths, self.labels = folder, paths, labels
        self.read, self.shape, self.threads = read, shape, threads
        self.held = np.empty((len(paths), *shape), np.uint8) if hold else None
        self._is_held = bytearray(len(paths))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def order(self) -> list[tuple[int, str]]:
        """By which they are sorted, also among those of other folds."""
        labels: list[int] = [0] * len(self.paths) if self.labels is None else self.labels.tolist()
        return list(zip(labels, self.paths, strict=True))

    def __getitems__(self, indices: list[int]) -> Batch:
        if self.held is not None and all(self._is_held[index] for index in indices):
            return self._batch(self.held[indices], indices)
        x = np.empty((len(indices), *self.shape), np.uint8)
        self._fill(x, indices, range(len(indices)))
        return self._batch(x, indices)

    def batches(self, batches: Iterator[list[int]]) -> Iterator[Batch]:
        if not self.threads or all(self._is_held):
            yield from super().batches(batches)
            return
        pool = ThreadPoolExecutor(self.threads, "images")
        ahead: deque[tuple[Pixels, list[int], list[Future[None]]]] = deque()
        try:
            for indices in batches:
                x = np.empty((len(indices), *self.shape), np.uint8)
                rows = [range(first, len(indices), self.threads) for first in range(min(self.threads, len(indices)))]
                ahead.append((x, indices, [pool.submit(self._fill, x, indices, part) for part in rows]))
                if len(ahead) > AHEAD:
                    yield self._finished(*ahead.popleft())
            while ahead:
                yield self._finished(*ahead.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _finished(self, x: Pixels, indices: list[int], parts: list[Future[None]]) -> Batch:
        for part in parts:
            part.result()
        return self._batch(x, indices)

    def _fill(self, x: Pixels, indices: list[int], rows: range) -> None:
        """Read some rows of a batch."""
        for row in rows:
            index = indices[row]
            if self.held is None:
                x[row] = self.read(self.folder / self.paths[index])
                continue
            if not self._is_held[index]:
                self.held[index] = self.read(self.folder / self.paths[index])
                self._is_held[index] = True
            x[row] = self.held[index]

    def _batch(self, x: Pixels, indices: list[int]) -> Batch:
        pixels = torch.from_numpy(x)
        return (pixels,) if self.labels is None else (pixels, self.labels[torch.tensor(indices, dtype=torch.long)])


def free_memory() -> int:
    """Bytes that this process can still take, as its container or the machine has them; 0 where that is not known."""
    free = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text(encoding="utf-8").strip() for name in ("max", "current"))
        free += [] if limit == "max" else [int(limit) - int(used)]
    except (OSError, StopIteration, ValueError):  # another system, or an older kernel
        if not free and sys.platform != "win32" and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(free, default=0)
