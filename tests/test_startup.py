"""Start-up: what is imported late works when it is used, and threads wait as the user says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kindling.facts import LARGEST
from kindling.startup import WAITING, quick_imports

USED_LATER = """
import os, sys
from kindling.startup import LATE, quick_imports

with quick_imports():
    import kindling.cli.run
    import kindling.training.evaluate
assert not {*LATE, "pandas"} & sys.modules.keys()
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"

import torch
import torchmetrics

scores = torchmetrics.ConfusionMatrix(task="multiclass", num_classes=2)
scores.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
figure, axes = scores.plot()
figure.canvas.draw()
import matplotlib.figure, matplotlib.axes
assert isinstance(figure, matplotlib.figure.Figure) and isinstance(axes, matplotlib.axes.Axes)

from torchmetrics.detection import IntersectionOverUnion
arniqa, dists = (sys.modules[f"torchmetrics.functional.image.{name}"] for name in ("arniqa", "dists"))
boxes = [{"boxes": torch.tensor([[0.0, 0.0, 2.0, 2.0]]), "labels": torch.tensor([0])}]
assert IntersectionOverUnion()(boxes, boxes)["iou"] == 1
assert sum(p.numel() for p in arniqa.resnet50().parameters()) == 25_557_032
assert arniqa.transforms.Normalize([0.0], [2.0])(torch.ones(1, 1, 1)) == 0.5
assert dists.VGG16_Weights.IMAGENET1K_V1.url.startswith("https://")
import torchvision
assert arniqa.resnet50().__class__ is torchvision.models.ResNet

from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_noise_ratio
voices = torch.randn(1, 3, 9)
found = permutation_invariant_training(voices[:, [2, 0, 1]], voices, scale_invariant_signal_noise_ratio)
assert found[1].tolist() == [[1, 2, 0]]
import scipy.signal
assert scipy.signal.convolve([1, 2], [1, 2]).tolist() == [1, 4, 4]
"""

COMPILED_LATER = """
import logging, sys, warnings
from kindling.cli import main

assert main(["fit", "--model", "SimpleNet", "--max_epochs", "1"]) == 0
assert main(["test", "--ckpt_path", "best"]) == 0
from torchvision import ops, tv_tensors
assert tv_tensors.Image([[[1.0]]]).shape == (1, 1, 1)
assert "torch._dynamo" not in sys.modules

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

logging.disable()
warnings.simplefilter("ignore")  # of Lightning's

def trained(compiled):
    torch.manual_seed(0)
    model = BoringModel()
    network = torch.compile(model, backend="eager") if compiled else model
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    Trainer(max_steps=3, accelerator="cpu", **quiet).fit(network, DataLoader(torch.randn(9, 32)))
    return model.layer.weight.detach().clone()

eager = trained(compiled=False)
assert "torch._dynamo" not in sys.modules
assert eager.equal(trained(compiled=True))
assert "torch._dynamo" in sys.modules

def counted(step):
    graphs = []
    def backend(module, inputs):
        graphs.append(module)
        return module.forward
    torch.compile(step, backend=backend)()
    return len(graphs)

weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.ones(2)
optimizer = torch.optim.SGD([weight], lr=0.5)
assert counted(lambda: optimizer.step()) == 1 and weight.tolist() == [0.5, 0.5]
features, boxes = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
assert ops.roi_align(features, boxes, 1).item() == 5
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [USED_LATER, COMPILED_LATER])
def test_what_is_imported_late_works_when_it_is_used(program: str, tmp_path: Path) -> None:
    without = {name: value for name, value in os.environ.items() if name not in WAITING}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=without, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_cells_and_pixels_are_read_without_torch() -> None:
    """So that a server can do so."""
    rooms = "from kindling.data.table import cells, file, forms, names; from kindling.data.images import pixels"
    heavy = "'torch', 'lightning', 'torchvision', 'torchmetrics', 'matplotlib'"
    program = f"import sys; {rooms}; print(sys.modules.keys() & {{{heavy}}})"
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True).stdout == "set()\n"
    assert torch.finfo(torch.float32).max ** 0.5 == LARGEST


@pytest.mark.parametrize("name", WAITING)
def test_how_threads_wait_is_the_users_to_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in WAITING:
        monkeypatch.setenv(other, "")  # so that it is put back afterwards
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "0")
    with quick_imports():
        assert {other: os.environ[other] for other in WAITING if other in os.environ} == {name: "0"}
