"""Pictures of a run and of a test, and what TensorBoard shows beside scalars."""

import csv
import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from kindling.callbacks.report import projector, test_report
from kindling.callbacks.report.publish import publish
from kindling.callbacks.report.score_files import main_scores
from kindling.callbacks.report.test_report import TestReport
from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.facts import Facts
from kindling.models import SimpleNet
from kindling.pictures import curves, lr_search, samples, style
from kindling.pictures.analysis import calibration, confusion
from kindling.tasks import figures

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
    labels, counts = confusion(SHARES, LABELS)
    assert (labels, counts.tolist()) == ([0, 1], [[1, 1], [2, 1]])


def test_of_many_classes_those_with_the_most_mistakes_are_shown_and_then_the_largest() -> None:
    true = torch.tensor([7, 7, 7, 7, 2, 2, 9, 0, 0, 0, 5])
    shares = nn.functional.one_hot(torch.tensor([3, 3, 3, 8, 9, 9, 9, 0, 0, 0, 5]), 10).float()
    labels, counts = confusion(shares, true, most=4)
    assert labels == [2, 3, 7, 9]  # wrong samples of or for a class: 7 four, 3 three, 2 and 9 two
    assert counts.tolist() == [[0, 0, 0, 2, 0], [0] * 5, [0, 3, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert confusion(nn.functional.one_hot(true, 10), true, most=4)[0] == [0, 2, 5, 7]  # 3, 2, 1 and 4 samples
    assert confusion(shares, true, most=10)[1].shape == (10, 10)


def test_calibration_is_as_by_hand() -> None:
    counts, confidence, accuracy, error = calibration(SHARES, LABELS)
    assert counts.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]  # a border belongs to the bin below it
    assert accuracy.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert confidence[5:].tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9, 0.95])
    assert error == pytest.approx((0.6 + 0.7 + 0.2 + 0.1 + 0.95) / 5)


def test_titles_of_classes_hold_the_scores() -> None:
    drawn = figures.of_classes(SHARES, LABELS, Facts(in_features=2, class_names=("a", "b")), "A net")
    titles = {name: draw().get_suptitle() for name, draw in drawn.items()}
    assert titles == {"confusion": "A net: accuracy 0.4000", "reliability": "A net: expected calibration error 0.5100"}
    many = Facts(in_features=2, class_names=("a",) * 50)
    drawn = figures.of_classes(torch.eye(50), torch.arange(50), many, "A net")
    assert drawn["confusion"]().get_suptitle() == "A net: accuracy 1.0000; the 40 most confused of 50 classes"


def test_tags_have_bars_of_precision_recall_and_f1() -> None:
    facts = Facts(in_features=2, class_names=("often", "never", "rare"), task="multilabel")
    predictions = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.1, 0.7], [0.2, 0.1, 0.55], [0.5, 0.1, 0.1]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0]])
    figure = figures.of_tags(predictions, targets, facts, "A net")["tags"]()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["often (3)", "never (0)", "rare (1)"]
    bars = [[bar.get_width() for bar in group] for group in axes.containers]
    assert bars == [
        pytest.approx([1 / 2, 0, 1 / 2]),  # precision
        pytest.approx([1 / 3, 0, 1]),  # recall
        pytest.approx([2 / 5, 0, 2 / 3]),  # F1
    ]
    higher = figures.of_tags(predictions, targets, facts, "A net", threshold=0.6)["tags"]().axes[0]
    assert [bar.get_width() for bar in higher.containers[1]] == pytest.approx([1 / 3, 0, 0])
    many = Facts(in_features=2, class_names=tuple("abc" * 20), task="multilabel")
    title = figures.of_tags(torch.rand(5, 60), torch.ones(5, 60), many, "A net")["tags"]().get_suptitle()
    assert title == "A net: scores per tag (and how many samples have it); the 40 most frequent of 60 tags"


def test_each_of_several_numbers_has_a_panel() -> None:
    facts = Facts(in_features=2, targets=("height", "weight"))
    targets = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 60.0]])
    predictions = targets + torch.tensor([[0.5, 0.0], [0.0, 0.0], [-0.5, 0.0]])
    for std in (0, 2):
        drawn = figures.of_numbers(torch.cat([predictions, targets[:, :std]], dim=1), targets, facts, "A net")
        first, second = drawn["predicted"]().axes
        assert first.get_title() == "MAE 0.3333  RMSE 0.4082  R² 0.7500"
        assert second.get_title() == "MAE 0  RMSE 0  R² 1.0000"
        assert (first.get_xlabel(), second.get_ylabel()) == ("true height", "predicted weight")
        assert len(first.collections) == (2 if std else 1)
    many = Facts(in_features=2, targets=tuple(map(str, range(12))))
    figure = figures.of_numbers(torch.rand(3, 12), torch.rand(3, 12), many, "A net")["predicted"]()
    assert (len(figure.axes), figure.get_suptitle()) == (9, "A net, the first 9 targets")


