from torch import Tensor, nn

from kindling.errors import DataError
from kindling.models.supervised import SupervisedModule


class Net(SupervisedModule):
    """LeNet-style: two convolutions with pooling, then three linear layers.

    Images of 28x28 get a margin of 2 pixels, as in LeNet-5, so that the layers are the same for both sizes.

    Args:
        in_channels: Colour channels of the images.
        image_size: Height and width of the images in pixels, 28 or 32.
        num_outputs: As the loss needs: for most, one per class.

    Raises:
        DataError: Images of another size.
    """

    def __init__(self, in_channels: int = 1, image_size: int = 28, num_outputs: int = 10) -> None:
        super().__init__()
        if image_size not in (28, 32):
            raise DataError(f"Net takes images of 28x28 or 32x32 pixels, not {image_size}x{image_size}")
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, 6, kernel_size=5, padding=(32 - image_size) // 2),  # (B, 6, 28, 28)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 6, 14, 14)
            nn.Conv2d(6, 16, kernel_size=5),  # (B, 16, 10, 10)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 16, 5, 5)
            nn.Flatten(),  # (B, 400)
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, in_channels, image_size, image_size) -> (B, num_outputs) logits
