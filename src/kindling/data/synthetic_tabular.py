from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kindling.data.base import DataModule
from kindling.data.loading import InMemory, take
from kindling.errors import DataError
from kindling.facts import LARGEST, Facts

LOW, HIGH = (1.0, 1.0), (10.0, 5.0)  # price, rating
MOST = 10**12  # far beyond any memory, and not beyond what torch can count
MEAN, STD = (5.5, 3.0), (2.5981, 1.1547)  # of these uniform distributions: (low + high) / 2, (high - low) / sqrt(12)


class SyntheticTabular(DataModule):
    """Made-up products: popular where price + rating > 10.

    Price is uniform in 1 to 10, rating uniform in 1 to 5. The three sets are drawn one after the other from one stream
    of random numbers, so another ``train_size`` gives other validation and test samples.

    Args:
        train_size: Training samples.
        val_size: Validation samples.
        test_size: Test samples; also the predict set unless ``samples`` are given.
        batch_size: Samples per batch.
        seed: Draws the products, independent of ``--seed_everything``.
        standardize: Whether the network sees features of mean 0 and standard deviation 1 instead of raw ones.
        samples: Products to predict, as rows [price, rating].

    Raises:
        DataError: There is no row in ``samples``, or one that doesn't have two numbers.
    """

    def __init__(
        self,
        train_size: int = 800,
        val_size: int = 200,
        test_size: int = 200,
        batch_size: int = 32,
        seed: int = 0,
        standardize: bool = True,
        samples: list[list[float]] | None = None,
    ) -> None:
        super().__init__(batch_size)
        self.sizes = train_size, val_size, test_size
        for option, size in zip(("train_size", "val_size", "test_size"), self.sizes, strict=True):
            if not 1 <= size <= MOST:
                raise DataError(f"--data.{option} {size}: at least 1 sample is needed, and at most {MOST:,} samples")
        if samples is not None and not samples:
            raise DataError("--data.samples []: holds no product to predict: name some, as in [[7.5, 3.0]]")
        for row in samples or []:
            if len(row) != 2:
                raise DataError(f"--data.samples: {row} is not one price and one rating, as in [[7.5, 3.0]]")
            if not all(abs(value) <= LARGEST for value in row):  # nor where it is no number
                raise DataError(f"--data.samples: {row} should be two numbers, neither beyond {LARGEST:.1e}")
        self.seed, self.standardize, self.samples = seed, standardize, samples

    @property
    def facts(self) -> Facts:
        return Facts(in_features=2, class_names=("not popular", "popular"), feature_names=("price", "rating"))

    def setup(self, stage: str) -> None:
        stream = torch.Generator().manual_seed(self.seed)
        low, high = torch.tensor(LOW), torch.tensor(HIGH)
        x = low + (high - low) * torch.rand(sum(self.sizes), 2, generator=stream)  # (N, 2)
        y = self.rule(x)  # (N,)
        sets = zip(torch.split(x, [*self.sizes]), torch.split(y, [*self.sizes]), strict=True)
        self.train_set, self.val_set, self.test_set = (InMemory(*pair) for pair in sets)
        self.predict_set = InMemory(torch.tensor(self.samples)) if self.samples else self.test_set

    def normalize(self, x: Tensor) -> Tensor:
        return (x - x.new_tensor(MEAN)) / x.new_tensor(STD) if self.standardize else x  # (B, 2)

    @staticmethod
    def rule(x: Tensor) -> Tensor:
        """Raw features (N, 2) to labels (N,) int64; pictures of the network's own boundary show this one beside it."""
        return (x.sum(dim=1) > 10).long()

    def describe(self, dataset: Dataset, indices: Sequence[int]) -> dict[str, Sequence[object]]:
        x, *labels = take(dataset, indices)
        columns: dict[str, Sequence[object]] = {"price": x[:, 0].tolist(), "rating": x[:, 1].tolist()}
        if labels:
            columns["label"] = [self.facts.class_names[i] for i in labels[0].tolist()]
        return columns
