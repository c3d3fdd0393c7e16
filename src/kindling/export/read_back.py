"""What an exported file answers, read in a process of its own: ``python -m kindling.export.read_back ROWS FILE...``.

ROWS holds inputs as the files take them, ``.npy``; the answers are written beside each file as ``FILE.npy``. Each file
is read by what its reader would have: an ONNX file without torch, a torch.export file without this project's classes.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def answers(network: Callable[[Array], Array], x: Array) -> Array:
    """Outputs (N + 1, K) for inputs (N, ...): of all at once, then of the first alone, as any number is to do."""
    return np.concatenate([network(x), network(x[:1])])


def read(file: Path) -> Callable[[Array], Array]:
    """The network in an exported file, as a function of numpy arrays on the CPU."""
    if file.suffix == ".onnx":
        import onnxruntime  # type: ignore[import-untyped]

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"x": x})[0]
    import torch

    network = torch.export.load(file).module() if file.suffix == ".pt2" else _from_weights(file)
    return lambda x: network(torch.from_numpy(x.copy())).detach().numpy()


def _from_weights(file: Path) -> Callable[..., Any]:
    """The class named in ``weights.safetensors``, with the weights of that file or of the ``.pt`` beside it."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file

    from kindling.registry import import_class

    with safe_open(file.with_suffix(".safetensors"), framework="pt") as header:
        metadata = header.metadata()
    network = import_class(metadata["class_path"], "--model")(**json.loads(metadata["init_args"]))
    network.load_state_dict(load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True))
    return network.eval()


if __name__ == "__main__":
    rows = np.load(sys.argv[1])
    for name in sys.argv[2:]:
        np.save(f"{name}.npy", answers(read(Path(name)), rows))
