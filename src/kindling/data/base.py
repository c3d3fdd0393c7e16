"""The base of all datasets."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import signature
from os import environ

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from kindling.data.loading import Batch, Batches, EpochShuffle, InMemory, Shares
from kindling.errors import UsageError
from kindling.facts import Facts

LARGEST = torch.finfo(torch.float32).max ** 0.5  # 1.8e19, whose square a float32 still holds, for errors and scores
UNTRAINED = 4  # times the batch size, where no gradients take up memory


class DataModule(LightningDataModule, ABC):
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

    def describe(self, dataset: Dataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        """Columns that tell some samples of one of the sets apart; they open ``predictions.csv``."""
        return {"sample": indices}

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
