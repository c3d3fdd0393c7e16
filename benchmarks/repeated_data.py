"""A dataset for measurements that need a longer test than the usual one."""

from kindling.data import FashionMNIST
from kindling.data.loading import InMemory, take


class FashionMNISTTenTimes(FashionMNIST):
    """FashionMNIST with each test image repeated ten times."""

    test_set: InMemory

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "test":
            once = self.test_set
            x, y = take(once, range(len(once)))
            self.test_set = InMemory(x.repeat(10, 1, 1, 1), y.repeat(10))
