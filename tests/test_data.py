from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kindling.data import SyntheticTabular, augment
from kindling.data.base import DataModule
from kindling.facts import Facts


def test_flipped_and_shifted_images_are_the_images() -> None:
    torch.manual_seed(0)
    x = torch.randint(1, 256, (400, 1, 6, 5), dtype=torch.uint8)
    flipped = augment.flip(x)
    turned = (flipped == x.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(flipped[~turned], x[~turned])
    assert 150 < turned.sum() < 250
    shifted = augment.shift(x, 2)
    places = {
        (down, right): torch.nn.functional.pad(x, (2,) * 4)[:, :, 2 + down : 8 + down, 2 + right : 7 + right]
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    matches = torch.stack([(shifted == placed).flatten(1).all(dim=1) for placed in places.values()])  # (25, 400)
    assert (matches.sum(dim=0) == 1).all()
    assert (matches.sum(dim=1) > 4).all()  # each place some 16 times


class OfObjects(DataModule):
    """Keeps a text, and something that no file can hold."""

    def __init__(self, train: str, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__(batch_size=1)

    @property
    def facts(self) -> Facts:
        return Facts(in_features=1)


def test_hparams_are_the_arguments_of_the_class_itself() -> None:
    class Small(SyntheticTabular):
        def __init__(self, size: int = 8) -> None:
            super().__init__(train_size=size)

    class Seeded(SyntheticTabular):
        def __init__(self, seed: int = 3, **options: Any) -> None:
            super().__init__(seed=seed, **options)

    assert dict(Small(9).hparams) == {"size": 9}
    assert dict(OfObjects("lists/train.txt", lambda x: x).hparams) == {"train": "lists/train.txt"}
    assert "num_workers" not in SyntheticTabular().hparams
    again = Seeded(**Seeded(batch_size=4).hparams)
    assert (again.batch_size, again.seed) == (4, 3)
