"""Kindling: a PyTorch Lightning project to start from and keep.

``kindling.load`` reads a finished run back; everything else is reached from the command line, or imported from
``kindling.models`` and ``kindling.data``.
"""

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # on first use: it needs torch, and naming the package should not
        from kindling.training.load import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
