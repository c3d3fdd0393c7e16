"""Pictures of a run and of a test, and what TensorBoard shows beside scalars."""

import csv
import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from lightning.pytorch import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from kindling.callbacks.report import test_report as outcome
from kindling.callbacks.report.projector import LastFeatures, sprite
from kindling.callbacks.report.test_report import TestReport
from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.facts import Facts
from kindling.models import SimpleNet
from kindling.pictures import curves, drawing
from kindling.pictures.analysis import TestResult, calibration, confusion, in_order, mistakes

pytestmark = pytest.mark.pictures
Fit = Callable[..., Path]
SHARES = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.95, 0.05], [0.3, 0.7]])
LABELS = torch.tensor([0, 1, 1, 1, 0])


def events(run: Path) -> EventAccumulator:
    """All of the run's, each image and histogram."""
    found = EventAccumulator(str(run), {"images": 0, "histograms": 0})
    found.Reload()
    return found


def size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def names(run: Path) -> set[str]:
    """Of what a test left to look at."""
    return {f.name for f in run.iterdir() if f.suffix == ".png" or f.name == "mistakes.csv"} - {"curves.png"}


# Numbers


def test_confusion_has_a_row_per_true_class() -> None:
    labels, counts = confusion(LABELS, SHARES)
    assert (labels, counts.tolist()) == ([0, 1], [[1, 1], [2, 1]])


def test_of_many_classes_the_most_confused_are_shown_and_then_the_largest() -> None:
    true = torch.tensor([7, 7, 7, 7, 2, 2, 9, 0, 0, 0, 5])
    shares = nn.functional.one_hot(torch.tensor([3, 3, 3, 8, 9, 9, 9, 0, 0, 0, 5]), 10).float()
    labels, counts = confusion(true, shares, most=4)
    assert labels == [2, 3, 7, 9]  # 7 taken for 3 three times, 2 for 9 twice
    assert counts.tolist() == [[0, 0, 0, 2, 0], [0] * 5, [0, 3, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert confusion(true, nn.functional.one_hot(true, 10), most=4)[0] == [0, 2, 5, 7]  # 3, 2, 1 and 4 samples
    assert confusion(true, shares, most=10)[1].shape == (10, 10)


def test_calibration_is_as_by_hand() -> None:
    found = calibration(SHARES, LABELS, bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]  # a border belongs to the part below it
    assert found.accuracy.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert found.confidence[5:].tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.95])
    assert found.error == pytest.approx((0.6 + 0.7 + 0.2 + 0.1 + 0.95) / 5)


def test_titles_tell_the_figures() -> None:
    tested = TestResult(SHARES, LABELS, torch.empty(0, 0), torch.empty(0))
    drawn = outcome._of_classes(tested, Facts(in_features=2, class_names=("a", "b")), "A net")
    titles = {name: draw().get_suptitle() for name, draw in drawn.items() if draw}
    assert titles == {"confusion": "A net: accuracy 0.4000", "reliability": "A net: expected calibration error 0.5100"}
    many = TestResult(torch.eye(50), torch.arange(50), torch.empty(0, 0), torch.empty(0))
    drawn = outcome._of_classes(many, Facts(in_features=2, class_names=("a",) * 50), "A net")
    assert drawn["confusion"] is not None
    assert drawn["confusion"]().get_suptitle() == "A net: accuracy 1.0000; the 40 most confused of 50 classes"


def test_mistakes_come_worst_first_and_what_is_no_number_before_all() -> None:
    order, sizes = mistakes(SHARES, LABELS)
    assert order.tolist() == [3, 4, 1]
    assert sizes.tolist() == pytest.approx([0.95, 0.7, 0.6])
    numbers = torch.tensor([[1.0], [5.0], [torch.nan], [2.0]])
    order, sizes = mistakes(numbers, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert order.tolist() == [2, 1, 3]
    assert sizes[1:].tolist() == [3, 2]


def test_two_processes_samples_are_put_in_order() -> None:
    parts = torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3, 5, 0])  # the first one again, to make it even
    values, places = in_order(parts, size=7)
    assert values.tolist() == places.tolist() == list(range(7))
    values, places = in_order([part[::3] for part in parts], size=7, every=3)
    assert values.tolist() == places.tolist() == [0, 1, 6]


