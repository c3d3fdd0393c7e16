"""What is exported answers as the network does, for readers who have nothing but the files."""

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pandas as pd
import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import kindling as package
from kindling import data as datasets
from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.data.table.forms import DAYS, DIGITS, expand, written
from kindling.export import write as export
from kindling.export.interface import describe
from kindling.facts import LARGEST, Facts
from kindling.models import SimpleNet
from kindling.models.base import SupervisedModule
from kindling.runs.find import Checkpoint
from kindling.runs.folder import Run
from kindling.tasks.base import Task

FOLDER = RUN / "export"


def run_onnx(x: NDArray[Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(FOLDER / "model.onnx", providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(["prediction"], {"x": x})[0]
    return answer


def run_pt2(x: NDArray[Any]) -> NDArray[np.float32]:
    network = torch.export.load(FOLDER / "model.pt2").module()
    answer: NDArray[np.float32] = network(torch.from_numpy(x)).detach().numpy()
    return answer


READERS = {"onnx": run_onnx, "pt2": run_pt2}


def interface() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / "preprocessing.json").read_text(encoding="utf-8"))
    return content


def predicted(*columns: str) -> NDArray[np.float64]:
    return np.array([[float(row[c]) for c in columns] for row in rows(RUN / "predictions.csv")])


def run_the_cards_examples(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """What each code block of the model card computes, run in the folder of the files."""
    answers = []
    with monkeypatch.context() as patch:
        patch.chdir(FOLDER)
        for code in re.findall(r"```python\n(.*?)```", Path("MODEL_CARD.md").read_text(encoding="utf-8"), re.DOTALL):
            names: dict[str, Any] = {}
            exec(compile(code, "MODEL_CARD.md", "exec"), names)
            answers.append(torch.as_tensor(names.get("prediction", names.get("outputs"))).detach().numpy())
    return answers


def export_as(kindling: Kindling, format: str, unit: float = 1) -> None:
    out = kindling("export", "--ckpt_path", "best", "--format", format)
    assert kindling.err == ""
    said = re.findall(r"^largest difference on (\d+) samples (\S+) -> (\S+)$", out, re.MULTILINE)
    assert [Path(file) for *_, file in said] == (
        [FOLDER / "weights.pt", FOLDER / "weights.safetensors"] if format == "weights" else [FOLDER / f"model.{format}"]
    )
    assert all(float(difference) <= (0 if format == "weights" else 1e-4 * unit) for _, difference, _ in said)
    assert out.splitlines()[-1].endswith(f" -> {FOLDER}/MODEL_CARD.md")


@pytest.mark.slow
def test_every_format_answers_as_predict_does_and_the_card_loads_it(
    run: Path, kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    kindling("predict", "--ckpt_path", "best")
    kindling("test", "--ckpt_path", "best")
    for format in export.FORMATS:
        export_as(kindling, format)
    assert {f.name for f in FOLDER.iterdir()} == {
        *("weights.pt", "weights.safetensors", "model.onnx", "model.pt2", "preprocessing.json", "MODEL_CARD.md")
    }

    best = weights(run / "checkpoints/best.ckpt")
    assert equal(torch.load(FOLDER / "weights.pt", weights_only=True), best)
    assert equal(load_file(FOLDER / "weights.safetensors"), best)
    with safe_open(FOLDER / "weights.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["class_path"] == "tiny.simple_net.SimpleNet"
    assert json.loads(metadata["init_args"]) == {"in_features": 2, "hidden": 32, "num_outputs": 2}

    told = interface()
    assert [c["column"] for c in told["input"]["columns"]] == ["price", "rating"]
    scores = json.loads((run / "test.json").read_text())
    epoch = next(row for row in rows(run / "metrics.csv") if row["epoch"] == str(scores["epoch"]))
    assert told["scores"] == {
        **{name: float(score) for name, score in epoch.items() if name.startswith("val/")},
        **{name: score for name, score in scores.items() if name.startswith("test/")},
    }
    checkpoint = {"file": f"{run}/checkpoints/best.ckpt", "epoch": scores["epoch"], "step": scores["step"]}
    whose = {"format": 2, "network": "SimpleNet", "data": "SyntheticTabular", "checkpoint": checkpoint}
    assert whose.items() <= told.items()
    x = predicted("price", "rating").astype(told["input"]["dtype"])
    expected = predicted(*(f"p({name})" for name in told["output"]["columns"]))
    for read in READERS.values():
        for size in (1, 7, 1000):
            answer = read(np.resize(x, (size, 2)))
            np.testing.assert_allclose(answer, np.resize(expected, (size, 2)), atol=1e-6)

    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for fact in ("162 parameters", "for 8 epochs", "price, rating", f"torch {torch.__version__.partition('+')[0]}"):
        assert fact in card
    assert f"- test/acc {scores['test/acc']:.4f}" in card
    assert "- val/loss 0.0226" in card
    assert f"- baseline/acc {scores['baseline/acc']:.4f}" in card
    assert f"The baseline is: {scores['baseline']}." in card
    examples = run_the_cards_examples(monkeypatch)  # of all three exports, of which the last wrote the card
    assert [a.shape for a in examples] == [(1, 2)] * 3
    np.testing.assert_allclose(examples[0], examples[1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", pytest.param("pt2", marks=pytest.mark.slow)])
def test_a_convolution_takes_pixels(
    kindling: Kindling, fashion: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kindling("fit", "--model", "Net", "--data.val_size", "40", "--trainer.max_epochs", "1")
    kindling("predict", "--ckpt_path", "best")
    export_as(kindling, format)
    told = interface()
    assert (told["input"]["shape"], told["input"]["dtype"]) == (["N", 1, 28, 28], "uint8")
    data = datasets.FashionMNIST()
    data.setup("test")
    images = data.test_set.tensors[0].numpy()
    expected = predicted(*(f"p({name})" for name in told["output"]["columns"]))
    for size in (1, 7, 1000):
        answer = READERS[format](np.resize(images, (size, 1, 28, 28)))
        np.testing.assert_allclose(answer, np.resize(expected, (size, 10)), atol=1e-5)
    assert [a.shape for a in run_the_cards_examples(monkeypatch)] == [(1, 10)]
    assert "pixels from 0 to 255" in (FOLDER / "MODEL_CARD.md").read_text()


def write_flats(path: str) -> None:
    """Flats with gaps in both kinds of columns, and a town that few training rows have, if any."""
    draw = np.random.default_rng(0)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["size", "town", "floor", "price", "sold"])
        for n in range(300):
            size, town = draw.uniform(20, 200), draw.choice(["Ulm", "Bonn", "Köln, West"])
            price = 1e5 + 4000 * size * (1.5 if town == "Ulm" else 1)
            shown = "Oz" if n == 0 else "" if n % 7 == 0 else town
            table.writerow(
                ["" if n % 11 == 0 else f"{size:.2f}", shown, n % 5, f"{price:.0f}", "yes" if size > 99 else "no"]
            )


def encoded(cells: list[dict[str, str]], told: dict[str, Any]) -> NDArray[Any]:
    """Rows of texts to what the file takes, by nothing but ``preprocessing.json``."""

    def number(column: dict[str, Any], cell: str) -> float:
        if "texts" not in column:
            return float(cell or column["gap"])
        return float(column["texts"].get(cell, column["unseen"]) if cell else column["gap"])

    return np.array([[number(c, row[c["column"]]) for c in told["columns"]] for row in cells], dtype=told["dtype"])


CARS = ["colour;sold on;km;doors;price"]
CARS += [
    f"{('red', 'red', 'blue', '')[n % 4]};{n % 28 + 1:02}.0{n % 7 + 1}.2024;{n}.000,0 km;{n % 3 + 2 if n % 5 else ''};"
    f"{9000 - 100 * n}"
    for n in range(1, 60)
]


def described(kindling: Kindling, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, Any]:
    """``preprocessing.json`` beside a network that is not written, which takes some seconds."""
    monkeypatch.setattr(export, "_write_whole_network", lambda *args: {})
    kindling("export", "--ckpt_path=best", "--format=onnx", *options)
    assert kindling.err == ""
    return interface()


def test_the_json_says_what_a_table_takes_with_an_example_that_works(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("cars.csv").write_text("\n".join(CARS), encoding="utf-8")
    fit = ["fit", "--model=SimpleNet", "--data=TabularCSV", "--data.path=cars.csv", "--data.target=price"]
    kindling(*fit, "--trainer.max_epochs=1", *GAUSSIAN)
    told = described(kindling, monkeypatch)
    data = datasets.TabularCSV("cars.csv", "price")
    data.setup("fit")
    x = data.train_set.tensors[0].numpy()
    columns = told["input"]["columns"]
    assert [c["column"] for c in columns] == [*data.facts.feature_names]
    by_name = {c["column"]: (c, x[:, n][np.isfinite(x[:, n])]) for n, c in enumerate(columns)}
    for column, values in by_name.values():
        if "texts" not in column:
            assert (column["low"], column["high"]) == (values.min(), values.max())
            assert column["largest"] == min(data.learned.numeric[column["column"]][2], 1) * LARGEST
    colour, _ = by_name["colour"]
    assert (colour["texts"], colour["gap"]) == ({"blue": 0, "red": 1}, 2)
    median = {name: int(np.sort(values)[(len(values) - 1) // 2]) for name, (_, values) in by_name.items()}
    day = np.datetime64(median["sold on"], "D").item().strftime("%d.%m.%Y")
    km = f"{median['km'] // 1000}.000 km"
    fields = [
        {"name": "colour", "type": "category", "gap": True, "choices": ["blue", "red"], "example": "red"},
        {"name": "sold on", "type": "text", "gap": True, "form": "DD.MM.YYYY", "example": day},
        {"name": "km", "type": "text", "gap": True, "form": "1.234,5 km", "example": km},
        {"name": "doors", "type": "number", "gap": True, "low": 2, "high": 4, "example": median["doors"]},
    ]
    assert told["input"]["fields"] == fields
    assert told["task"] == {
        **{"kind": "regression", "target": "price", "targets": [], "class_names": [], "threshold": 0.5},
        "with_std": True,
    }

    network, trained_on = package.load(RUN)

    def predicted(fields: list[dict[str, Any]]) -> torch.Tensor:
        lines = (";".join(str(f[key]) for f in fields) for key in ("name", "example"))
        Path("new.csv").write_text("\n".join(lines), encoding="utf-8")
        data = datasets.TabularCSV("cars.csv", "price", predict_path="new.csv")
        data.load_state_dict(trained_on.state_dict())
        data.setup("predict")
        return network.predict_step((data.normalize(data.predict_set.tensors[0]),))

    assert predicted(fields).isfinite().all()
    Path("cars.csv").rename("others.csv")  # so that the training rows are not to be had
    fields = described(kindling, monkeypatch, "--data.test_path=others.csv")["input"]["fields"]
    assert "The range of each column is left out, as the training rows can't be read: --data.path cars" in kindling.out
    assert [f["name"] for f in fields] == ["colour", "sold on", "km", "doors"]
    assert not any("low" in f for f in fields)
    assert predicted(fields).isfinite().all()


@pytest.mark.parametrize("form", [*DAYS, ".", ","])
def test_an_example_is_read_as_what_it_was_written_from(form: str) -> None:
    units = ["", "$", "£", "¥", "%", "USD", "km", "m2", "㎡", "平方米"] if form in DIGITS else [""]
    values = [0, 7.5, -1234.5, 1e-7, 1234567, -(10**18)] if form in DIGITS else [0, 365 * 33 + 100, 19_999]
    for unit in units:
        texts = [written(value, form, unit) for value in values]
        found = expand(pd.DataFrame({"c": texts}), {"c": ["c", form, unit]}, str)["c"].tolist()
        if form in DIGITS or "%d" in form:
            assert found == values
        else:  # of a month its first day
            assert all(0 <= value - first < 31 for value, first in zip(values, found, strict=True))


class Lines(SupervisedModule):
    """One linear layer on whatever it gets."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.net = nn.Linear(in_features, num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.net(x.flatten(1))
        return outputs


class Denoiser(Lines):
    """Images to images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @classmethod
    def configure_task(cls, facts: Facts, loss: nn.Module | None) -> Task:
        return Task(facts, loss)


class Sensors(DataModule):
    """An adopter's own: names of its columns, and nothing else."""

    def __init__(self, lost: bool = False) -> None:
        super().__init__(batch_size=4)
        self.lost = lost

    @property
    def facts(self) -> Facts:
        return Facts(in_features=3, feature_names=("on", "hot", "none"), class_names=("a", "b", "c"))

    def setup(self, stage: str) -> None:
        if self.lost:
            raise FileNotFoundError("sensors.h5 is gone")
        x = torch.tensor([[1.0, 20.5, np.nan], [0.0, 30.25, np.nan], [1.0, 90.0, np.nan]])
        self.train_set = InMemory(x, torch.tensor([0, 1, 2]))


def described_by(data: DataModule, x: torch.Tensor, network: type[Lines] = Lines) -> dict[str, Any]:
    model = network(in_features=data.facts.in_features, num_outputs=len(data.facts.class_names) or 1)
    model.set_task(data.facts)
    with torch.no_grad():
        told = describe(model, data, Checkpoint(Path("w.ckpt"), Run(Path("w"))), {}, x, whole=True)
    return dict(json.loads(json.dumps(told, allow_nan=False)))


def test_the_json_of_products_images_and_data_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    number = {"type": "number", "gap": False}
    products = datasets.SyntheticTabular()
    products.setup("fit")
    low, high = (f(products.train_set.tensors[0], dim=0).tolist() for f in (torch.amin, torch.amax))
    told = described_by(products, torch.zeros(2, 2))["input"]
    for n, (name, example) in enumerate([("price", 5.47), ("rating", 2.93)]):
        found = told["columns"][n] | told["fields"][n]
        known = {"column": name, "name": name, **number, "largest": LARGEST, "example": example}
        assert found == known | {"low": pytest.approx(low[n]), "high": pytest.approx(high[n])}
        assert np.float32(found["low"]) == low[n]

    told = described_by(Sensors(), torch.zeros(2, 3))["input"]
    assert told["fields"] == [
        {"name": "on", **number, "low": 0, "high": 1, "example": 1},
        {"name": "hot", **number, "low": 20.5, "high": 90, "example": 30.2},
        {"name": "none", **number, "example": 0},
    ]
    told = described_by(Sensors(lost=True), torch.zeros(2, 3))["input"]
    assert told["fields"] == [{"name": name, **number, "example": 0} for name in ("on", "hot", "none")]
    assert capsys.readouterr().out.endswith("as the training rows can't be read: sensors.h5 is gone\n")

    x, y = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), torch.arange(40.0).view(20, 2)
    told = described_by(datasets.FromDatasets((x[:20], y)), x)
    assert told["input"] == {
        "name": "x",
        "shape": ["N", 5],
        "dtype": "float32",
        "meaning": "samples as the data has them",
    }
    assert (told["task"]["kind"], told["task"]["targets"]) == ("regression", ["y0", "y1"])

    for name in ("a", "b"):
        Path("grey", name).mkdir(parents=True)
        for n in range(6):
            Image.new("L", (9, 9), n).save(f"grey/{name}/{n}.png")
    data = datasets.ImageFolder("grey", image_size=8)
    told = described_by(data, torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    assert told["input"]["image"] == {"mode": "L", "size": 8, "ground": "white", "fit": "middle square"}
    assert (told["task"]["kind"], told["output"]["shape"]) == ("binary", ["N", 2])
    told = described_by(datasets.FashionMNIST(), torch.zeros(2, 1, 28, 28, dtype=torch.uint8))
    assert told["input"]["image"] == {"mode": "L", "size": 28, "ground": "black", "fit": "pad"}
    told = described_by(data, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), Denoiser)
    assert (told["task"]["kind"], told["output"]["shape"]) == ("other", ["N", 1, 8, 8])
    assert told["output"]["meaning"] == "label, as Task predicts it"


GAUSSIAN = ["--loss", "GaussianNLLLoss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "target", "ignored", "options"),
    [
        ("onnx", "price", "sold", GAUSSIAN),
        pytest.param("pt2", "price", "sold", GAUSSIAN, marks=pytest.mark.slow),
        pytest.param("onnx", "sold", "price", [], marks=pytest.mark.slow),
        pytest.param("pt2", "sold", "price", [], marks=pytest.mark.slow),
    ],
)
def test_a_table_with_gaps_and_categories_needs_the_json_beside_it_and_no_more(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, format: str, target: str, ignored: str, options: list[str]
) -> None:
    write_flats("flats.csv")
    data = ["--data", "TabularCSV", "--data.path", "flats.csv", "--data.target", target, "--data.ignore", ignored]
    kindling("fit", "--model", "SimpleNet", *data, *options, "--trainer.max_epochs", "3")
    kindling("predict", "--ckpt_path", "best", "--data.predict_path", "flats.csv")
    export_as(kindling, format, unit=1 if target == "sold" else 1e5)
    told = interface()
    columns = told["output"]["columns"]
    assert columns == (["no", "yes"] if target == "sold" else ["prediction", "std"])
    x = encoded(rows(Path("flats.csv")), told["input"])
    assert np.isnan(x).any()
    expected = predicted(*(f"p({name})" if target == "sold" else name for name in columns))
    assert expected.std(axis=0).min() > 0.01
    unit = 1 if target == "sold" else expected.std()
    for size in (1, 7, 1000):
        answer = READERS[format](np.resize(x, (size, 3)))
        np.testing.assert_allclose(answer / unit, np.resize(expected, (size, 2)) / unit, atol=1e-5)
    assert [a.shape for a in run_the_cards_examples(monkeypatch)] == [(1, 2)]


@pytest.mark.slow
def test_a_file_that_answers_something_else_is_not_kept(
    run: Path, kindling: Kindling, monkeypatch: pytest.MonkeyPatch
) -> None:
    FOLDER.mkdir()
    (FOLDER / "model.onnx").write_bytes(b"an older one")
    export_onnx = ("export", "--ckpt_path", "best", "--format", "onnx")
    forward = export.WholeNetwork.forward
    monkeypatch.setattr(export.WholeNetwork, "forward", lambda self, x: forward(self, x) + 0.001)
    error = _error(kindling, *export_onnx)
    assert "model.onnx was not kept: read back, it differs by up to 1.0e-03 from the network on 200 samples" in error

    monkeypatch.setattr(export.WholeNetwork, "forward", lambda self, x: forward(self, x)[:, :1])
    assert "differs by up to inf" in _error(kindling, *export_onnx)

    monkeypatch.setattr(export, "_program", lambda *args: b"rubbish")
    assert "model.onnx was not kept, as it can't be read back: " in _error(kindling, *export_onnx)
    assert [f.name for f in FOLDER.iterdir()] == ["model.onnx"]
    assert (FOLDER / "model.onnx").read_bytes() == b"an older one"


@pytest.mark.slow
def test_what_a_user_can_mend_is_one_line(run: Path, kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    export_onnx = ("export", "--ckpt_path", "best", "--format", "onnx")
    find_spec = importlib.util.find_spec
    with monkeypatch.context() as patch:
        patch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
        error = kindling.fails(*export_onnx)
    assert "--format onnx needs onnx, onnxruntime and onnxscript: pip install -e '.[onnx]'" in error

    FOLDER.write_text("a file where the folder would be")
    assert f"{FOLDER} can't be used (File exists): another kind of file has that name" in kindling.fails(*export_onnx)
    FOLDER.unlink()

    for forward, why in (
        (lambda self, x: self.net(x if x.sum() > 0 else -x), "Could not guard on data-dependent expression"),
        (lambda self, x: self.net(x.reshape(len(x), 2)), "it fixes the batch size; take x.shape[0] for it"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(SimpleNet, "forward", forward)
            error = kindling.fails(*export_onnx)
            assert f"SimpleNet after the normalize of SyntheticTabular can't be written as onnx: {why}" in error


def _error(kindling: Kindling, *args: str) -> str:
    kindling(*args, code=2)
    assert kindling.err.count("\n") == 1
    return kindling.err
