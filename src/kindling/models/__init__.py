"""The networks. A new one is one file here and one line in MODELS: its file, and the data it trains on by default."""

from typing import Any

from kindling.registry import Entry, load

MODELS = {
    "SimpleNet": Entry("kindling.models.simple_net", default_data="SyntheticTabular"),
    "Net": Entry("kindling.models.net", default_data="FashionMNIST"),
    "NeuralNetwork": Entry("kindling.models.neural_network", default_data="FashionMNIST"),
    "WideResNet": Entry("kindling.models.wide_res_net", default_data="FashionMNIST"),
    "Backbone": Entry("kindling.models.backbone"),
    "TripletNet": Entry("kindling.models.triplet_net", default_data="FashionMNIST"),
    "SimpleNN": Entry("kindling.models.simple_nn", default_data="SyntheticTabular"),
    "SequentialNN": Entry("kindling.models.sequential_nn", default_data="SyntheticTabular"),
}


def __getattr__(name: str) -> Any:
    return load(MODELS, name, __name__)