def test_a_sprite_is_a_square_sheet_row_by_row() -> None:
    images = torch.arange(1, 6, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 4)
    sheet = sprite(images)
    assert sheet.shape == (3 * 2, 3 * 4, 3)
    assert sheet[::2, ::4, 0].tolist() == [[1, 2, 3], [4, 5, 0], [0, 0, 0]]


def test_features_are_every_so_many_th_input_of_the_last_linear_layer_that_ran() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    network.load_state_dict({"1.weight": torch.ones(1, 1), "1.bias": torch.zeros(1)}, strict=False)
    features = LastFeatures(network, every=3)
    for batch in torch.arange(10.0)[:, None].split(4):
        network(batch)
        features.keep(len(batch))
    assert features.close().flatten().tolist() == [0, 3, 6, 9]
    assert not any(layer._forward_pre_hooks for layer in network)


# Pictures of a test


def test_a_test_of_a_table_leaves_pictures_and_mistakes(run: Path, kindling: Kindling) -> None:
    kindling("test", "--ckpt_path", "best")
    assert kindling.err == ""
    assert names(run) == {"confusion.png", "reliability.png", "boundary.png", "mistakes.png", "mistakes.csv"}
    table = rows(run / "mistakes.csv")
    shown = kindling.out.splitlines()[-1].split()
    assert len(table) == round((1 - float(shown[3])) * 200) > 0
    assert list(table[0]) == ["label", "price", "rating", "prediction", "probability"]
    for row in table:
        assert (row["label"] == "popular") == (float(row["price"]) + float(row["rating"]) > 10)
        assert row["prediction"] != row["label"]
    probabilities = [float(row["probability"]) for row in table]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[-1] >= 0.5

    found = events(run)
    step = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["global_step"]
    for name in ("confusion", "reliability", "boundary", "mistakes"):
        (image,) = found.Images(f"test/{name}")
        assert image.step == step
        assert (image.width, image.height) == size(run / f"{name}.png")
        in_tensorboard = Image.open(BytesIO(image.encoded_image_string)).convert("RGB")
        assert in_tensorboard.tobytes() == Image.open(run / f"{name}.png").convert("RGB").tobytes()
    (image,) = found.Images("run/curves")
    assert (image.step, image.width) == (250, size(run / "curves.png")[0])


def test_a_test_of_images_shows_the_worst_and_projects_all(kindling: Kindling, fashion: Path) -> None:
    kindling("fit", "--model", "Net", "--trainer.max_epochs=1", "--data.val_size=50", "--test_after_fit=true")
    assert names(RUN) == {"confusion.png", "reliability.png", "mistakes.png", "mistakes.csv"}
    assert [float(r["probability"]) for r in rows(RUN / "mistakes.csv")] == sorted(
        (float(r["probability"]) for r in rows(RUN / "mistakes.csv")), reverse=True
    )
    folder = RUN / "projector"
    tensors = [line.split("\t") for line in (folder / "tensors.tsv").read_text().splitlines()]
    assert (len(tensors), len(tensors[0])) == (50, 84)
    metadata = (folder / "metadata.tsv").read_text().splitlines()
    assert metadata[0] == "label\tprediction"
    assert [line.split("\t")[0] for line in metadata[1:4]] == ["T-shirt/top", "Trouser", "Pullover"]
    assert size(folder / "sprite.png") == (8 * 28, 8 * 28)
    config = (RUN / "projector_config.pbtxt").read_text()
    assert 'sprite { image_path: "projector/sprite.png" single_image_dim: 28 single_image_dim: 28 }' in config

    kindling("test", "--ckpt_path", "best")
    assert kindling.err == ""
    assert len(kindling.out.splitlines()) == 2
    assert (RUN / "projector_config.pbtxt").read_text() == config
    assert config.count("tensor_path") == 1


