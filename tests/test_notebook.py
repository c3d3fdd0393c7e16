"""The notebook for beginners: it runs from its first cell to its last, and finds what its text and its outputs say."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, needs
from nbclient import NotebookClient
from nbformat import NotebookNode

FILE = ROOT / "examples/first_steps.ipynb"
LARGEST = 300_000  # bytes, with its pictures
SCORE = r"test/rmse.*? between ([\d,]+) and ([\d,]+)"  # in its text, first of SimpleNet, then of the tuned network


def cells(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Those of code, by their names."""
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def ranges(notebook: NotebookNode) -> list[tuple[float, float]]:
    """In which the text says that the scores are."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown").replace("\n", " ")
    return [(float(low.replace(",", "")), float(high.replace(",", ""))) for low, high in re.findall(SCORE, text)]


def scores(notebook: NotebookNode) -> list[float]:
    """``test/rmse`` of SimpleNet and of the tuned network, as the table in the notebook shows them."""
    table = cells(notebook)["compare"].outputs[-1]["data"]["text/plain"]
    simple, _, tuned = re.search(r"test/rmse +(\S+) +(\S+) +(\S+)", table).groups()  # type: ignore[union-attr]
    return [float(simple), float(tuned)]


def check(notebook: NotebookNode) -> None:
    """No cell has failed, and the scores are as the text says."""
    outputs = [output for cell in cells(notebook).values() for output in cell.outputs]
    assert [cell.execution_count for cell in cells(notebook).values()] == [*range(1, len(cells(notebook)) + 1)]
    assert "error" not in {output.output_type for output in outputs}
    assert "Warning" not in json.dumps(outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert len(ranges(notebook)) == 2
    for score, (low, high) in zip(scores(notebook), ranges(notebook), strict=True):
        assert low < score < high
    by_onnx, by_kindling = re.findall(r"[\d,]+(?=;|\n)", cells(notebook)["onnx"].outputs[0].text)
    assert by_onnx == by_kindling


def test_the_notebook_shows_what_it_says_and_nothing_of_the_machine() -> None:
    notebook = nbformat.read(FILE, as_version=4)
    check(notebook)
    text = FILE.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    assert not re.search(r"/(?:home|root|tmp|usr|Users|work)/", text)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@pytest.mark.slow
@pytest.mark.pictures
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("SimpleNet", "TabularCSV")
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    shutil.copytree(ROOT / "examples", "examples")
    notebook = nbformat.read(FILE, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": "examples"}}).execute()
    check(notebook)
    assert {file.name for file in Path().iterdir()} == {"examples", "lightning_logs", "jupyter"}
    assert {file.name for file in Path("lightning_logs").iterdir()} == {"first_steps"}
