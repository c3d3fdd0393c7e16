"""The base of all datasets."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from inspect import currentframe, signature
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import _IndexBatchSamplerWrapper
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.parsing import collect_init_args
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import IterableDataset, SequentialSampler

from kindling.console import say
from kindling.data.loading import (
    Batch,
    Batches,
    ByBatch,
    EpochShuffle,
    MapDataset,
    Remainder,
    ResumableBatches,
    Shares,
    StreamedBatches,
    global_seed,
)
from kindling.errors import UsageError
from kindling.facts import Facts

if TYPE_CHECKING:
    from kindling.data.images.pixels import ImageForm

LARGEST_BATCH = 2**31
UNTRAINED = 4  # times the batch size, where no gradients take up memory


class DataModule(LightningDataModule, ABC):
    """Turns bytes into batches. A concrete dataset states its facts and fills the four sets in ``setup``.

    A set is any ``Dataset`` with a length, whose items are ``(x, y)``, or ``x`` alone to predict. Tensors in memory
    (``InMemory``) are the fast case. The training set can also be a stream, an ``IterableDataset``: it is read from its
    beginning in each epoch, in the order that it has. What an item draws from the generators of ``random``, NumPy or
    torch depends on ``--seed_everything``, the epoch and the item's index alone, not on ``num_workers`` or the number
    of processes.

    A ``LightningDataModule`` that is no ``DataModule`` can be trained on as well, with the DataLoaders that it makes
    itself: Lightning shares their samples among processes, and the last may be used twice. With a property ``facts`` it
    tells a network its sizes. Resuming within an epoch then needs DataLoaders that have a ``state_dict``, and there
    are no pictures of mistakes and no export.

    Args:
        batch_size: Samples per batch and process.
        num_workers: Processes that read the samples of a ``Dataset`` ahead of time; ``InMemory`` needs none.
    """

    train_set: MapDataset
    val_set: MapDataset
    test_set: MapDataset
    predict_set: MapDataset
    decisions_file = "columns.csv"
    pixels = "pixels from 0 to 255: images, channels, rows, columns"  # what images are, before ``normalize``
    usual_image_size: int | None = None  # of the network, which says so before the facts are asked for

    def __init__(self, batch_size: int, num_workers: int = 0) -> None:
        super().__init__()
        *of_bases, own = collect_init_args(cast(FrameType, currentframe()), [], classes=(DataModule,))
        inherited = {name for arguments in of_bases for name in arguments} - own.keys()
        objects = [name for name, value in own.items() if not is_plain(value)]  # samples, transforms: no options
        self.save_hyperparameters(logger=False, ignore=[*inherited, *objects])
        if not 1 <= batch_size <= LARGEST_BATCH:
            raise UsageError(f"--data.batch_size {batch_size}: should be from 1 to {LARGEST_BATCH:,}")
        if num_workers < 0:
            raise UsageError(f"--data.num_workers {num_workers}: the number of processes is 0 or more")
        self.batch_size, self.num_workers = batch_size, num_workers

    @property
    def predict_needs(self) -> str:
        """Option that names the samples to predict, such as ``--data.samples FOLDER``, where there is no test set."""
        return ""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Sizes and names, known before any data is read or fetched."""

    @property
    def image_form(self) -> "ImageForm | None":
        """How any image file becomes the pixels of a sample, where samples are read from such files."""
        return None

    def normalize(self, x: Tensor) -> Tensor:
        """Raw inputs (B, ...) as stored, to what the network takes, float32 (B, ...); on x's device."""
        return x.float()

    def augment(self, x: Tensor) -> Tensor:
        """Raw inputs (B, ...) of training, to such as might have been among them; on x's device."""
        return x

    def describe(self, dataset: MapDataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        """Columns that tell some samples of one of the sets apart; they open ``predictions.csv``."""
        return {"sample": indices}

    def shuffle(self) -> EpochShuffle:
        """The order of the training samples, for the epochs of a run."""
        return EpochShuffle(self.train_set, global_seed())

    def decisions(self) -> tuple[list[str], dict[str, list[object]]]:
        """What was made of the data: lines for the screen, and columns for the run's ``decisions_file``."""
        return [], {}

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return tuple(t.to(device) for t in batch)  # Lightning's own looks for tensors in whatever a batch may be

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        x, *labels = batch
        if self.trainer and self.trainer.training:
            x = self.augment(x)
        x = self.normalize(x.float() if x.is_floating_point() else x)  # in full precision, which bf16-true has taken
        return self.trainer.precision_plugin.convert_input(x) if self.trainer else x, *labels

    def train_dataloader(self) -> ResumableBatches:
        if isinstance(self.train_set, IterableDataset):
            return self._streamed(self.train_set)
        size = len(self.train_set)
        usual = signature(type(self)).parameters.get("batch_size")  # which a small table may have less than
        if self.batch_size > size and usual and self.batch_size != usual.default:
            raise UsageError(f"--data.batch_size {self.batch_size}: there are only {size} training samples")
        if not self.num_workers and not isinstance(self.train_set, ByBatch) and suggested_max_num_workers(1) > 1:
            rank_zero_warn(
                f"{type(self).__name__} reads its samples in the process that trains, which may be slow: give "
                "DataModule.__init__ a num_workers above 0, for processes that read them ahead of time"
            )
        overfit = getattr(self.trainer, "overfit_batches", 0)
        order = SequentialSampler(self.train_set) if overfit else self.shuffle()
        return self._batches(self.train_set, order, self.batch_size)

    def val_dataloader(self) -> Batches:
        return self._batches(self.val_set)

    def test_dataloader(self) -> Batches:
        return self._batches(self.test_set)

    def predict_dataloader(self) -> Batches:
        batches = self._batches(self.predict_set, remainder="skip_empty")
        batches.batch_sampler = _IndexBatchSamplerWrapper(batches.batch_sampler)  # tells which samples a batch has
        return batches

    def _streamed(self, stream: IterableDataset[Batch]) -> StreamedBatches:
        """
        Raises:
            UsageError: Worker processes should read it, each of which would read all of it.
        """
        if self.num_workers:
            raise UsageError(
                f"--data.num_workers {self.num_workers}: the process that trains reads a stream itself: leave it out"
            )
        say(
            f"The training set is a stream, {type(stream).__name__}: not shuffled, and read from its beginning in each "
            "epoch, also to resume within one, which is exact if it yields the same samples again"
        )
        if self.trainer is None:
            return StreamedBatches(stream, self.batch_size)
        uneven = getattr(self.trainer.lightning_module, "takes_uneven_batches", False)
        return StreamedBatches(stream, self.batch_size, self.trainer.global_rank, self.trainer.world_size, uneven)

    def _batches(
        self,
        dataset: MapDataset,
        order: EpochShuffle | SequentialSampler | None = None,
        batch_size: int | None = None,
        remainder: Remainder = "pad",
    ) -> Batches:
        """This process's; ``remainder`` is for a network that can't take an empty batch."""
        order, batch_size = order or SequentialSampler(dataset), batch_size or UNTRAINED * self.batch_size
        if self.trainer is None:
            return Batches(dataset, Shares(order, batch_size), self.num_workers)
        network, world = self.trainer.lightning_module, self.trainer.world_size
        if getattr(network, "takes_uneven_batches", False):
            remainder = "uneven"
        elif remainder == "pad" and self.trainer.state.fn != "fit" and (missing := -len(order) % world):
            say(
                f"{missing} of the samples count twice, so that all processes have as many: "
                f"{type(network).__name__} does not say takes_uneven_batches"
            )
        shares = Shares(order, batch_size, self.trainer.global_rank, world, remainder)
        return Batches(dataset, shares, self.num_workers)


def is_plain(value: object) -> bool:
    """Whether a value is made of what YAML can hold."""
    return all(isinstance(leaf, bool | int | float | str | Path | None) for leaf in tree_leaves(value))
