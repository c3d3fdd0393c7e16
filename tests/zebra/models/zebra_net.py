from torch import Tensor, nn

from kindling.models.base import SupervisedModule


class ZebraNet(SupervisedModule):
    """Tells zebras from horses.

    Args:
        hidden: Units of the hidden layer.
    """

    def __init__(self, in_features: int, hidden: int = 8, num_outputs: int = 2) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Unlisted(ZebraNet):
    """Has no name yet."""


class Unfinished(SupervisedModule):
    """Has no forward yet."""
