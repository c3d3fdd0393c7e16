"""The base of all datasets: tensors in memory, cut into batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from os import environ
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from kindling.errors import UsageError
from kindling.facts import Facts

# Inputs (B, ...) float32 or uint8, then where they are known the targets (B,): labels int64, or numbers float32
Batch = tuple[Tensor, ...]

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
        chosen = torch.tensor(indices)
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


class Batches(DataLoader[Batch]):
    """Indexes in memory, without what torch's iterator does at each batch for worker processes and its profiler."""

    dataset: InMemory

    def __iter__(self) -> Any:
        return map(self.dataset.__getitems__, self.batch_sampler or ())


class Recipe(LightningDataModule, ABC):
    """Turns bytes into batches. A concrete recipe states its facts and fills the four sets in ``setup``."""

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
        # Lightning's own samplers take the seed from the same place
        return self._loader(self.train_set, EpochShuffle(self.train_set, int(environ.get("PL_GLOBAL_SEED", 0))))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.test_set)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.predict_set)

    def _loader(self, dataset: InMemory, sampler: EpochShuffle | None = None) -> DataLoader[Batch]:
        batch_size = self.batch_size if sampler else UNTRAINED * self.batch_size
        return Batches(dataset, batch_size=batch_size, sampler=sampler)