def test_two_processes_samples_are_put_in_order() -> None:
    report = TestReport(Path())
    report._size = 7
    parts = torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3, 5, 0])  # the first one again, to make it even
    assert report._in_order(parts).tolist() == list(range(7))


def test_images_of_any_kind_become_pixels() -> None:
    assert projector.as_pixels(torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)).flatten().tolist() == [0, 127, 255]
    assert projector.as_pixels(torch.zeros(2, 5, 4, 4, dtype=torch.uint8)).shape == (2, 3, 4, 4)
    assert projector.as_pixels(torch.zeros(2, 2, 4, 4)).shape == (2, 1, 4, 4)


class Tracker(Logger):
    """Keeps the calls of whatever method it is asked for; offers ``offered`` alone."""

    name, version, run_id = "tracker", "1", "run 7"

    def __init__(self, offered: str, by_itself: bool = False) -> None:
        super().__init__()
        self.calls: list[Any] = []
        owner = self if by_itself else SimpleNamespace()
        setattr(owner, offered, lambda *args, **kwargs: self.calls.append((args, kwargs)))
        self.experiment = owner if not by_itself else SimpleNamespace()

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any) -> None: ...


def test_a_picture_goes_to_every_logger_that_takes_one(tmp_path: Path) -> None:
    board, wandb, mlflow = Tracker("add_image"), Tracker("log_image", by_itself=True), Tracker("log_artifact")
    trainer = SimpleNamespace(loggers=[board, wandb, mlflow, Tracker("log_text")])
    file = tmp_path / "new" / "a.png"
    publish(trainer, file, "test/a", 7, lambda: style.new_figure(1, 1, ""))  # type: ignore[arg-type]
    (((tag, pixels, step), _),) = board.calls
    assert (tag, step, pixels.shape) == ("z_test/a", 7, (100, 100, 3))
    (((tag, [image]), options),) = wandb.calls
    assert (tag, options, image.shape) == ("test/a", {"step": 7}, (100, 100, 3))
    assert mlflow.calls == [(("run 7", str(file)), {})]
    assert size(file) == (100, 100)


# Pictures of a test


def test_a_test_of_a_table_leaves_pictures_and_mistakes(run: Path, kindling: Kindling) -> None:
    kindling("test", "--ckpt_path", "best")
    assert kindling.err == ""
    assert names(run) == {"confusion.png", "reliability.png", "boundary.png", "mistakes.png", "mistakes.csv"}
    table = rows(run / "mistakes.csv")
    *scored, files = (line.split() for line in kindling.out.splitlines()[-4:])
    shown = scored[0]
    assert {name.strip(",") for name in files[2:]} == names(run)
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
        (image,) = found.Images(f"z_test/{name}")
        assert image.step == step
        assert (image.width, image.height) == size(run / f"{name}.png")
        in_tensorboard = Image.open(BytesIO(image.encoded_image_string)).convert("RGB")
        assert in_tensorboard.tobytes() == Image.open(run / f"{name}.png").convert("RGB").tobytes()
    (image,) = found.Images("z_run/curves")
    assert (image.step, image.width) == (250, size(run / "curves.png")[0])


