import json

import pytest
import torch
from conftest import ROOT, RUN, Kindling, rows
from sklearn import datasets
from sklearn.metrics import f1_score

from kindling.errors import DataError, UsageError
from kindling.facts import Facts
from kindling.models import MODELS, Net, NeuralNetwork, SequentialNN, SimpleNet, SimpleNN, WideResNet, triplet_net
from kindling.tasks.scores import MacroF1


def test_simple_net_is_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SimpleNet().parameters()] == [(32, 2), (32,), (2, 32), (2,)]


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (1, 32), (3, 32), (3, 28)])
def test_net_is_lenet_for_both_sizes_and_any_channels(channels: int, size: int) -> None:
    net = Net(in_channels=channels, image_size=size, num_outputs=10)
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [
        *((6, channels, 5, 5), (16, 6, 5, 5)),
        *((120, 400), (84, 120), (10, 84)),
    ]
    assert net(torch.zeros(4, channels, size, size)).shape == (4, 10)


def test_net_refuses_other_sizes() -> None:
    with pytest.raises(DataError, match="28x28 or 32x32 pixels, not 64x64"):
        Net(image_size=64)


def test_nets_options_change_what_they_name() -> None:
    net = Net(channels=(8, 24), widths=(50,), activation="SiLU", norm=True, dropout=0.5, num_outputs=3)
    kinds = [type(layer).__name__ for layer in net.net]
    convolution = ["Conv2d", "BatchNorm2d", "SiLU", "MaxPool2d"]
    assert kinds == [*convolution * 2, "Flatten", "Dropout", "Linear", "BatchNorm1d", "SiLU", "Dropout", "Linear"]
    assert [tuple(p.shape) for p in net.parameters() if p.ndim > 1] == [
        *((8, 1, 5, 5), (24, 8, 5, 5)),
        *((50, 600), (3, 50)),
    ]
    assert [type(layer).__name__ for layer in Net(widths=()).net][-2:] == ["Flatten", "Linear"]


def test_a_net_with_a_mirror_sees_both_sides_alike_when_it_is_trained() -> None:
    torch.manual_seed(0)
    plain, x = Net(), torch.randn(5, 1, 28, 28)
    mirrored = Net(mirror=True)
    mirrored.load_state_dict(plain.state_dict())
    assert torch.equal(mirrored(x), plain(x))  # while it is being trained
    mirrored.eval()
    assert torch.allclose(mirrored(x), (plain(x) + plain(x.flip(3))) / 2)
    assert torch.allclose(mirrored(x), mirrored(x.flip(3)), atol=1e-6)
    assert not torch.allclose(plain(x), plain(x.flip(3)), atol=1e-3)


@pytest.mark.parametrize("name", ["Relu", "Linear"])
def test_an_activation_has_to_be_one(name: str) -> None:
    with pytest.raises(UsageError, match=f"--model.activation {name}: torch.nn has no such activation"):
        Net(activation=name)


def test_wide_res_net_has_the_depth_and_width_asked_for() -> None:
    net = WideResNet(in_channels=3, num_outputs=4, depth=10, width=2)
    assert sum(m.kernel_size == (3, 3) for m in net.modules() if isinstance(m, torch.nn.Conv2d)) == 7
    assert net(torch.zeros(2, 3, 28, 28)).shape == (2, 4)
    assert sum(p.numel() for p in WideResNet(depth=28, width=10, in_channels=3).parameters()) == 36_479_194  # the paper
    with pytest.raises(UsageError, match="depth 12: three stages"):
        WideResNet(depth=12)


@pytest.mark.parametrize("widths", [(), (7,), (512, 512), (5, 4, 3)])
def test_neural_network_has_the_widths_asked_for(widths: tuple[int, ...]) -> None:
    net = NeuralNetwork(in_features=12, widths=widths, num_outputs=3)
    assert [p.shape[0] for p in net.parameters() if p.ndim > 1] == [*widths, 3]
    assert net(torch.zeros(2, 3, 2, 2)).shape == (2, 3)


def test_probabilities_sum_to_one() -> None:
    net = SimpleNet()
    net.set_task(Facts(in_features=2, class_names=("a", "b")))
    predicted = net.predict_step((torch.randn(5, 2),))
    assert predicted.sum(dim=1).tolist() == pytest.approx([1] * 5)


