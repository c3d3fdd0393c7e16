"""The first tutorial as a script of its own: 800 made-up products, a 2-32-2 network, SGD, 10 epochs, the test accuracy.

It imports what such a script imports, and neither draws, logs nor keeps anything.
"""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

LOW, HIGH = torch.tensor([1.0, 1.0]), torch.tensor([10.0, 5.0])  # price, rating


def products(count: int) -> TensorDataset:
    """Popular where price + rating > 10."""
    x = LOW + (HIGH - LOW) * torch.rand(count, 2)
    return TensorDataset(x, (x.sum(dim=1) > 10).long())


def main() -> float:
    """The test accuracy."""
    torch.manual_seed(42)
    train, val, test = products(800), products(200), products(200)
    network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(train, batch_size=32, shuffle=True)
    for epoch in range(10):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss: Tensor = loss_of(network(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        print(f"epoch {epoch + 1}: loss {total / len(train):.4f}, validation accuracy {accuracy(network, val):.4f}")
    return accuracy(network, test)


def accuracy(network: nn.Module, products: TensorDataset) -> float:
    with torch.no_grad():
        right = sum(int((network(x).argmax(dim=1) == y).sum()) for x, y in DataLoader(products, batch_size=32))
    return right / len(products)


if __name__ == "__main__":
    print(f"test accuracy {main():.4f}")
