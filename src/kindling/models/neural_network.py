from itertools import pairwise

from torch import Tensor, nn

from kindling.models.base import SupervisedModule


class NeuralNetwork(SupervisedModule):
    """ReLU multi-layer perceptron over the flattened input.

    Args:
        in_features: Numbers per sample, after flattening.
        widths: Width of each hidden layer, first to last.
        num_outputs: As the loss needs: for most, one per class.
    """

    def __init__(self, in_features: int = 784, widths: tuple[int, ...] = (512, 512), num_outputs: int = 10) -> None:
        super().__init__()
        hidden = [layer for a, b in pairwise((in_features, *widths)) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(nn.Flatten(), *hidden, nn.Linear((in_features, *widths)[-1], num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, ...) -> (B, in_features) -> (B, num_outputs) logits