def test_only_what_is_named_is_there() -> None:
    import kindling.models

    assert set(MODELS) == {"SimpleNet", "Net", "NeuralNetwork", "SimpleNN", "SequentialNN", "TripletNet", "WideResNet"}
    with pytest.raises(AttributeError, match="has no attribute 'Nets'"):
        _ = kindling.models.Nets


def test_simple_nn_and_the_sequential_network_are_the_tutorials() -> None:
    assert [tuple(p.shape) for p in SimpleNN().parameters()] == [(2, 2), (2,), (1, 2), (1,)]
    assert [tuple(p.shape) for p in SequentialNN().parameters()] == [(5, 10), (5,), (1, 5), (1,)]


@pytest.mark.first_by_default
@pytest.mark.parametrize(("model", "loss"), [("SimpleNN", "MSELoss"), ("SequentialNN", "BCELoss")])
def test_the_small_networks_learn_with_one_output(kindling: Kindling, model: str, loss: str) -> None:
    kindling("fit", "--model", model, "--trainer.max_epochs=40", "--seed_everything=1", "--test_after_fit=true")
    assert f"{model}, {loss}, " in kindling.out
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.9


@pytest.mark.slow
def test_the_ten_columns_of_the_sequential_network(kindling: Kindling) -> None:
    loaded = datasets.load_diabetes(as_frame=True)
    high = (loaded.target > loaded.target.median()).map({True: "high", False: "low"})
    loaded.data.assign(progress=high).to_csv("diabetes.csv", index=False)
    table = ("--data=TabularCSV", "--data.path=diabetes.csv", "--data.target=progress")
    for loss in ("BCELoss", "MSELoss"):
        kindling("fit", "--model=SequentialNN", *table, f"--model.loss={loss}", "--trainer.max_epochs=30")
        assert f"SequentialNN, {loss}, 61 parameters, on diabetes.csv (progress: 2 classes)" in kindling.out
        kindling("test", "--ckpt_path=best")
    for run in ("version_0", "version_1"):
        assert json.loads((RUN.with_name(run) / "test.json").read_text())["test/acc"] > 0.65


def test_a_recipe_of_fifty_steps(kindling: Kindling) -> None:
    kindling("fit", "-c", str(ROOT / "configs/tutorial_simple_nn.yaml"))
    table = rows(RUN / "metrics.csv")
    assert (len(table), table[-1]["step"]) == (50, "50")
    assert float(table[-1]["train/loss"]) < float(table[0]["train/loss"])


def test_triplets_are_of_two_of_a_class_and_one_of_another() -> None:
    y = torch.tensor([0, 0, 1, 1, 1, 2])
    anchors, positives, negatives = triplet_net.draw(y)
    assert anchors.tolist() == [0, 1, 2, 3, 4]  # the last has no other of its class
    assert (anchors != positives).all()
    assert torch.equal(y[anchors], y[positives])
    assert (y[anchors] != y[negatives]).all()
    assert len(triplet_net.draw(torch.tensor([1, 1]))[0]) == 0


@pytest.mark.usefixtures("fashion")
def test_embeddings_by_triplets(kindling: Kindling) -> None:
    kindling("fit", "--model=TripletNet", "--data.val_size=40", "--data.batch_size=32", "--trainer.max_epochs=30")
    kindling("test", "--ckpt_path=best")
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.8
    kindling("predict", "--ckpt_path=best")
    table = rows(RUN / "predictions.csv")
    assert sum(row["prediction"] == row["label"] for row in table) / len(table) > 0.8
    assert sum(float(value) for key, value in table[0].items() if key.startswith("p(")) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_macro_f1_is_scikit_learns(classes: int) -> None:
    """Also of so many classes that all pairs of them, counted for each sample, would fill the memory."""
    torch.manual_seed(classes)
    shares, labels = torch.rand(1000, classes), torch.randint(classes, (1000,))
    metric = MacroF1(classes, validate_args=False)
    torch.use_deterministic_algorithms(True)
    try:
        metric.update(shares, labels)
        found = float(metric.compute())
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == pytest.approx(f1_score(labels, shares.argmax(dim=1), average="macro"))
