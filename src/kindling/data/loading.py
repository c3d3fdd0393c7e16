"""How samples become batches: in which order, and shared out to how many processes."""

from collections.abc import Iterator, Sequence, Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler, default_collate

from kindling.errors import UsageError

# Inputs (B, ...) float32 or uint8, then where they are known the targets (B,): labels int64, or numbers float32
Batch = tuple[Tensor, ...]


class InMemory(Dataset[Batch]):
    """Samples that fit in memory; a batch is one indexing operation, not B of them and a collation."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> Batch:
        return tuple(t[index] for t in self.tensors)

    def __getitems__(self, indices: list[int]) -> Batch:
        chosen = torch.tensor(indices, dtype=torch.long)  # there may be none
        return tuple(t.index_select(0, chosen) for t in self.tensors)


def take(dataset: Dataset, indices: Sequence[int]) -> Batch:
    """Some samples of a set as one batch, as they are stored."""
    if isinstance(dataset, InMemory):
        return dataset.__getitems__(list(indices))
    samples: Any = dataset
    return tuple(default_collate([samples[i] for i in indices]))


class EpochShuffle(RandomSampler):
    """A random order that depends on seed and epoch alone: a resumed run draws what an unbroken one does.

    As it is a ``RandomSampler``, Lightning puts a shuffling ``DistributedSampler`` in its place where there are several
    processes.
    """

    def __init__(self, data_source: Sized, seed: int) -> None:
        super().__init__(data_source)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(self.seed + self.epoch)
        for part in torch.randperm(len(self.data_source), generator=order).split(2**16):  # Python's numbers are large
            yield from part.tolist()


class Shares(BatchSampler):
    """The batches that one process would have were they ``world`` times as large, each dealt out to the processes.

    So every sample is in one process's batch once. In the last batch some have a sample less than others, or none.

    Args:
        sampler: Order of all samples.
        batch_size: Samples per process.
        drop_last: As torch has it.
        rank: Which of the processes this is.
        world: How many there are.
    """

    def __init__(
        self, sampler: Sampler[int], batch_size: int, drop_last: bool = False, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(sampler, batch_size * world, drop_last)
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[list[int]]:
        return (batch[self.rank :: self.world] for batch in super().__iter__())


class Batches(DataLoader[Batch]):
    """Indexes in memory, without what torch's iterator does at each batch for worker processes and its profiler.

    It can go on within an epoch: its state says how much of it is over.
    """

    dataset: InMemory
    _over = _skipped = 0  # batches

    def __iter__(self) -> Any:
        # as all of a generator's, not before the first batch is asked for, when it is known where to go on
        self._over, self._skipped = self._skipped, 0
        for indices in islice(self.batch_sampler or (), self._over, None):
            self._over += 1
            yield self.dataset.__getitems__(indices)

    def state_dict(self) -> dict[str, int]:
        return {"over": self._over, "samples": self._samples_per_batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        if state_dict["samples"] != self._samples_per_batch:
            raise UsageError(
                f"--data.batch_size: the checkpoint is from within an epoch of batches of {state_dict['samples']} "
                f"samples, over all processes, which batches of {self._samples_per_batch} can't go on with"
            )
        self._skipped = state_dict["over"]

    @property
    def _samples_per_batch(self) -> int:
        """Over all processes."""
        sampler: Any = self.batch_sampler
        return int(sampler.batch_size * getattr(sampler.sampler, "num_replicas", 1))
