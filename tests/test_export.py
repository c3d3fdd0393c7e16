"""What is exported answers as the network does, for readers who have nothing but the files."""

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from conftest import RUN, Kindling, equal, rows, weights
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file

from kindling import data as datasets
from kindling.export import write as export
from kindling.models import SimpleNet

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
    x = predicted("price", "rating").astype(told["input"]["dtype"])
    expected = predicted(*(f"p({name})" for name in told["output"]["columns"]))
    for read in READERS.values():
        for size in (1, 7, 1000):
            answer = read(np.resize(x, (size, 2)))
            np.testing.assert_allclose(answer, np.resize(expected, (size, 2)), atol=1e-6)

    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    scores = json.loads((run / "test.json").read_text())
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