@pytest.mark.slow
def test_pictures_of_many_classes_are_as_large_as_those_of_forty(kindling: Kindling) -> None:
    Path("table.csv").write_text("a,b,y\n" + "".join(f"{n % 100},{n % 7},class {n % 100}\n" for n in range(400)))
    table = ("--data=TabularCSV", "--data.path=table.csv", "--data.target=y", "--data.batch_size=256")
    options = ("--trainer.max_epochs=1", "--trainer.deterministic=true", "--test_after_fit=true")
    kindling("fit", "--model=SimpleNet", *table, *options)
    assert kindling.err == ""
    assert size(RUN / "confusion.png") == (1440, 1340)  # at 0.3 inches a class 100 would be 3,240 pixels wide
    assert size(RUN / "boundary.png") == (620, 460)


def test_pictures_are_of_the_last_test_alone(run: Path, kindling: Kindling) -> None:
    kindling("test", "--ckpt_path", "best")
    assert (run / "mistakes.png").is_file()
    kindling("test", "--ckpt_path", "best", "--data.test_size", "1")  # a single sample, predicted rightly
    assert names(run) == {"confusion.png", "reliability.png", "boundary.png"}
    assert len((run / "projector/tensors.tsv").read_text().splitlines()) == 1


def test_a_number_is_shown_against_the_true_one(kindling: Kindling) -> None:
    with Path("houses.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["rooms", "area", "price"])
        for n in range(100):
            table.writerow([n % 5, 20 + n, 3 * (20 + n) + 0.5 * (n % 5)])
    options = ("--data", "TabularCSV", "--data.path", "houses.csv", "--data.target", "price")
    kindling("fit", "--model", "SimpleNet", *options, "--trainer.max_epochs=2", "--test_after_fit=true")
    assert names(RUN) == {"predicted.png", "mistakes.png", "mistakes.csv"}
    mistaken = rows(RUN / "mistakes.csv")
    assert list(mistaken[0]) == ["price", "rooms", "area", "prediction", "error"]
    errors = [float(row["error"]) for row in mistaken]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(abs(float(mistaken[0]["price"]) - float(mistaken[0]["prediction"])), rel=1e-4)
    assert len(errors) == 15
    assert events(RUN).Images("test/predicted")


class Few(DataModule):
    """Three samples of two features, one of which has a gap."""

    def __init__(self, classes: tuple[str, ...], y: Tensor) -> None:
        super().__init__(batch_size=2)
        self._facts = Facts(in_features=2, class_names=classes, feature_names=("a $", "b_{c"))
        self.test_set = InMemory(torch.tensor([[1.0, 2.0], [1.0, 3.0], [torch.nan, 4.0]]), y)

    @property
    def facts(self) -> Facts:
        return self._facts

    def normalize(self, x: Tensor) -> Tensor:
        return x.nan_to_num()

    def describe(self, dataset: Any, indices: Sequence[int]) -> dict[str, Any]:
        columns = {"a $": ["1", "1\n2", ""], "an odd one $": ["靴" * 50, "", "x"]}
        return {name: [cells[n] for n in indices] for name, cells in columns.items()}


@pytest.mark.parametrize("weight", [0.0, torch.nan])
@pytest.mark.parametrize("outputs", [0, 1, 2, 30])
def test_odd_cases_are_drawn_or_left_out(tmp_path: Path, outputs: int, weight: float) -> None:
    names_ = tuple(f"class {n} of $" for n in range(outputs)) if outputs != 1 else ()
    y = torch.ones(3, dtype=torch.int64) if outputs > 1 else torch.tensor([1.0, 1.0, 2.0])
    network = SimpleNet(num_outputs=outputs or 1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, weight)
    with warnings.catch_warnings():
        for message in ("does not have many workers", "LeafSpec", "logger. on"):
            warnings.filterwarnings("ignore", f".*{message}")
        Trainer(
            logger=False,
            callbacks=[TestReport(tmp_path / "run")],
            accelerator="cpu",
            enable_progress_bar=False,
            enable_checkpointing=False,
        ).test(network, datamodule=Few(names_, y), verbose=False)
    finite = weight == 0
    drawn = {"confusion.png", "boundary.png"} if outputs > 1 else set()
    drawn |= {"reliability.png" if outputs > 1 else "predicted.png"} if finite else set()
    assert names(tmp_path / "run") == drawn | {"mistakes.png", "mistakes.csv"}


# Pictures of a training


def test_curves_have_at_most_three_panels_a_row() -> None:
    points = {"train": [(1, 0.5), (2, 0.4)], "val": [(1, torch.nan), (2, torch.inf)]}
    for panels, (across, down) in {1: (1, 1), 3: (3, 1), 4: (2, 2), 5: (3, 2), 7: (3, 3)}.items():
        figure = curves.draw(dict.fromkeys(map(str, range(panels)), points), "title")
        assert len(figure.axes) == panels
        assert figure.get_size_inches().tolist() == pytest.approx([4 * across, 2.8 * down + 0.4])
        drawing.paint(lambda figure=figure: figure)  # type: ignore[misc]


def test_the_graph_is_there_once_and_training_as_without_it(run: Path, fit: Fit, kindling: Kindling) -> None:
    layers = {node.name for node in _graph(run)}
    assert any("SimpleNet/Sequential[net]/Linear[3]" in name for name in layers)
    without = fit("--trainer.logger=false")
    assert equal(weights(fit() / "checkpoints/last.ckpt"), weights(without / "checkpoints/last.ckpt"))
    kindling("fit", "--ckpt_path", str(run), "--trainer.max_epochs", "11")
    assert kindling.err == ""
    parts = [EventAccumulator(str(file)).Reload().Tags()["graph"] for file in sorted(run.glob("events*"))]
    assert parts == [True, False]


def _graph(run: Path) -> Any:
    found = events(run).Graph()
    return found.node


def test_a_network_that_cannot_be_traced_is_trained_all_the_same(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("picky.py").write_text(
        "from kindling.models import SimpleNet\n"
        "class Picky(SimpleNet):\n"
        "    '''Takes no single sample.'''\n"
        "    def forward(self, x):\n"
        "        if len(x) == 1:\n"
        "            raise RuntimeError('one is\\ntoo few')\n"
        "        return super().forward(x)\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    out = kindling("fit", "--model=picky.Picky", "--data=SyntheticTabular", "--trainer.max_epochs=1")
    assert kindling.err == ""
    assert out.splitlines()[1] == "No graph in TensorBoard: Picky can't be traced: one is"
    assert not events(RUN).Tags()["graph"]


def test_histograms_are_shown_once_an_epoch_if_asked_for(run: Path, fit: Fit) -> None:
    assert not events(run).Tags()["histograms"]
    with_them = fit("--histograms=true")
    found = events(with_them)
    names_ = {f"{layer}.{kind}" for layer in ("net.1", "net.3") for kind in ("weight", "bias")}
    assert set(found.Tags()["histograms"]) == {f"{of}/{name}" for of in ("weights", "gradients") for name in names_}
    first, last = found.Histograms("weights/net.1.weight")
    assert (first.step, last.step) == (25, 50)
    state = weights(with_them / "checkpoints/last.ckpt")["net.1.weight"]
    assert last.histogram_value.num == 64
    assert last.histogram_value.sum == pytest.approx(float(state.sum()), abs=1e-4)
    assert last.histogram_value.max == pytest.approx(float(state.max()))
