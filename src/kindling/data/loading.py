"""How samples become batches: in which order, by which process, and with which random numbers."""

import random
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from itertools import count, cycle, islice
from os import environ
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, default_collate

from kindling.errors import ENDING_SIGNALS, DataError, KindlingError, UsageError

# Inputs (B, ...) float32 or uint8, then where they are known the targets (B,): labels int64, or numbers float32.
# Several targets per sample are (B, T).
Batch = tuple[Tensor, ...]
MapDataset = Any  # a torch Dataset with __getitem__(index) and __len__
Remainder = Literal["uneven", "skip_empty", "pad"]


class ByBatch(Dataset[Batch], ABC):
    """Samples that are read a batch at a time, without random numbers, in this process."""

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """There may be none."""

    def __getitem__(self, index: int) -> Batch:
        return tuple(column[0] for column in self.__getitems__([index]))

    def batches(self, batches: Iterator[list[int]]) -> Iterator[Batch]:
        return map(self.__getitems__, batches)


class InMemory(ByBatch):
    """Samples that fit in memory; a batch is one indexing operation, not B of them and a collation."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int | Tensor) -> Batch:
        return tuple(t[index] for t in self.tensors)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices, dtype=torch.long)
        return tuple(t.index_select(0, chosen) for t in self.tensors)


class Seeded(Dataset[Batch]):
    """Any dataset, read in batches whose random numbers depend on the seed, the epoch and each sample's index alone.

    So it makes no difference which process reads a sample, or how many were read before. The generators of ``random``,
    NumPy and torch are afterwards as they were.

    Args:
        dataset: Its items are ``(x, y)``, or ``x`` alone to predict: tensors, arrays or numbers.
    """

    def __init__(self, dataset: MapDataset) -> None:
        self.dataset, self.seed = dataset, global_seed()

    def __getitem__(self, places: Sequence[tuple[int, int]]) -> Batch:
        """
        Args:
            places: Epoch and index of each sample of a batch.

        Raises:
            DataError: The samples can't be stacked to a batch.
        """
        if not places:  # a batch without samples has the shapes of others
            return tuple(t[:0] for t in self[[(0, 0)]])
        samples = []
        with isolate_rng(include_cuda=False):
            for epoch, index in places:
                seed_generators(self.seed, epoch, index, 1)  # the 1 keeps them apart from those of a whole epoch
                samples.append(self.dataset[index])
        return stacked(samples)


def stacked(samples: list[Any]) -> Batch:
    """Samples as a batch.

    Raises:
        DataError: They have different shapes, or parts that are no numbers.
    """
    try:
        columns = zip(*samples, strict=True) if isinstance(samples[0], tuple | list) else [samples]
        batch = [default_collate(list(column)) for column in columns]
        if found := [type(column).__name__ for column in batch if not isinstance(column, Tensor)]:
            raise TypeError(f"found a {found[0]}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"samples of the dataset can't be made a batch ({str(error).splitlines()[0]}): each item has to be (x, y), "
            "or x alone to predict, of tensors, arrays or numbers, with the same shape in all items"
        ) from error
    return tuple(column.float() if column.is_floating_point() else column for column in batch)


def take(dataset: MapDataset, indices: Sequence[int]) -> Batch:
    """Some samples of a set as one batch, as they are stored; of a stream the first ones."""
    if isinstance(dataset, IterableDataset):
        with isolate_rng(include_cuda=False):
            return stacked(list(islice(dataset, len(indices))))
    if isinstance(dataset, ByBatch):
        return dataset.__getitems__(list(indices))
    return Seeded(dataset)[[(0, index) for index in indices]]


def global_seed() -> int:
    """The run's; Lightning's own samplers take it from the same place."""
    return int(environ.get("PL_GLOBAL_SEED", 0))


def seed_generators(*entropy: int) -> int:
    """Seed the generators of ``random``, NumPy and torch, the last on the CPU alone; returns the seed."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed a GPU, which workers can't
    return seed


class EpochShuffle(Sampler[int]):
    """A random order that depends on seed and epoch alone: a resumed run draws what an unbroken one does."""

    def __init__(self, dataset: Sized, seed: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        for part in self._order(torch.Generator().manual_seed(self.seed + self.epoch)).split(2**16):
            yield from part.tolist()  # Python's numbers are large

    def _order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)


class BalancedShuffle(EpochShuffle):
    """As many draws from each class, over as many samples as there are.

    The samples of a class are drawn in turn, in an order that is new in each epoch: some of a large class are left out
    of an epoch, and all of a small one come again equally often.

    Args:
        labels: Of the samples (N,) int64, each of the classes 0, 1, ... at least once.
    """

    def __init__(self, labels: Tensor, seed: int) -> None:
        super().__init__(labels, seed)
        self.labels, self.counts = labels, labels.bincount()

    def _order(self, generator: torch.Generator) -> Tensor:
        shuffled, draws = (torch.randperm(len(self), generator=generator) for _ in range(2))
        by_class = shuffled[self.labels[shuffled].argsort(stable=True)]
        drawn, turn = draws % len(self.counts), draws // len(self.counts)
        return by_class[(self.counts.cumsum(0) - self.counts)[drawn] + turn % self.counts[drawn]]


