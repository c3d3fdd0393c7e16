"""``MODEL_CARD.md``: what people need to know of an exported network."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from torch import Tensor

from kindling.callbacks.after_epoch import short
from kindling.callbacks.report.score_files import unit_of
from kindling.data.base import DataModule
from kindling.errors import RunError
from kindling.models.base import SupervisedModule
from kindling.runs.find import Checkpoint
from kindling.runs.folder import Run
from kindling.tasks.scores import BASELINE

CARD = """\
# {network.__name__} on {data_name}

`{network.__module__}.{network.__name__}({arguments})`, {parameters:,} parameters, trained with {task.loss_name}
for {epoch} epochs ({step} steps) to predict {facts.target} ({facts.kind}).
Python {python}, torch {torch}, Lightning {lightning}.

## Data

Trained on `{data}` with {options}.

- Input: {input[meaning]} {features}
- Output: {output[meaning]}: {columns}

## Scores

{scores}

How good it is on other data is not known. The probabilities were not calibrated.

## Files

| file | weights from | largest difference | written |
|---|---|---|---|
{files}

Each file was read back on a CPU, a whole network in a process of its own, and its outputs were compared with those of
the network itself on samples that it was not trained on. The largest difference is in the unit of the output.

A whole network (`model.onnx`, `model.pt2`) takes any number of samples as described above; `preprocessing.json` has all
details. The weights alone are for a network that takes normalised data: `kindling.load("{checkpoint}")` returns that
network, and the data with its `normalize`.

{examples}
"""
EXAMPLES = {  # each runs in the folder of the files
    "model.onnx": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
x = np.zeros({x_shape}, dtype=np.{input[dtype]})
(prediction,) = session.run(None, {{"x": x}})  # shape {output[shape]}""",
    "model.pt2": """\
import torch

network = torch.export.load("model.pt2").module()
prediction = network(torch.zeros({x_shape}, dtype=torch.{input[dtype]}))  # shape {output[shape]}""",
    "weights.pt": """\
import torch
from safetensors.torch import load_file
from {network.__module__} import {network.__name__}

weights = torch.load("weights.pt", weights_only=True)
weights = load_file("weights.safetensors")  # the same
network = {network.__name__}({arguments})
network.load_state_dict(weights)
outputs = network.eval()(torch.zeros({normalized_shape}))""",
}


def path(thing: object) -> str:
    """The import path of an object's class."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def page(
    folder: Path,
    differences: dict[str, float],
    model: SupervisedModule,
    data: DataModule,
    checkpoint: Checkpoint,
    content: dict[str, Any],
    x: Tensor,
    described: dict[str, Any],
    scores: dict[str, float],
) -> str:
    """The model card of files in a folder, where an older card may describe other ones; ``x`` are raw inputs (N, ...).

    Args:
        described: By ``interface.describe``.
        scores: Of ``known_scores``.
    """
    facts, epoch, step = model.task.facts, content.get("epoch"), content.get("global_step")
    card = folder / "MODEL_CARD.md"
    older = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    files = {f.name: line for f in folder.iterdir() for line in older if line.startswith(f"| {f.name} |")}
    for name, difference in differences.items():
        files[name] = f"| {name} | {checkpoint.file}, epoch {epoch} | {difference:.1e} | {date.today()} |"
    trained_on = (content.get("config") or {}).get("data") or {"class_path": path(data), "init_args": data.hparams}
    options = [f"{option} {value}" for option, value in trained_on.get("init_args", {}).items() if value is not None]
    lines = [f"- {name} {short(score)}{unit_of(name, model)}" for name, score in scores.items()]
    if any(name.startswith(BASELINE) for name in scores):
        lines.append(f"\nThe baseline is: {model.task.baseline}.")
    texts: dict[str, Any] = (
        described
        | described["versions"]
        | {
            "network": type(model),
            "arguments": ", ".join(f"{name}={value!r}" for name, value in model.hparams.items()),
            "parameters": sum(p.numel() for p in model.parameters()),
            "task": model.task,
            "facts": facts,
            "epoch": epoch,  # of weights without a training neither this nor the step is known
            "step": step,
            "data": trained_on["class_path"],
            "data_name": trained_on["class_path"].rpartition(".")[2],
            "options": ", ".join(options),
            "columns": ", ".join(described["output"]["columns"]),
            "features": ", ".join(facts.feature_names),
            "x_shape": (1, *x.shape[1:]),
            "normalized_shape": tuple(data.normalize(x[:1]).shape),
            "scores": "\n".join(lines) or "None are kept of these weights.",
            "files": "\n".join(files[name] for name in sorted(files)),
            "checkpoint": checkpoint.file,
        }
    )
    examples = (f"### {n}\n\n```python\n{code.format(**texts)}\n```" for n, code in EXAMPLES.items() if n in files)
    return CARD.format(**texts, examples="\n\n".join(examples))


def known_scores(run: Run, epoch: int | None, step: int | None) -> dict[str, float]:
    """The scores of the weights of one epoch, in training and in a test.

    Raises:
        RunError: A file that should hold them is damaged.
    """
    row = next((row for row in run.metrics() if (row["epoch"], row["step"]) == (str(epoch), str(step))), {})
    found = {name: float(score) for name, score in row.items() if "/" in name and score}
    if (test := run.folder / "test.json").is_file():
        try:
            tested = json.loads(test.read_text(encoding="utf-8"))
            if (tested["epoch"], tested["step"]) == (epoch, step):
                found |= {name: float(score) for name, score in tested.items() if "/" in name}
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{test} is damaged, or cut short: delete it, or test again") from error
    return found
