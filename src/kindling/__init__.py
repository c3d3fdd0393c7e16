"""Kindling: a PyTorch Lightning project to start from and keep.

    run = kindling.fit(kindling.models.SimpleNet, kindling.data.SyntheticTabular, max_epochs=5)
    run.test()
    model, data = kindling.load("lightning_logs/version_0")

``kindling.models`` and ``kindling.data`` hold what there is to train; the command line does the same as ``fit``.
"""

import sys
import warnings
from importlib import import_module
from typing import Any

__all__ = ["data", "fit", "load", "models", "tune"]
__version__ = "0.2.0"

LATE = {  # on first use: they need torch, and naming the package should not
    "fit": "kindling.training.python",
    "load": "kindling.training.python",
    "tune": "kindling.cli.tune",
}

if "ipykernel" in sys.modules:  # a notebook; without ipywidgets it has a bar of letters, which needs no warning
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        import_module("tqdm.auto")


def __getattr__(name: str) -> Any:
    if name in LATE:
        with import_module("kindling.startup").quick_imports():
            return getattr(import_module(LATE[name]), name)
    if name in ("data", "models"):
        return import_module(f"kindling.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
