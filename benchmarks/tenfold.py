from kindling.data.fashion_mnist import FashionMNIST
from kindling.data.loading import InMemory


class Tenfold(FashionMNIST):
    """FashionMNIST with every test image ten times: long enough a test to measure."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "test":
            x, y = self.test_set.tensors
            self.test_set = InMemory(x.repeat(10, 1, 1, 1), y.repeat(10))