def test_a_test_of_images_shows_the_worst_and_projects_all(kindling: Kindling, fashion: Path) -> None:
    kindling("fit", "--model", "Net", "--trainer.max_epochs=1", "--data.val_size=50", "--test_after_fit=true")
    assert names(RUN) == {"confusion.png", "reliability.png", "mistakes.png", "mistakes.csv"}
    assert [float(r["probability"]) for r in rows(RUN / "mistakes.csv")] == sorted(
        (float(r["probability"]) for r in rows(RUN / "mistakes.csv")), reverse=True
    )
    (folder,) = (RUN / "projector").iterdir()
    tensors = [line.split("\t") for line in (folder / "tensors.tsv").read_text().splitlines()]
    assert (len(tensors), len(tensors[0])) == (50, 84)
    metadata = (folder / "metadata.tsv").read_text().splitlines()
    assert metadata[0] == "label\tprediction"
    assert [line.split("\t")[0] for line in metadata[1:4]] == ["T-shirt/top", "Trouser", "Pullover"]
    assert size(folder / "sprite.png") == (8 * 32, 8 * 32)
    with Image.open(folder / "sprite.png") as sprite:
        pixels = np.asarray(sprite)
    second = pixels[3:29, 35:61, 0]  # a trouser, whose bar is in columns 6 and 7 of 28
    assert second.max(axis=0).argmax() in (6, 7)
    frames = pixels[::32, ::32].reshape(-1, 3)[:50]  # in the colours of the labels, which come in turn
    assert len(np.unique(frames, axis=0)) == 10
    assert (frames == np.tile(frames[:10], (5, 1))).all()
    config = (RUN / "projector_config.pbtxt").read_text()
    assert f'tensor_path: "projector/{folder.name}/tensors.tsv"' in config
    assert config.count("single_image_dim: 32") == 2

    kindling("test", "--ckpt_path", "best")
    assert kindling.err == ""
    assert len(kindling.out.splitlines()) == 5
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


@pytest.mark.slow
def test_pictures_are_of_the_last_test_alone(run: Path, kindling: Kindling) -> None:
    kindling("test", "--ckpt_path", "best")
    assert (run / "mistakes.png").is_file()
    kindling("test", "--ckpt_path", "best", "--data.test_size", "1")  # a single sample, predicted rightly
    assert names(run) == {"confusion.png", "reliability.png", "boundary.png"}
    (tensors,) = (run / "projector").glob("*/tensors.tsv")
    assert len(tensors.read_text().splitlines()) == 1


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
    assert events(RUN).Images("z_test/predicted")


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


def by_hand(network: SimpleNet, data: Few, folder: Path) -> None:
    """A test without the command line."""
    with warnings.catch_warnings():
        for message in ("does not have many workers", "LeafSpec", "logger. on"):
            warnings.filterwarnings("ignore", f".*{message}")
        options: dict[str, Any] = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
        trainer = Trainer(callbacks=[TestReport(folder)], accelerator="cpu", **options)
        trainer.test(network, datamodule=data, verbose=False)


@pytest.mark.parametrize("weight", [0.0, torch.nan])
@pytest.mark.parametrize("outputs", [0, 1, 2, 30])
def test_odd_cases_are_drawn_or_left_out(tmp_path: Path, outputs: int, weight: float) -> None:
    names_ = tuple(f"class {n} of $" for n in range(outputs)) if outputs != 1 else ()
    y = torch.ones(3, dtype=torch.int64) if outputs > 1 else torch.tensor([1.0, 1.0, 2.0])
    network = SimpleNet(num_outputs=outputs or 1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, weight)
    by_hand(network, Few(names_, y), tmp_path / "run")
    finite = weight == 0
    drawn = {"confusion.png", "boundary.png"} if outputs > 1 else set()
    drawn |= {"reliability.png" if outputs > 1 else "predicted.png"} if finite else set()
    assert names(tmp_path / "run") == drawn | {"mistakes.png", "mistakes.csv"}


def test_several_numbers_have_a_column_each_among_the_mistakes(tmp_path: Path) -> None:
    data = Few((), torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 60.0]]))
    data._facts = Facts(in_features=2, target="size", targets=("height", "weight"), target_std=(1.0, 10.0))
    by_hand(SimpleNet(num_outputs=2), data, tmp_path)
    assert names(tmp_path) == {"predicted.png", "mistakes.png", "mistakes.csv"}
    first = rows(tmp_path / "mistakes.csv")[0]
    columns = ["height", "weight", "a $", "an odd one $", "prediction(height)", "prediction(weight)", "error"]
    assert list(first) == columns
    errors = [abs(float(first[f"prediction({name})"]) - float(first[name])) for name in ("height", "weight")]
    assert float(first["error"]) == pytest.approx((errors[0] + errors[1] / 10) / 2, rel=1e-4)


