"""``export``: a trained network as files for use elsewhere, with a model card.

Each file is read back and compared with the network on test samples before it takes the place of an older one.
"""

import copy
import json
import logging
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import BytesIO, StringIO
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from kindling.data.base import DataModule
from kindling.data.loading import take
from kindling.errors import RunError, UsageError
from kindling.export import card, check, interface
from kindling.models.base import SupervisedModule
from kindling.runs import atomic
from kindling.runs.find import Checkpoint

FORMATS = ("weights", "onnx", "pt2")
CHECKED_SAMPLES = 200
TOLERANCE = 1e-4  # of a probability, or of a number in standard deviations; weights must give exactly the same


class NotWritten(RunError):  # noqa: N818
    """A format can't hold the network or its data."""


class WholeNetwork(nn.Module):
    """From raw inputs (N, ...) to predictions (N, ...)."""

    def __init__(self, data: DataModule, network: SupervisedModule) -> None:
        super().__init__()
        self.normalize, self.network = data.normalize, copy.deepcopy(network)
        self.network.to(memory_format=torch.contiguous_format)  # torch.export saves other formats incompletely
        self.network.loss = None
        del self.network.scores
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.network.predict_step((self.normalize(x),))


def check_installed(format: str) -> None:
    """
    Raises:
        UsageError: The format needs packages that are not installed.
    """
    if format == "onnx" and not all(find_spec(package) for package in ("onnx", "onnxruntime", "onnxscript")):
        raise UsageError("--format onnx needs onnx, onnxruntime and onnxscript: pip install -e '.[onnx]'")


@torch.no_grad()
def export(
    format: str,
    model: SupervisedModule,
    data: DataModule,
    checkpoint: Checkpoint,
    content: dict[str, Any],
    folder: Path,
) -> None:
    """Write a network in one format, and what the reader of the file needs to know.

    Args:
        format: One of ``FORMATS``.
        model: With its weights and its task, in eval mode, on the CPU.
        data: Set up for ``test``.
        checkpoint: Where the weights are from.
        content: Of the checkpoint.
        folder: Made if it is missing. Files of other formats stay in it.

    Raises:
        UsageError: The inputs that the data gives are not tensors.
        RunError: The network or the data can't be written in that format, or the file gives other outputs; or a file
            with the scores is damaged.
        OSError: The folder can't be written.
    """
    size = len(data.test_set)
    x = take(data.test_set, range(0, size, -(-size // CHECKED_SAMPLES)))[0]  # (N, ...) raw, from all over the test set
    if not isinstance(x, Tensor):
        raise UsageError(f"export takes inputs that are tensors, and those of {type(data).__name__} are not")
    scores = card.known_scores(checkpoint.run, content.get("epoch"), content.get("global_step"))
    described = interface.describe(model, data, checkpoint, content, x, whole=format != "weights")
    of_others = {name: score for name, score in scores.items() if name.startswith(("val/", "test/"))}
    described["scores"] = {name: score for name, score in of_others.items() if isfinite(score)}
    folder.mkdir(parents=True, exist_ok=True)
    atomic.remove_leftovers(folder, ".part-*", age=atomic.DAY)
    with TemporaryDirectory(prefix=".part-", dir=folder) as temporary:
        part = Path(temporary)
        try:
            write = _write_weights if format == "weights" else _write_whole_network
            differences = write(part / f"model.{format}", model, data, x)
        except OSError as error:
            error.filename = str(folder)  # instead of the temporary one
            raise
        with atomic.folder_lock(folder):
            page = card.page(folder, differences, model, data, checkpoint, content, x, described, scores)
            for name, difference in differences.items():
                atomic.replace(part / name, folder / name)
                print(f"largest difference on {len(x)} samples {difference:.1e} -> {folder / name}")
            if format != "weights":
                with atomic.atomic_write(folder / "preprocessing.json") as stream:
                    json.dump(described, stream, indent=2, ensure_ascii=False, allow_nan=False)
                print(f"what goes in and comes out -> {folder / 'preprocessing.json'}")
            with atomic.atomic_write(folder / "MODEL_CARD.md") as stream:
                stream.write(page)
            print(f"data, scores, versions and how to load -> {folder / 'MODEL_CARD.md'}")


def _write_weights(file: Path, model: SupervisedModule, data: DataModule, x: Tensor) -> dict[str, float]:
    """Write two files of weights; the largest difference that a new network with each makes, by the file's name."""
    pt, safetensors = file.with_name("weights.pt"), file.with_name("weights.safetensors")
    state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    torch.save(state, buffer := BytesIO())  # torch.save into a file hides that a disk is full
    pt.write_bytes(buffer.getvalue())
    metadata = {"format": "pt", "class_path": card.path(model), "init_args": json.dumps(dict(model.hparams))}
    safetensors.write_bytes(save(state, metadata))
    inputs, new, differences = data.normalize(x), type(model)(**model.hparams).eval(), {}
    as_written = load(safetensors.read_bytes())  # load_file keeps it open, and Windows then lets nobody move it
    for name, read in ((pt.name, torch.load(pt, weights_only=True)), (safetensors.name, as_written)):
        new.load_state_dict(read)
        differences[name] = check.largest_difference(name, new(inputs).numpy(), model(inputs).numpy(), tolerance=0)
    return differences


def _write_whole_network(file: Path, model: SupervisedModule, data: DataModule, x: Tensor) -> dict[str, float]:
    """Write a file that needs nothing of this project; its largest difference to the network, by its name."""
    try:
        content = _program(file.suffix, WholeNetwork(data, model), x)
    except Exception as error:  # torch.export fails in many ways at what it can't follow
        why = str(error.__cause__ or error).strip().partition("\n")[0] or type(error).__name__
        if "specialized it to be a constant" in str(error):
            why = "it fixes the batch size; take x.shape[0] for it, not len(x)"
        what = f"{type(model).__name__} after the normalize of {type(data).__name__}"
        raise NotWritten(f"{what} can't be written as {file.suffix[1:]}: {why}") from error
    file.write_bytes(content)
    expected = model.predict_step((data.normalize(x),)).numpy()
    spacing = float(np.spacing(np.abs(expected).max()))  # between a float32 and the next, which is wide for large ones
    tolerance = TOLERANCE * torch.tensor(model.task.facts.target_std).max().item() + 4 * spacing
    found = check.outputs_of(file, x.numpy())
    return {file.name: check.largest_difference(file.name, found, expected, tolerance)}


def _program(suffix: str, network: nn.Module, x: Tensor) -> bytes:
    """The content of a ``.pt2`` or ``.onnx`` file."""
    rows = x[[0, 0]]  # with a single sample torch.export would take the batch size for a constant 1
    buffer = BytesIO()
    logging.disable()  # what torch logs and prints of a network that it can't follow; the exception says the essential
    try:
        with redirect_stderr(StringIO()):
            program = torch.export.export(network, (rows,), dynamic_shapes=({0: torch.export.Dim("N")},))
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # has the names of this machine's folders
            if suffix == ".pt2":
                torch.export.save(program, buffer)
                return buffer.getvalue()
            names: dict[str, Any] = {"input_names": ["x"], "output_names": ["prediction"]}
            converted: Any = torch.onnx.export(program, (rows,), dynamic_shapes=({0: "N"},), verbose=False, **names)
            content: bytes = converted.model_proto.SerializeToString()
            return content
    finally:
        logging.disable(logging.NOTSET)
