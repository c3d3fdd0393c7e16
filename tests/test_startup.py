"""Start-up: what is imported late works when it is used, and threads wait as the user says."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.slow
def test_what_is_imported_late_works_when_it_is_used() -> None:
    without = {name: value for name, value in os.environ.items() if name not in WAITING}
    done = subprocess.run([sys.executable, "-c", USED_LATER], env=without, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", WAITING)
def test_how_threads_wait_is_the_users_to_say(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in WAITING:
        monkeypatch.setenv(other, "")  # so that it is put back afterwards
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "0")
    with quick_imports():
        assert {other: os.environ[other] for other in WAITING if other in os.environ} == {name: "0"}
