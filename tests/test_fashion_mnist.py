import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RUN, Kindling, rows
from PIL import Image
from torchvision import datasets

from kindling.data import fashion_mnist
from kindling.data.fashion_mnist import FashionMNIST
from kindling.errors import DataError


def test_fashion_mnist_is_split_by_seed_and_its_test_set_left_whole(fashion: Path) -> None:
    def split(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        data = FashionMNIST(val_size=30, seed=seed)
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (170, 30, 50)
        assert data.test_set.tensors[1].tolist() == [n % 10 for n in range(50)]
        return data.train_set.tensors[0], data.val_set.tensors[0]

    (train, val), (same, _), (other, _) = split(1), split(1), split(2)
    assert torch.equal(train, same)
    assert not torch.equal(train, other)
    assert len(torch.cat([train, val]).flatten(1).unique(dim=0)) == 200  # disjoint, and together everything


def test_fashion_mnist_trains_from_the_archives_alone(kindling: Kindling, fashion: Path) -> None:
    before = {f.name: f.read_bytes() for f in fashion.iterdir()}
    assert set(before) == {name for name, _ in datasets.FashionMNIST.resources}
    kindling("fit", "--model=Net", "--data.val_size=40", "--data.batch_size=16", "--trainer.max_epochs=8")
    assert kindling.err == ""
    kindling("test", "--ckpt_path", "best")
    assert json.loads((RUN / "test.json").read_text())["test/acc"] > 0.9
    assert {name: (fashion / name).read_bytes() for name in before} == before


def test_a_half_unpacked_archive_is_named(fashion: Path) -> None:
    FashionMNIST().prepare_data()
    unpacked = fashion / "train-images-idx3-ubyte"
    unpacked.write_bytes(unpacked.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"are damaged, .* delete them, so that the archives are unpacked"):
        FashionMNIST().prepare_data()
    unpacked.unlink()
    FashionMNIST(val_size=30).prepare_data()
    assert unpacked.stat().st_size == 16 + 200 * 28 * 28


@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_without_the_archives_and_a_network_one_line_says_what_goes_where(
    kindling: Kindling, fashion: Path, damage: str
) -> None:
    archive = fashion / "t10k-labels-idx1-ubyte.gz"
    content = archive.read_bytes()
    if damage == "missing":
        archive.unlink()
    elif damage == "truncated":
        archive.write_bytes(content[:-20])
    else:
        archive.write_bytes(gzip.compress(gzip.decompress(content)[:-1] + b"?", mtime=0))
    kindling("fit", "--model", "Net", code=2)
    assert kindling.err.count("\n") == 1
    assert "FashionMNIST is not in data/FashionMNIST/raw, or in parts, or damaged, and can't be dow" in kindling.err
    assert kindling.err.endswith("put these official archives there: t10k-labels-idx1-ubyte.gz\n")
    assert not list(Path("lightning_logs").glob("version_*"))


def test_a_picture_of_16_bits_has_the_same_greys() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(grey).save("8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save("16.png")
    data = FashionMNIST(samples=["8.png", "16.png"])
    data.setup("predict")
    assert data.predict_set.tensors[0].tolist() == [[grey.tolist()]] * 2


def test_a_damaged_archive_costs_no_unpacked_file(fashion: Path) -> None:
    FashionMNIST().prepare_data()
    before = {f: f.read_bytes() for f in fashion.glob("*-ubyte")}
    (fashion / "train-images-idx3-ubyte.gz").write_bytes(b"")
    FashionMNIST().prepare_data()
    assert {f: f.read_bytes() for f in fashion.glob("*-ubyte")} == before


@pytest.mark.slow
def test_two_processes_at_once_prepare_the_data(fashion: Path) -> None:
    resources = repr(datasets.FashionMNIST.resources)
    script = (
        "from torchvision import datasets; from kindling.data import FashionMNIST\n"
        f"datasets.FashionMNIST.resources = {resources}\n"
        "data = FashionMNIST(val_size=10); data.prepare_data(); data.setup('fit'); print(len(data.train_set))"
    )
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["190\n", "190\n"]


@pytest.mark.usefixtures("fashion")
def test_training_images_alone_are_changed(kindling: Kindling) -> None:
    still = ("--optimizer=SGD", "--optimizer.lr=1e-12")
    for options in ([], ["--data.flip=true", "--data.shift=3"]):
        kindling("fit", "--model=Net", "--data.val_size=40", "--trainer.max_epochs=1", *still, *options)
        kindling("test", "--ckpt_path=best")
    plain, changed = (rows(RUN.with_name(f"version_{n}") / "metrics.csv")[0] for n in (0, 1))
    assert float(plain["train/loss"]) != pytest.approx(float(changed["train/loss"]), abs=1e-4)
    assert float(plain["val/loss"]) == pytest.approx(float(changed["val/loss"]), abs=1e-6)
    plain, changed = (json.loads((RUN.with_name(f"version_{n}") / "test.json").read_text()) for n in (0, 1))
    assert plain["test/loss"] == pytest.approx(changed["test/loss"], abs=1e-6)
    data = FashionMNIST(val_size=40, flip=True, shift=3)
    data.setup("fit")
    x = data.train_set.tensors[0][:20]
    torch.manual_seed(0)
    assert not torch.equal(data.augment(x), x)
    assert torch.equal(data.on_after_batch_transfer((x,), 0)[0], data.normalize(x))  # outside training


def test_more_validation_images_than_there_are(kindling: Kindling, fashion: Path) -> None:
    assert "--data.val_size 5000: there are 200 images" in _line(kindling, "fit", "--model", "Net")


def _line(kindling: Kindling, *args: str) -> str:
    kindling(*args, code=2)
    return kindling.err


@pytest.mark.slow
@pytest.mark.usefixtures("real")
def test_fashion_mnists_constants_are_those_of_the_training_images() -> None:
    data = FashionMNIST(val_size=1)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    x = torch.cat([data.train_set.tensors[0], data.val_set.tensors[0]]).double() / 255
    assert (len(x), len(data.test_set)) == (60_000, 10_000)
    assert x.mean().item() == pytest.approx(fashion_mnist.MEAN, abs=5e-5)
    assert x.std().item() == pytest.approx(fashion_mnist.STD, abs=5e-5)
