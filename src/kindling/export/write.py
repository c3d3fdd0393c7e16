"""``export``: a trained network as files that others can use, checked before they are kept.

What is written is read back in a fresh process and compared on test rows; an older good file is never replaced by one
that failed. ``MODEL_CARD.md`` and ``preprocessing.json`` beside the files say how to use them.
"""

import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from kindling.data.base import DataModule
from kindling.errors import RunError, UsageError
from kindling.export import card, read_back
from kindling.models.base import SupervisedModule
from kindling.runs import atomic
from kindling.runs.find import Checkpoint

FORMATS = ("weights", "onnx", "pt2")
CHECKED_ROWS = 200
TOLERANCE = 1e-4  # of a probability, or of a number in standard deviations; weights have to give the very same


class WholeNetwork(nn.Module):
    """From raw inputs, as the recipe stores them, to predictions: what comes before and after the network included."""

    def __init__(self, network: SupervisedModule, data: DataModule) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)  # Lightning leaves the trainer out of a copy
        self.network.to(memory_format=torch.contiguous_format)  # torch.export stores no others whole
        self.network.loss = None
        del self.network.scores
        self.normalize = data.normalize

    def forward(self, x: Tensor) -> Tensor:
        return self.network.predict_step((self.normalize(x),))  # (N, ...) -> (N, classes) or (N, 1 or 2)


def check_installed(format: str) -> None:
    """
    Raises:
        UsageError: The format needs packages that are not there.
    """
    if format == "onnx" and not all(find_spec(package) for package in card.ONNX_PACKAGES):
        raise UsageError("--format onnx needs onnx, onnxruntime and onnxscript: pip install -e '.[onnx]'")


def export(
    format: str,
    model: SupervisedModule,
    data: DataModule,
    checkpoint: Checkpoint,
    content: dict[str, Any],
    folder: Path,
) -> None:
    """Write a network in one format, and what its reader needs to know.

    Args:
        format: One of ``FORMATS``.
        model: With its weights and its task, in eval mode, on the CPU.
        data: Set up for ``test``.
        checkpoint: Where the weights are from.
        content: Of the checkpoint.
        folder: Made where it is not there; files of other formats in it stay.

    Raises:
        RunError: The network can't be written in that format, or reads back as another one; or a file with its scores
            is damaged.
        OSError: The folder can't be written.
    """
    samples = data.test_set.tensors[0]
    x = samples[:: -(-len(samples) // CHECKED_ROWS)].contiguous()  # (N, ...) raw, from everywhere in the test set
    scores = card.scores(checkpoint.run, content.get("epoch"), content.get("global_step"))
    folder.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(folder, ".part-*", age=atomic.DAY)
    with TemporaryDirectory(prefix=".part-", dir=folder) as temporary:
        part = Path(temporary)
        try:
            with _quiet():
                written = _write(format, model, data, x, part)
        except OSError as error:
            error.filename = str(folder)  # not the temporary one
            raise
        except Exception as error:  # torch.export answers what it can't follow with whatever it stumbles over
            why = str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__
            if "specialized it to be a constant" in str(error):
                why = "its forward fixes the batch size; take x.shape[0] for it, not len(x)"
            raise RunError(f"{type(model).__name__} can't be written as {format}: {why}") from error
        differences = _check(format, written, model, data, x)
        said = {name: f"largest difference on {len(x)} test rows {d:.1e}" for name, d in differences.items()}
        with atomic.folder_lock(folder):
            for file in written:
                file.replace(folder / file.name)
            if format != "weights":
                said["preprocessing.json"] = "what goes in and comes out"
                interface = json.dumps(card.interface(data, model, x), indent=2, ensure_ascii=False)
                with atomic.atomic_write(folder / "preprocessing.json") as stream:
                    stream.write(interface + "\n")
            said["MODEL_CARD.md"] = "data, scores, versions and how to load"
            text = card.card(folder, differences, model, data, checkpoint, content, scores, x)
            with atomic.atomic_write(folder / "MODEL_CARD.md") as stream:
                stream.write(text)
    for name, words in said.items():
        print(f"{words} -> {folder / name}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the listings that torch prints and logs about a network it can't follow; the exception has the gist."""
    with redirect_stderr(StringIO()):
        logging.disable()
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _write(format: str, model: SupervisedModule, data: DataModule, x: Tensor, folder: Path) -> list[Path]:
    whole = WholeNetwork(model, data).eval()
    if format == "weights":
        files = [folder / "weights.pt", folder / "weights.safetensors"]
        state = {name: tensor.clone().contiguous() for name, tensor in whole.network.state_dict().items()}
        torch.save(state, content := BytesIO())  # given a name, torch says of a full disk that its stream has an error
        files[0].write_bytes(content.getbuffer())
        init_args = json.dumps(dict(model.hparams))
        metadata = {"format": "pt", "class_path": card.path(model), "init_args": init_args}
        files[1].write_bytes(save(state, metadata))  # its save_file makes files that only their owner can read
        return files
    file = folder / f"model.{format}"
    rows = x[[0, 0]]  # torch.export takes a batch of 1 for a batch that is always of 1
    with torch.no_grad():
        program = torch.export.export(whole, (rows,), dynamic_shapes=({0: torch.export.Dim("N")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    if format == "pt2":
        torch.export.save(program, content := BytesIO())
        file.write_bytes(content.getbuffer())
        return [file]
    names: dict[str, Any] = {"input_names": ["x"], "output_names": ["prediction"], "dynamic_shapes": ({0: "N"},)}
    converted = torch.onnx.export(program, (rows,), dynamo=True, verbose=False, **names)
    assert converted is not None
    converted.save(file, external_data=False)
    return [file]


def _check(format: str, files: list[Path], model: SupervisedModule, data: DataModule, x: Tensor) -> dict[str, float]:
    """Largest difference between what each file answers in a fresh process and what the network does in this one.

    Raises:
        RunError: A file can't be read, or answers something else.
    """
    facts, weights = model.task.facts, format == "weights"

    def network(rows: read_back.Array) -> read_back.Array:
        x = torch.from_numpy(rows)
        return (model(x) if weights else model.predict_step((data.normalize(x),))).numpy()

    rows = (data.normalize(x) if weights else x).numpy()  # weights know nothing of the preprocessing
    with torch.no_grad():
        expected = read_back.answers(network, rows)
    file = files[0].parent / "rows.npy"
    np.save(file, rows)
    # what can be imported here can be there; as many threads, as sums depend on how they are shared out
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-P", "-m", read_back.__name__, str(file), *map(str, files)]
    result = subprocess.run(command, env=os.environ | environment, capture_output=True, check=False)
    if result.returncode:
        why = (result.stderr.decode(errors="replace").strip() or f"exit code {result.returncode}").splitlines()[-1]
        raise RunError(f"what was written as {format} can't be read, and was not kept: {why}")
    tolerance = 0.0
    if not weights:  # a float32 of a large number is coarse in itself
        tolerance = TOLERANCE * torch.tensor(facts.target_std).max().item() + 4 * float(
            np.spacing(np.abs(expected).max())
        )
    differences = {}
    for file in files:
        answers = np.load(f"{file}.npy")
        fits = answers.shape == expected.shape
        differences[file.name] = float(np.abs(answers - expected).max()) if fits else float("inf")
        if not differences[file.name] <= tolerance:  # nor where it is no number
            raise RunError(
                f"{file.name} was not kept: read back, it differs by up to {differences[file.name]:.1e} from the "
                f"network on {len(x)} test rows, where {tolerance:.1e} is allowed"
            )
    return differences
