"""What an exported network gives: it is loaded and run in a process of its own, and compared with the network itself.

``python -m kindling.export.check FILE ROWS`` is that process. ROWS is a ``.npy`` file of inputs; the outputs are
written beside FILE as ``FILE.npy``. It uses what the reader of such a file would have: for ONNX no torch, for
torch.export none of this project's classes.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kindling.errors import RunError

FORMAT = 2  # of preprocessing.json, which lies beside the network
Array = NDArray[np.float32]


def largest_difference(name: str, found: Array, expected: Array, tolerance: float) -> float:
    """Between the outputs of a file (N, ...) and those of the network (N, ...).

    Raises:
        RunError: It is above ``tolerance``, or the shapes differ.
    """
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    if not difference <= tolerance:  # NaN is above it, too
        raise RunError(
            f"{name} was not kept: read back, it differs by up to {difference:.1e} from the network on "
            f"{len(expected)} samples, where {tolerance:.1e} is allowed"
        )
    return difference


def outputs_of(file: Path, rows: Array) -> Array:
    """Outputs (N, ...) of the network in a file for inputs (N, ...).

    Raises:
        RunError: The file can't be loaded or run.
    """
    inputs = file.with_name("rows.npy")
    np.save(inputs, rows)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # what can be imported here can be there
    command = [sys.executable, "-P", "-m", __name__, str(file), str(inputs)]
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    if result.returncode:
        why = (result.stderr.decode(errors="replace").strip() or f"exit code {result.returncode}").splitlines()[-1]
        raise RunError(f"{file.name} was not kept, as it can't be read back: {why}")
    outputs: Array = np.load(f"{file}.npy")
    return outputs


def load(file: Path) -> Callable[[Array], Array]:
    """The network in a file, as a function of numpy arrays."""
    if file.suffix == ".onnx":
        import onnxruntime  # type: ignore[import-untyped]

        options = onnxruntime.SessionOptions()
        # its threads would keep all cores busy while they wait for the next batch, and a server reads requests then
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"x": x})[0]
    import torch

    network = torch.export.load(file).module()
    return lambda x: network(torch.from_numpy(x)).detach().numpy()


if __name__ == "__main__":
    network, x = load(Path(sys.argv[1])), np.load(sys.argv[2])
    first, all_rows = network(x[:1]), network(x)  # any number of rows must work
    np.save(f"{sys.argv[1]}.npy", np.concatenate([first, all_rows[1:]]))
