from torch import Tensor, nn

from kindling.models.base import SupervisedModule


class SequentialNN(SupervisedModule):
    """Five hidden values and one probability: the 10-5-1 network of the catalogue of losses.

    The sigmoid at its end belongs to the loss here, so that every loss for two classes can train it.

    Args:
        in_features: Numbers per sample; inputs of more dimensions are flattened.
        num_outputs: As the loss needs.
    """

    default_loss = "BCELoss"
    default_lr = 1e-2

    def __init__(self, in_features: int = 10, num_outputs: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(in_features, 5), nn.ReLU(), nn.Linear(5, num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, in_features) -> (B, num_outputs)
