from itertools import pairwise

import torch
from torch import Tensor, nn

from kindling.errors import UsageError
from kindling.models.base import SupervisedModule


class WideResNet(SupervisedModule):
    """Wide residual network for small images (Zagoruyko and Komodakis, arXiv:1605.07146); made for a GPU.

    Args:
        in_channels: Colour channels of the images.
        num_outputs: As the loss needs: for most, one per class.
        depth: Convolutions in sequence: 6 n + 4 with n blocks a stage, so 10, 16, 22, 28, ...
        width: Times the 16, 32 and 64 channels of the three stages.
        dropout: Share of the numbers inside each block that training leaves out.
    """

    default_lr = 1e-3

    def __init__(
        self, in_channels: int = 1, num_outputs: int = 10, depth: int = 16, width: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise UsageError(f"--model.depth {depth}: three stages of equal length have 10, 16, 22, 28, ...")
        channels = (16, 16 * width, 32 * width, 64 * width)
        blocks = []
        for stage, (before, after) in enumerate(pairwise(channels)):
            blocks.append(Block(before, after, 1 if stage == 0 else 2, dropout))
            blocks += [Block(after, after, 1, dropout) for _ in range((depth - 4) // 6 - 1)]
        network = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1, bias=False),
            *blocks,  # (B, 64 width, H / 4, W / 4)
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels[-1], num_outputs),
        )
        self.net = network.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, in_channels, H, W) -> (B, num_outputs) logits


class Block(nn.Module):
    """Two convolutions, each after its normalisation and ReLU, beside a way that leaves them out."""

    def __init__(self, before: int, after: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.rest = nn.Sequential(
            nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
        )
        same = before == after and stride == 1
        self.past = nn.Identity() if same else nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)  # (B, before, H, W)
        past = x if isinstance(self.past, nn.Identity) else self.past(y)
        return past + self.rest(y)  # (B, after, H / stride, W / stride)
