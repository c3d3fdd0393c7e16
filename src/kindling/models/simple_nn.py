from torch import Tensor, nn

from kindling.models.base import SupervisedModule


class SimpleNN(SupervisedModule):
    """Two hidden values: the smallest network there is, trained by squared error.

    Args:
        in_features: Numbers per sample; inputs of more dimensions are flattened.
        num_outputs: As the loss needs.
    """

    default_loss = "MSELoss"
    default_lr = 1e-2

    def __init__(self, in_features: int = 2, num_outputs: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(in_features, 2), nn.ReLU(), nn.Linear(2, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, in_features) -> (B, num_outputs)
