"""What lies beside an exported network: ``MODEL_CARD.md`` for people, ``preprocessing.json`` for programs."""

import json
import platform
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch import Tensor

from kindling.data.base import DataModule
from kindling.errors import RunError
from kindling.models.base import SupervisedModule
from kindling.runs.find import Checkpoint
from kindling.runs.folder import Run

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")

CARD = """\
# {name} on {data_name}

`{path}({arguments})`, {parameters:,} parameters, trained by {loss} for {epoch} epochs ({step} steps) to
predict {target}.

## Data

Trained on `{data}` with {options}.

- In: {given}
- Out: {answer}

## Scores

{scores}

## Files

| file | size | of | largest difference | written |
|---|---|---|---|---|
{files}

The difference, in the unit of the output, is that to the network itself on test rows: each file was read back in a
process of its own, on a CPU.

A whole network (`model.onnx`, `model.pt2`) takes data as described above, any number of samples at once, and
`preprocessing.json` beside it says all there is to know of its input and output. The weights alone are of a network
that takes normalised data and gives plain numbers: in the project, `kindling.load("{checkpoint}")` returns it, and the
data with its `normalize`.

{loading}

## Versions

{versions}

## Limits

- Trained and scored on the data above alone; how it does on other data is not known.
- Compared on a CPU alone; probabilities were not calibrated.
"""
LOADING = {  # runs in the folder of the files
    "model.onnx": """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
x = np.{array}, dtype=np.{dtype})
(prediction,) = session.run(None, {{"x": x}})  # ({shape})""",
    "model.pt2": """\
import torch

network = torch.export.load("model.pt2").module()
prediction = network(torch.{tensor}, dtype=torch.{dtype}))  # ({shape})""",
    "weights.pt": """\
import torch
from safetensors.torch import load_file
from {module} import {name}

weights = torch.load("weights.pt", weights_only=True)
weights = load_file("weights.safetensors")  # the same
network = {name}({arguments})
network.load_state_dict(weights)
outputs = network.eval()(torch.zeros({normalized}))""",
}


def path(thing: object) -> str:
    """Where the class of a thing is imported from."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def interface(data: DataModule, model: SupervisedModule, x: Tensor) -> dict[str, Any]:
    """What the reader of a file with nothing else at hand has to know, as plain data."""
    facts, learned = model.task.facts, data.state_dict()
    given: dict[str, Any] = {"name": "x", "shape": ["N", *x.shape[1:]], "dtype": str(x.dtype).removeprefix("torch.")}
    if facts.image_size:
        given["meaning"] = "pixels from 0 to 255: images, channels, rows, columns"
    else:
        given["meaning"] = "rows of a table, its columns in this order, numbers in their own units"
        given["columns"] = [{"column": name} for name in facts.feature_names]
    for column in given.get("columns", []):
        name = column["column"]
        if name in learned.get("numeric", {}):
            column["gap"] = "NaN"
        elif name in learned.get("categorical", {}):
            texts = learned["categorical"][name]
            column |= {"texts": {text: n for n, text in enumerate(texts)}, "gap": len(texts), "unseen": -1}
    names: Sequence[str] = facts.class_names or ("prediction", "std")[: model.task.num_outputs]
    meaning = "probability of each class" if facts.class_names else f"{facts.target}, in its own unit"
    answer = {"name": "prediction", "shape": ["N", len(names)], "dtype": "float32", "meaning": meaning}
    return {"input": given, "output": answer | {"columns": list(names)}}


def card(
    folder: Path,
    differences: dict[str, float],
    model: SupervisedModule,
    data: DataModule,
    checkpoint: Checkpoint,
    content: dict[str, Any],
    known_scores: dict[str, float],
    x: Tensor,
) -> str:
    """The model card; what an earlier one says of other files that are still there stays in it."""
    facts, described = model.task.facts, interface(data, model, x)
    given, answer = described["input"], described["output"]
    epoch, step = content.get("epoch"), content.get("global_step")  # of weights without a training these are not known
    earlier = folder / "MODEL_CARD.md"
    known = earlier.read_text(encoding="utf-8").splitlines() if earlier.is_file() else []
    files = {f.name: line for f in folder.iterdir() for line in known if line.startswith(f"| {f.name} |")}
    for name, difference in differences.items():
        size = f"{(folder / name).stat().st_size:,} bytes"
        files[name] = f"| {name} | {size} | {checkpoint.file}, epoch {epoch} | {difference:.1e} | {date.today()} |"
    trained_on = (content.get("config") or {}).get("data") or {"class_path": path(data), "init_args": data.hparams}
    options = [f"{option} {value}" for option, value in trained_on.get("init_args", {}).items() if value is not None]
    example = f"({x[:1].tolist()}".replace("nan", 'float("nan")') if x.ndim == 2 else f"zeros({tuple(x[:1].shape)}"
    about = {
        "name": type(model).__name__,
        "module": type(model).__module__,
        "arguments": ", ".join(f"{name}={value!r}" for name, value in model.hparams.items()),
        "shape": ", ".join(map(str, answer["shape"])),
        "dtype": given["dtype"],
        "normalized": ", ".join(map(str, data.normalize(x[:1]).shape)),
        "array": example if x.ndim > 2 else f"array{example}",
        "tensor": example if x.ndim > 2 else f"tensor{example}",
    }
    loading = (f"### {name}\n\n```python\n{LOADING[name].format(**about)}\n```" for name in LOADING if name in files)
    return CARD.format(
        **about,
        data_name=trained_on["class_path"].rpartition(".")[2],
        path=path(model),
        parameters=sum(p.numel() for p in model.parameters()),
        loss=model.task.loss_name,
        epoch=epoch,
        step=step,
        target=f"{facts.target} ({facts.kind})",
        data=trained_on["class_path"],
        options=", ".join(options),
        given=": ".join([given["meaning"], *([", ".join(facts.feature_names)] if facts.feature_names else [])]),
        answer=f"{answer['meaning']}: {', '.join(answer['columns'])}",
        scores="\n".join(f"- {name} {score:.4f}" for name, score in known_scores.items())
        or "None are kept of these weights.",
        files="\n".join(files[name] for name in sorted(files)),
        checkpoint=checkpoint.file,
        loading="\n\n".join(loading),
        versions=_versions(),
    )


def scores(run: Run, epoch: int | None, step: int | None) -> dict[str, float]:
    """What is known of these weights: of the epoch in training, and of a test.

    Raises:
        RunError: A file that should hold it can't be read.
    """
    found: dict[str, Any] = {}
    found |= next((row for row in run.metrics() if (row["epoch"], row["step"]) == (str(epoch), str(step))), {})
    if (test := run.folder / "test.json").is_file():
        try:
            tested = json.loads(test.read_text(encoding="utf-8"))
            if (tested["epoch"], tested["step"]) == (epoch, step):
                found |= {name: float(score) for name, score in tested.items() if "/" in name}
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{test} is damaged, or cut short: delete it, or test again") from error
    return {name: float(score) for name, score in found.items() if "/" in name and score not in ("", None)}


def _versions() -> str:
    lines = [f"- Python {platform.python_version()}"]
    for package in ("kindling", "torch", "lightning", "safetensors", *ONNX_PACKAGES):
        with suppress(PackageNotFoundError):
            lines.append(f"- {package} {version(package)}")
    return "\n".join(lines)
