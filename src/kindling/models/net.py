from itertools import pairwise

import torch
from torch import Tensor, nn

from kindling.errors import DataError, UsageError
from kindling.models.base import SupervisedModule


class Net(SupervisedModule):
    """LeNet-style: two convolutions with pooling, then linear layers.

    Images of 28x28 get a margin of 2 pixels, as in LeNet-5, so that the layers are the same for both sizes.

    Args:
        in_channels: Colour channels of the images.
        image_size: Height and width of the images in pixels, 28 or 32.
        num_outputs: As the loss needs: for most, one per class.
        channels: Of the two convolutions.
        widths: Of the hidden linear layers, first to last.
        activation: Name of a layer of torch.nn.
        norm: Whether each hidden layer normalises over the batch.
        dropout: Share of the numbers going into each linear layer that training leaves out.
        mirror: Whether the trained network looks at each image and its mirror image, and takes the mean.

    Raises:
        DataError: Images of another size.
        UsageError: There is no such activation.
    """

    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        num_outputs: int = 10,
        channels: tuple[int, int] = (6, 16),
        widths: tuple[int, ...] = (120, 84),
        activation: str = "ReLU",
        norm: bool = False,
        dropout: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise DataError(f"Net takes images of 28x28 or 32x32 pixels, not {image_size}x{image_size}")
        if not hasattr(nn.modules.activation, activation):
            raise UsageError(f"--model.activation {activation}: torch.nn has no such activation; ReLU, SiLU, ...")
        active = getattr(nn, activation)
        first, second = channels
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, first, kernel_size=5, padding=(32 - image_size) // 2),  # (B, first, 28, 28)
            *([nn.BatchNorm2d(first)] if norm else []),
            active(),
            nn.MaxPool2d(2),  # (B, first, 14, 14)
            nn.Conv2d(first, second, kernel_size=5),  # (B, second, 10, 10)
            *([nn.BatchNorm2d(second)] if norm else []),
            active(),
            nn.MaxPool2d(2),  # (B, second, 5, 5)
            nn.Flatten(),
        ]
        sizes = (second * 5 * 5, *widths)
        for a, b in pairwise(sizes):
            layers += [nn.Dropout(dropout)] if dropout else []
            layers += [nn.Linear(a, b), *([nn.BatchNorm1d(b)] if norm else []), active()]
        layers += [nn.Dropout(dropout)] if dropout else []
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], num_outputs))
        self.net = network.to(memory_format=torch.channels_last)  # 1.2 x the images/s in training, 1.4 x in testing
        self.mirror = mirror

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.net(x)  # (B, in_channels, image_size, image_size) -> (B, num_outputs) logits
        if self.mirror and not self.training:
            outputs = (outputs + self.net(x.flip(3))) / 2
        return outputs