class Counting(InMemory):
    """Remembers how many samples it was asked for at once."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__(*tensors)
        self.asked: list[int] = []

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, ...]:
        self.asked.append(len(indices))
        return super().__getitems__(indices)


def report(folder: Path, samples: int) -> Counting:
    """Test a network that is always wrong, by hand; returns the test set, which the loader has gone through."""
    data = Few(("a $", "b"), torch.zeros(samples, dtype=torch.int64))
    data.test_set = Counting(torch.randn(samples, 2), data.test_set.tensors[1])
    data.describe = lambda dataset, indices: {"sample": indices}  # type: ignore[method-assign]
    network = SimpleNet(num_outputs=2)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0)
    with torch.no_grad():
        next(reversed([*network.parameters()]))[1] = 1  # the bias of the second class
    by_hand(network, data, folder)
    return data.test_set


def test_of_a_large_test_set_only_the_samples_shown_are_asked_for(tmp_path: Path) -> None:
    dataset = report(tmp_path, samples=5000)
    assert len(rows(tmp_path / "mistakes.csv")) == 5000
    assert dataset.asked[:625] == [8] * 625  # the test itself
    assert sorted(dataset.asked[625:]) == [24, 1667]  # mistakes.png, and every third point of boundary.png


def test_predictions_too_large_to_hold_get_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(test_report, "HELD_NUMBERS", 99)
    report(tmp_path, samples=50)
    assert capsys.readouterr().out == "No pictures of this test: 50 predictions of 2 numbers are too large to hold\n"
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(test_report, "HELD_NUMBERS", 100)
    report(tmp_path, samples=50)
    assert "confusion.png" in names(tmp_path)


def test_scores_of_single_tags_are_left_to_the_files() -> None:
    network = SimpleNet(num_outputs=2)
    network.set_task(Facts(in_features=2, class_names=("cat", "big_dog"), task="multilabel"))
    named = ["test/loss", "test/f1", "test/f1_cat", "test/f1_big_dog", "test/acc_top5"]
    assert main_scores(named, network) == ["test/loss", "test/f1", "test/acc_top5"]
    assert main_scores(named, LightningModule()) == named


# Letters


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files of the fonts of this machine, at first none but matplotlib's own; in a process that has drawn nothing."""
    installed: list[str] = []
    own = [font for font in fontManager.ttflist if font.fname.startswith(matplotlib.get_data_path())]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: installed)
    monkeypatch.setattr(style, "_families", ["sans-serif"])
    monkeypatch.setattr(style, "_boxes", [])
    return installed


