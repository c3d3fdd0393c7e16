"""Random changes to a batch of images (B, C, H, W) on its device, that leave the class as it is."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad


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


def crop(x: Tensor, least: float = 0.35) -> Tensor:
    """A part of each image at random, of ``least`` to all of its area, 3:4 to 4:3, at the size of the whole; float32.

    As torchvision's ``RandomResizedCrop`` does, but for all images at once, each with a part of its own.
    """
    area, shape, down, right = torch.rand(4, len(x), device=x.device)
    area, ratio = least + (1 - least) * area, (4 / 3) ** (2 * shape - 1)
    width, height = ((area * r).sqrt().clamp(max=1) for r in (ratio, 1 / ratio))  # of the part, in shares of the whole
    zero = torch.zeros_like(area)
    rows = [width, zero, (2 * right - 1) * (1 - width), zero, height, (2 * down - 1) * (1 - height)]
    grid = affine_grid(torch.stack(rows, dim=1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
