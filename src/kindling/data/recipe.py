"""The base of all datasets: tensors in memory, cut into batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from inspect import signature
from itertools import islice
from os import environ
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

from kindling.errors import UsageError
from kindling.facts import Facts

# Inputs (B, ...) float32 or uint8, then where they are known the targets (B,): labels int64, or numbers float32
Batch = tuple[Tensor, ...]

LARGEST = torch.finfo(torch.float32).max ** 0.5  # 1.8e19, whose square a float32 still holds, for errors and scores
UNTRAINED = 4  # times the batch size, where no gradients take up memory


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


class Recipe(LightningDataModule, ABC):
    """Turns bytes into batches. A concrete recipe states its facts and fills the four sets in ``setup``."""

    shares_batches = False  # whether the network takes batches of which one process has less than others, or none

    train_set: InMemory
    val_set: InMemory
    test_set: InMemory
    predict_set: InMemory

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        if batch_size < 1:
            raise UsageError(f"--data.batch_size {batch_size}: a batch has at least 1 sample")
        self.batch_size = batch_size

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Sizes and names, known before any data is read or fetched."""

    @abstractmethod
    def normalize(self, x: Tensor) -> Tensor:
        """Raw inputs (B, ...) as stored, to what the network takes, float32 (B, ...); on x's device."""

    def augment(self, x: Tensor) -> Tensor:
        """Raw inputs (B, ...) of training, to such as might have been among them; on x's device."""
        return x

    @abstractmethod
    def describe(self, samples: InMemory) -> dict[str, Sequence[object]]:
        """Columns that tell the samples of one of the sets apart, in order; they open ``predictions.csv``."""

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return tuple(t.to(device) for t in batch)  # Lightning's own looks for tensors in whatever a batch may be

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        x, *labels = batch
        if self.trainer and self.trainer.training:
            x = self.augment(x)
        x = self.normalize(x.float() if x.is_floating_point() else x)  # in full precision, which bf16-true has taken
        return self.trainer.precision_plugin.convert_input(x) if self.trainer else x, *labels

    def train_dataloader(self) -> DataLoader[Batch]:
        usual = signature(type(self)).parameters.get("batch_size")  # which a small table may have less than
        if self.batch_size > len(self.train_set) and usual and self.batch_size != usual.default:
            there = f"there are only {len(self.train_set)} training samples"
            raise UsageError(f"--data.batch_size {self.batch_size}: {there}")
        # Lightning's own samplers take the seed from the same place
        return self._loader(self.train_set, EpochShuffle(self.train_set, int(environ.get("PL_GLOBAL_SEED", 0))))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.test_set)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.predict_set)

    def _loader(self, dataset: InMemory, shuffle: EpochShuffle | None = None) -> DataLoader[Batch]:
        batch_size = self.batch_size if shuffle else UNTRAINED * self.batch_size
        if not (self.shares_batches and self.trainer and self.trainer.world_size > 1):
            return Batches(dataset, batch_size=batch_size, sampler=shuffle)
        order = shuffle if shuffle and not getattr(self.trainer, "overfit_batches", 0) else SequentialSampler(dataset)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        return Batches(dataset, batch_sampler=Shares(order, batch_size, rank=rank, world=world))


@rank_zero_only
def say(line: str) -> None:
    """Print it, once however many processes there are."""
    print(line)