def font(file: Path, letters: str) -> str:
    """A font whose letters are black squares of the height of the type, in one weight; returns its file."""
    glyphs = [".notdef", *(f"u{ord(letter):X}" for letter in letters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    made = FontBuilder(1000)
    made.setupGlyphOrder(glyphs)
    made.setupCharacterMap({ord(letter): name for letter, name in zip(letters, glyphs[1:], strict=True)})
    made.setupGlyf(dict.fromkeys(glyphs, square))
    made.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    made.setupHorizontalHeader(ascent=1000, descent=0)
    made.setupNameTable({"familyName": file.stem, "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(file)
    return str(file)


def black(picture: Callable[[], Figure]) -> int:
    """Its black pixels."""
    return int((style.paint(picture) < 60).all(axis=2).sum())


def test_letters_that_the_usual_font_lacks_are_of_another_one(
    fonts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    title, one, two = 100 / 72 * 10, tmp_path / "one.ttf", tmp_path / "two.ttf"  # pixels of the title's type
    fonts += [font(one, "房"), font(two, "房价"), str(tmp_path / "gone.ttf")]
    assert black(lambda: style.new_figure(2, 1, "房价")) == pytest.approx(2 * title**2, rel=0.1)
    assert style._families == ["sans-serif", "two"]  # which has most of the letters
    cells = {"房": ["价", "价价"]}  # the name of a column is bold, which this font does not have, and all is monospaced
    assert black(lambda: samples.table(cells, "")) == pytest.approx(4 * (0.8 * title) ** 2, rel=0.2)
    fonts += [font(tmp_path / "three.ttf", "户")]  # installed meanwhile
    assert black(lambda: style.new_figure(2, 1, "房价户")) == pytest.approx(3 * title**2, rel=0.1)
    assert style._families == ["sans-serif", "two", "three"]
    assert capsys.readouterr().out == ""
    assert caplog.text == ""


def test_letters_that_no_font_has_are_said_once(fonts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    style.paint(lambda: style.new_figure(2, 1, "plain \u200b"))  # a letter that nobody sees
    assert capsys.readouterr().out == ""
    for title in ("城区, 房价", "城区, 房价", "户型"):
        style.paint(lambda title=title: style.new_figure(2, 1, title))  # type: ignore[misc]
    hint = "install one that does, e.g. apt install fonts-noto-cjk for Chinese"
    assert (
        capsys.readouterr().out == f"No font here has 城, 区 and 2 more letters: pictures show boxes instead; {hint}\n"
    )


def test_other_warnings_of_a_drawing_go_on() -> None:
    def draw() -> Figure:
        warnings.warn("odd", UserWarning, stacklevel=1)
        return style.new_figure(2, 1, "")

    with pytest.warns(UserWarning, match="odd"):
        style.paint(draw)


@pytest.mark.slow
def test_classes_in_chinese(fonts: list[str], kindling: Kindling) -> None:
    rows_ = "".join(f"{n % 7},{n % 3},{'房价'[n % 2]}\n" for n in range(80))
    Path("表.csv").write_text(f"面积,户型,类\n{rows_}", encoding="utf-8")
    data = ("--data=TabularCSV", "--data.path=表.csv", "--data.target=类", "--trainer.max_epochs=1")
    kindling("fit", "--model=SimpleNet", *data, "--test_after_fit=true")
    assert kindling.out.count("No font here has 价 and 房: pictures show boxes instead; ") == 1
    boxes = (RUN / "confusion.png").read_bytes()
    fonts += [font(Path("square.ttf").resolve(), "房价面积户型类")]
    style._boxes.clear()  # as in another process
    kindling("test", "--ckpt_path=best")
    assert "No font here" not in kindling.out
    assert (RUN / "confusion.png").read_bytes() != boxes
    image = Image.open(BytesIO(events(RUN).Images("z_test/confusion")[-1].encoded_image_string)).convert("RGB")
    assert image.tobytes() == Image.open(RUN / "confusion.png").convert("RGB").tobytes()


def test_chinese_letters_are_twice_as_wide() -> None:
    assert [style.clip("x" * n) for n in (20, 21)] == ["x" * 20, "x" * 19 + "…"]
    assert [style.clip("蚁" * n) for n in (10, 11)] == ["蚁" * 10, "蚁" * 9 + "…"]
    assert style.clip("蚁 x\n" * 9, 8) == "蚁 x 蚁…"
    assert style.new_figure(1, 1, "蚁" * 20).get_figwidth() == style.new_figure(1, 1, "x" * 40).get_figwidth()
    wide, narrow = (samples.table({"a": [letter * n]}, "") for letter, n in (("蚁", 50), ("x", 100)))
    assert wide.get_figwidth() == narrow.get_figwidth() == pytest.approx(0.078 * 102)


# Pictures of a training


@pytest.mark.slow
def test_curves_have_at_most_three_panels_a_row() -> None:
    points = {"train": [(1, 0.5), (2, 0.4)], "val": [(1, torch.nan), (2, torch.inf)]}
    for panels, (across, down) in {1: (1, 1), 3: (3, 1), 4: (2, 2), 5: (3, 2), 7: (3, 3)}.items():
        names = [str(n) for n in range(panels)]
        figure = curves.draw(dict.fromkeys(names, points), "title", dict.fromkeys(names, " (standard units)"))
        assert figure.axes[0].get_ylabel() == "0 (standard units)"
        assert len(figure.axes) == panels
        assert figure.get_size_inches().tolist() == pytest.approx([4 * across, 2.8 * down + 0.4])
        style.paint(lambda figure=figure: figure)  # type: ignore[misc]


@pytest.mark.slow
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
    assert set(found.Tags()["histograms"]) == {f"{of}/{name}" for of in ("weights", "z_gradients") for name in names_}
    first, last = found.Histograms("weights/net.1.weight")
    assert (first.step, last.step) == (25, 50)
    state = weights(with_them / "checkpoints/last.ckpt")["net.1.weight"]
    assert last.histogram_value.num == 64
    assert last.histogram_value.sum == pytest.approx(float(state.sum()), abs=1e-4)
    assert last.histogram_value.max == pytest.approx(float(state.max()))


def test_the_rates_of_a_search_are_labelled_by_numbers() -> None:
    seen: list[list[str]] = []

    def draw() -> Figure:
        figure = lr_search.draw([1e-5, 1e-3, 0.1, 1], [1.0, 0.5, 0.2, 0.1], 0.01, "SimpleNet", "")
        figure.canvas.draw()
        seen.append([label.get_text() for label in figure.axes[0].get_xticklabels()])
        return figure

    style.paint(draw)
    assert {"0.001", "0.1", "1"} <= {*seen[0]}
    assert not any("$" in label for label in seen[0])
