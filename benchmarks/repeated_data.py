"""A dataset for measurements that need a longer test than the usual one."""

from kindling.data import FashionMNIST
from kindling.data.loading import InMemory, take


class FashionMNISTTenTimes(FashionMNIST):
    """FashionMNIST with each test image repeated ten times."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "test":
            x, y = take(self.test_set, range(len(self.test_set)))
            self.test_set = InMemory(x.repeat(10, 1, 1, 1), y.repeat(10))
