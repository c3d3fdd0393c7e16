"""Random changes to a batch of images (B, C, H, W) on its device, that leave the class as it is."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def flip(x: Tensor) -> Tensor:
    """Half of the images, left to right."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(3), x)


def shift(x: Tensor, pixels: int) -> Tensor:
    """Each image by up to ``pixels`` up or down and left or right; what comes in from outside is 0."""
    height, width = x.shape[2:]
    places = pad(x, (pixels,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, H, W), a view
    down, right = torch.randint(0, 2 * pixels + 1, (2, len(x)), device=x.device)
    return places[torch.arange(len(x), device=x.device), :, down, right]
