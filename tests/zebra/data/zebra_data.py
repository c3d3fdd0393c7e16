import torch

from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.facts import Facts


class ZebraData(DataModule):
    """Made-up zebras.

    Args:
        count: How many.
    """

    def __init__(self, batch_size: int = 32, count: int = 60) -> None:
        super().__init__(batch_size)
        self.count = count

    @property
    def facts(self) -> Facts:
        return Facts(in_features=3, class_names=("horse", "zebra"))

    def setup(self, stage: str) -> None:
        x = torch.randn(self.count, 3, generator=torch.Generator().manual_seed(0))
        y = (x[:, 0] > 0).long()
        self.train_set = self.val_set = self.test_set = self.predict_set = InMemory(x, y)
