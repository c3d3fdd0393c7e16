"""The tutorials' loop inside an Optuna study, as a script of its own: SimpleNet on 800 products, Net on FashionMNIST.

It imports what such a script imports, keeps its trials in memory and saves no network.
"""

import sys
from collections.abc import Callable, Iterable
from itertools import islice

import optuna
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader

SEED = 42
LR, HIDDEN, DECAY = (1e-4, 1e-1), (8, 128), (1e-6, 1e-2)
Batches = Iterable[tuple[Tensor, Tensor]]


def search_simple_net(trials: int, epochs: int) -> None:
    from benchmarks.tutorial import products

    torch.manual_seed(SEED)
    train, val = products(800), products(200)

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(SEED)
        hidden = trial.suggest_int("hidden", *HIDDEN)
        network = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        optimizer = Adam(network.parameters(), lr=trial.suggest_float("lr", *LR, log=True))
        return trained(network, optimizer, DataLoader(train, 32, shuffle=True), DataLoader(val, 32), epochs)

    search(objective, trials)


def search_net(root: str, val_size: int, trials: int, epochs: int, batches: int) -> None:
    from benchmarks import plain

    train, val = plain.split(plain.fashion_mnist(root, train=True), val_size)

    def objective(trial: optuna.Trial) -> float:
        network = plain.net().cpu()
        decay, lr = trial.suggest_float("weight_decay", *DECAY, log=True), trial.suggest_float("lr", *LR, log=True)
        optimizer = Adam(network.parameters(), lr=lr, weight_decay=decay)
        return trained(network, optimizer, DataLoader(train, 64, shuffle=True), DataLoader(val, 64), epochs, batches)

    search(objective, trials)


def search(objective: Callable[[optuna.Trial], float], trials: int) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=SEED))
    study.optimize(objective, n_trials=trials)
    print(f"best: trial {study.best_trial.number}, {study.best_value}, {study.best_params}")


def trained(
    network: nn.Module, optimizer: Optimizer, train: Batches, val: Batches, epochs: int, batches: int | None = None
) -> float:
    """The validation accuracy in the end."""
    loss_of = nn.CrossEntropyLoss()
    score = 0.0
    for epoch in range(epochs):
        network.train()
        total = 0.0
        for x, y in islice(train, batches):
            optimizer.zero_grad()
            loss: Tensor = loss_of(network(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        score = accuracy(network, val)
        print(f"epoch {epoch + 1}: sum of losses {total:.4f}, validation accuracy {score:.4f}")
    return score


def accuracy(network: nn.Module, batches: Batches) -> float:
    network.eval()
    right, seen = 0, 0
    with torch.no_grad():
        for x, y in batches:
            right += int((network(x).argmax(dim=1) == y).sum())
            seen += len(y)
    return right / seen


if __name__ == "__main__":
    if len(sys.argv) == 3:
        search_simple_net(*map(int, sys.argv[1:]))
    else:
        search_net(sys.argv[1], *map(int, sys.argv[2:]))
