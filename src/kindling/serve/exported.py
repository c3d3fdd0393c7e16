"""An exported folder, as the server needs it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kindling.errors import RunError, UsageError
from kindling.export import check
from kindling.export.check import FORMAT

FILES = ("model.onnx", "model.pt2")  # the first that is there is served
Array = NDArray[Any]


@dataclass(frozen=True)
class Exported:
    """
    Args:
        file: The network.
        description: The content of ``preprocessing.json``.
        card: The model card.
        network: Raw inputs (N, ...) to predictions (N, ...).
    """

    file: Path
    description: dict[str, Any]
    card: str
    network: Callable[[Array], NDArray[np.float32]]

    @classmethod
    def read(cls, folder: Path) -> "Exported":
        """
        Raises:
            UsageError: There is no such folder, or the package that its file needs is missing.
            RunError: A file is missing, damaged, or from an older version.
        """
        if not folder.is_dir():
            raise UsageError(f"--export {folder}: there is no such folder: name one that export has written")
        file = network_file(folder)
        if file is None:
            raise RunError(f"{folder} has neither {' nor '.join(FILES)}: export the network with --format onnx")
        description, card = describe(folder), folder / "MODEL_CARD.md"
        try:
            network = check.load(file)
        except ImportError as error:
            package = "onnxruntime" if file.suffix == ".onnx" else "torch"
            raise UsageError(f"{file} needs {package}: pip install {package} ({error})") from error
        except Exception as error:  # the packages raise whatever they stumble over
            why = " ".join(str(error).split())[:200]
            raise RunError(f"{file} can't be read ({why}): export the network anew") from error
        return cls(file, description, card.read_text(encoding="utf-8") if card.is_file() else "", network)

    @property
    def title(self) -> str:
        return f"{self.description['network']} on {self.description['data']}"


def network_file(folder: Path) -> Path | None:
    """The network of an exported folder, where there is one that can be served."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def describe(folder: Path) -> dict[str, Any]:
    """What a folder's ``preprocessing.json`` says.

    Raises:
        RunError: It is missing, damaged, or from an older version.
    """
    file = folder / "preprocessing.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        written = found.get("format", 1)
    except FileNotFoundError as error:
        raise RunError(f"{file} is missing: export the network anew") from error
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{file} is damaged ({error}): export the network anew") from error
    if written != FORMAT:
        how = "export the network anew" if written < FORMAT else "update Kindling"
        raise RunError(f"{file} is of format {written}, and this version of Kindling serves format {FORMAT}: {how}")
    missing = {"network", "data", "task", "input", "output"} - found.keys()
    if missing:
        raise RunError(f"{file} is damaged (it has no {min(missing)}): export the network anew")
    return found
