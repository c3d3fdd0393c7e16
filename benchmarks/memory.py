"""``fit --model Net`` takes at most three times FashionMNIST's size as uint8, beyond the modules it imports.

The peak of resident memory (Linux's VmHWM) of a process that trains for some batches with all the data loaded, less
that of a process that imports exactly the same modules and does nothing; as a multiple of the 60,000 training images'
47 MB. The tutorial's torchvision loop stands beside it, less its own imports.
"""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Result, Target, present, process, workplace

REPORT = Path("memory.json")
DATA_SET = 60_000 * 28 * 28  # bytes


def measure(repeats: int = 2, batches: int = 100, val_size: int = 5000) -> list[Result]:
    peaks: dict[str, list[int]] = {"ours": [], "loop": []}
    imports = {}
    with workplace() as root:
        for _ in range(repeats):
            for work in peaks:
                peak, modules = peak_of(work, root, batches, val_size)
                peaks[work].append(peak)
                if work not in imports:  # always the same
                    imports[work], _ = peak_of(f"imports of {work}", *modules)
    ours, loop = ([(peak - imports[work]) / DATA_SET for peak in peaks[work]] for work in peaks)
    claim = "fit --model Net, memory beyond imports / the tutorial's loop"
    return [Result(claim, "x the data set", ours, loop, Target("<=", 3, of="ours"))]


def peak_of(*work: str | int) -> tuple[int, list[str]]:
    """Peak in bytes, and the modules that were imported, of a process that does one of the works below."""
    process(sys.executable, "-c", f"from benchmarks import memory; memory.child(*{work!r})")
    peak, modules = json.loads(REPORT.read_text(encoding="utf-8"))
    return peak, modules


def child(work: str, *args: str | int) -> None:
    works: dict[str, Callable[..., None]] = {
        "ours": train_ours,
        "loop": train_loop,
        "imports of ours": import_ours,
        "imports of loop": import_all,
    }
    works[work](*args)
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items()}
    # what bears another name, or none, was made by a module that is among them
    modules = [name for name, spec in specs.items() if spec and spec.name == name]
    REPORT.write_text(json.dumps([own_peak(), modules]), encoding="utf-8")


def own_peak() -> int:
    """Of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024


def train_ours(root: str, batches: int, val_size: int) -> None:
    from kindling.cli import main

    options = ("--data.root", root, "--data.val_size", str(val_size), "--trainer.max_epochs", "1")
    code = main(["fit", "--model", "Net", *options, "--trainer.limit_train_batches", str(batches)])
    if code != 0:
        sys.exit(code)


def train_loop(root: str, batches: int, val_size: int) -> None:
    import torch

    from benchmarks import plain

    network = plain.net()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    train, val = plain.split(plain.fashion_mnist(root, train=True), val_size)
    plain.train_with_loader(network, optimizer, train, val, epochs=1, batch_size=64, batches=batches)


def import_ours(*modules: str) -> None:
    from kindling.startup import quick_imports

    with quick_imports():  # as the command line does; without it Lightning imports what ours has not
        import_all(*modules)


def import_all(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


if __name__ == "__main__":
    present(measure)
