"""The datasets. A new one is one file here and one line in DATA."""

from typing import Any

from kindling.registry import Entry, load

DATA = {
    "SyntheticTabular": Entry("kindling.data.synthetic_tabular"),
    "FashionMNIST": Entry("kindling.data.fashion_mnist"),
    "TabularCSV": Entry("kindling.data.tabular_csv"),
    "ImageFolder": Entry("kindling.data.image_folder"),
}
IN_PYTHON = {"FromDatasets": Entry("kindling.data.from_datasets")}  # takes what can't be typed


def __getattr__(name: str) -> Any:
    return load(DATA | IN_PYTHON, name, __name__)
