"""The other side: plain PyTorch, as a tutorial writes it, and as a careful programmer does by hand.

Nothing here knows Kindling. The networks are its networks, with the weights that its default seed gives them, and the
loops draw its order of batches, so that both sides do the same arithmetic.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, RandomSampler, Subset
from torchvision import datasets, transforms
from torchvision.transforms import v2

SEED = 42
MEAN, STD = 0.2860, 0.3530  # FashionMNIST's training pixels in [0, 1]
IMAGE_NET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and standard deviation of its colours
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Images = Subset[tuple[Tensor, int]]


def simple_net() -> nn.Sequential:
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2)).to(DEVICE)


def net() -> nn.Sequential:
    torch.manual_seed(SEED)
    return nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    ).to(DEVICE)


def neural_network() -> nn.Sequential:
    torch.manual_seed(SEED)
    layers = [nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers).to(DEVICE)


# The tutorial's way: torchvision's dataset, a transform an image, a DataLoader


def fashion_mnist(root: str, train: bool) -> datasets.FashionMNIST:
    to_input = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    return datasets.FashionMNIST(root, train=train, transform=to_input, download=True)


def split(images: datasets.FashionMNIST, val_size: int) -> tuple[Images, Images]:
    """The images for training, and those for validation."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).tolist()
    return Subset(images, order[val_size:]), Subset(images, order[:val_size])


def train_with_loader(
    network: nn.Module,
    optimizer: Optimizer,
    train: Images,
    val: Images,
    epochs: int,
    batch_size: int,
    batches: int | None = None,
) -> float:
    """Train, and return the mean loss of the last epoch, of whose ``batches`` no more are used."""
    generator = torch.Generator()
    loader = DataLoader(train, batch_size=batch_size, sampler=RandomSampler(train, generator=generator))
    val_loader = DataLoader(val, batch_size=batch_size)
    loss = 0.0
    for epoch in range(epochs):
        generator.manual_seed(SEED + epoch)
        loss = train_epoch(network, optimizer, islice(loader, batches))
        accuracy(network, val_loader)
    return loss


def train_epoch(network: nn.Module, optimizer: Optimizer, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Go over these batches once, and return the mean loss of their samples."""
    loss_of = nn.CrossEntropyLoss()
    network.train()
    total, seen = 0.0, 0
    for x, y in batches:
        x, y = x.to(DEVICE), y.to(DEVICE)
        optimizer.zero_grad()
        loss = loss_of(network(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        seen += len(y)
    return total / seen


def accuracy(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    network.eval()
    right, seen = 0, 0
    with torch.no_grad():
        for x, y in batches:
            right += int((network(x.to(DEVICE)).argmax(dim=1) == y.to(DEVICE)).sum())
            seen += len(y)
    return right / seen


def score(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float, float, Tensor]:
    """Loss, accuracy, macro F1 and the confusion matrix (10, 10), a row a true class."""
    network.eval()
    loss, logits, labels = 0.0, [], []
    with torch.no_grad():
        for x, y in batches:
            x, y = x.to(DEVICE), y.to(DEVICE)
            logits.append(network(x))
            labels.append(y)
            loss += nn.functional.cross_entropy(logits[-1], y, reduction="sum").item()
    predicted, true = torch.cat(logits).argmax(dim=1), torch.cat(labels)
    confusion = torch.bincount(true * 10 + predicted, minlength=100).view(10, 10)
    right = confusion.diag()
    f1 = 2 * right / (confusion.sum(dim=0) + confusion.sum(dim=1)).clamp(min=1)
    return loss / len(true), float(right.sum()) / len(true), float(f1.mean()), confusion


def photos(root: str | Path, size: int, flip: float = 0) -> tuple[datasets.ImageFolder, datasets.ImageFolder]:
    """Those in ``root/train``, each mirrored with that probability, and those in ``root/val``: their middle square."""
    crop = [v2.Resize(size), v2.CenterCrop(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    same = v2.Compose([*crop, v2.Normalize(*IMAGE_NET)])
    changed = v2.Compose([v2.RandomHorizontalFlip(flip), same]) if flip else same
    return datasets.ImageFolder(str(Path(root, "train")), changed), datasets.ImageFolder(str(Path(root, "val")), same)


# By hand: tensors in memory, on the device, and a batch is one indexing operation


def as_input(x: Tensor) -> Tensor:
    """Images (B, 1, 28, 28) uint8 to what the network takes."""
    return (x.float() / 255 - MEAN) / STD


def train_in_memory(
    network: nn.Module,
    optimizer: Optimizer,
    train: tuple[Tensor, ...],
    val: tuple[Tensor, ...],
    epochs: int,
    batch_size: int,
    batches: int | None = None,
    prepare: Callable[[Tensor], Tensor] = as_input,
) -> float:
    """Train, and return the mean loss of the last epoch, of whose ``batches`` no more are used."""
    loss_of = nn.CrossEntropyLoss()
    x, y = (t.to(DEVICE) for t in train)
    val_x, val_y = (t.to(DEVICE) for t in val)
    for epoch in range(epochs):
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(SEED + epoch)).to(DEVICE)
        network.train()
        losses, sizes = [], []
        for rows in order.split(batch_size)[:batches]:
            optimizer.zero_grad()
            loss = loss_of(network(prepare(x[rows])), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())  # read off the device when the epoch is over
            sizes.append(len(rows))
        accuracy(network, ((prepare(a), b) for a, b in zip(val_x.split(1024), val_y.split(1024), strict=True)))
    return float(torch.stack(losses) @ torch.tensor(sizes, dtype=torch.float32, device=DEVICE)) / sum(sizes)