class Shares(BatchSampler):
    """The batches of one process: batches ``world`` times as large, each dealt out to the processes.

    Args:
        sampler: Order of all samples.
        batch_size: Samples per process.
        rank: Which of the processes this is.
        world: How many there are.
        remainder: What becomes of a last batch that can't be dealt out evenly. ``uneven``: each sample goes to one
            process, so some processes get one sample less than others, or an empty batch. ``skip_empty``: the same
            without empty batches. ``pad``: the first samples of the order are added, until all get as many.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        remainder: Remainder = "uneven",
    ) -> None:
        super().__init__(sampler, batch_size * world, drop_last=False)
        self.rank, self.world, self.remainder = rank, world, remainder

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            if self.remainder == "pad" and (missing := -len(batch) % self.world):
                batch = [*batch, *islice(cycle(self.sampler), missing)]  # as torch's DistributedSampler
            share = batch[self.rank :: self.world]
            if share or self.remainder != "skip_empty":
                yield share


class ResumableBatches(ABC):
    """Batches that can be resumed within an epoch, one epoch at each iteration.

    The state says how many batches were handed out. As this is no ``DataLoader``, Lightning leaves it as it is under
    several processes: it decides itself which process gets which samples.

    Args:
        size: Samples of a batch, those of all processes together.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._used = self._skipped = 0  # batches of this epoch

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, int]:
        return {"over": self._used, "samples": self.size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """
        Raises:
            UsageError: The state is of batches of another size.
        """
        if state_dict["samples"] != self.size:
            raise UsageError(
                f"--data.batch_size: the checkpoint is from within an epoch of batches of {state_dict['samples']} "
                f"samples, over all processes, so it can't be resumed with batches of {self.size}"
            )
        self._skipped = state_dict["over"]


class Batches(ResumableBatches):
    """The batches of a set.

    Args:
        dataset: ``ByBatch`` is read in this process; samples of any other are read one by one.
        batch_sampler: Indices of each batch. Its ``batch_size`` counts the samples of all processes together.
        num_workers: Processes that read samples ahead of time; 0 to read them in this one.
    """

    def __init__(self, dataset: MapDataset, batch_sampler: Any, num_workers: int = 0) -> None:
        super().__init__(batch_sampler.batch_size)
        self.dataset, self.batch_sampler = dataset, batch_sampler
        self._iterator: Any = None  # over the workers; at the end of a training Lightning ends them and sets None
        self._workers: DataLoader[Batch] | None = None
        if num_workers and not isinstance(dataset, ByBatch):
            self._workers = DataLoader(
                Seeded(dataset),
                sampler=_Places(self),
                batch_size=None,  # the dataset makes the batches
                num_workers=num_workers,
                persistent_workers=True,
                worker_init_fn=_ignore_signals,
                generator=torch.Generator(),  # otherwise it would draw from that of this process
            )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        # as this is a generator, not before the first batch is asked for, when it is known where to resume
        self._used, self._skipped = self._skipped, 0
        try:
            for batch in self._unused():
                self._used += 1
                yield batch
        except KindlingError as error:  # to which a worker process adds its traceback
            kind = type(error)
            raise kind(str(error).rpartition(f"{kind.__name__}: ")[2].rstrip()) from error

    def _unused(self) -> Iterator[Batch]:
        """The batches that are left of this epoch; nothing is read of the others."""
        if isinstance(self.dataset, ByBatch):
            return self.dataset.batches(islice(self.batch_sampler, self._used, None))
        if self._workers is None:
            return map(Seeded(self.dataset).__getitem__, _Places(self))
        if self._iterator is None:
            self._workers._iterator = None
        self._iterator = iter(self._workers)
        return self._iterator


class StreamedBatches(ResumableBatches):
    """The batches of a stream, each dealt out to the processes, every one of which reads the whole stream.

    What the stream draws from the generators of ``random``, NumPy and torch depends on ``--seed_everything``, the epoch
    and the batch alone. To resume, it is read again up to where it was.

    Args:
        stream: Its samples are ``(x, y)``; it is told the epoch if it has a ``set_epoch``.
        batch_size: Samples per process.
        rank: Which of the processes this is.
        world: How many there are.
        uneven: Whether the network takes a last batch of which processes have more or fewer samples, or none.
    """

    def __init__(
        self, stream: IterableDataset[Any], batch_size: int, rank: int = 0, world: int = 1, uneven: bool = True
    ) -> None:
        super().__init__(batch_size * world)
        self.stream, self.rank, self.world, self.uneven = stream, rank, world, uneven
        self.seed, self.epoch = global_seed(), 0
        self.sampler = self  # which Lightning tells the epoch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        self._used, self._skipped = self._skipped, 0
        if hasattr(self.stream, "set_epoch"):
            self.stream.set_epoch(self.epoch)
        samples: Iterator[Any] | None = None
        for number in count():
            with isolate_rng(include_cuda=False):
                seed_generators(self.seed, self.epoch, number, 2)  # the 2 keeps them apart from those of an item
                samples = iter(self.stream) if samples is None else samples
                batch = list(islice(samples, self.size))
            if not batch:
                return
            if number >= self._used:
                if not self.uneven:
                    batch = [*batch, *islice(cycle(batch), -len(batch) % self.world)]
                yield tuple(column[self.rank :: self.world] for column in stacked(batch))
                self._used += 1  # now, as Lightning asks for a batch more than it has trained on


class _Places:
    """For each batch that is left of an epoch, the epoch and index of its samples."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        sampler = self.batches.batch_sampler
        epoch = getattr(sampler.sampler, "epoch", 0)  # other samples than those of training are always read alike
        return ([(epoch, index) for index in indices] for indices in islice(sampler, self.batches._used, None))


def _ignore_signals(worker: int) -> None:
    """A worker ends with the process that it reads for, which may have a checkpoint to save yet."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
