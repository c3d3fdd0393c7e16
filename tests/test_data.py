import torch

from kindling.data import augment


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
