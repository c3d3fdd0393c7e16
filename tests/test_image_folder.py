"""Folders of images: what is found, how it is read, and that the way it is read changes nothing."""

import json
import os
import shutil
import signal
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from benchmarks import image_memory
from conftest import RUN, Kindling, equal, rows, weights
from PIL import Image
from test_interrupted import next_second

import kindling as package
from kindling.data import FromDatasets, ImageFolder
from kindling.data.loading import BalancedShuffle, take
from kindling.errors import DataError
from kindling.models import Net

CLASSES = ("a b", "predictions", "图 🐜")  # sorted
NET = ("fit", "--model=Net", "--data=ImageFolder", "--data.root=photos", "--trainer.max_epochs=2")


def write(root: str, counts: tuple[int, ...], mode: str = "L", size: int = 28) -> None:
    """A bar whose place is the class, on noise."""
    for label, count in enumerate(counts):
        folder = Path(root, CLASSES[label])
        folder.mkdir(parents=True)
        for n in range(count):
            pixels = np.random.default_rng(n).integers(0, 60, (size, size), dtype=np.uint8)
            pixels[:, 9 * label + 2 : 9 * label + 6] = 255
            Image.fromarray(pixels).convert(mode).save(folder / f"{n}.png")


def sets(run: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for row in rows(run / "files.csv"):
        assert row["image"].split("/")[-2] == row["class"]
        found[row["set"]].append(row["image"])
    return found


@pytest.mark.pictures
def test_from_a_folder_of_classes_to_predictions(kindling: Kindling) -> None:
    write("photos", (20, 20, 40), "RGB")
    out = kindling(*NET, "--trainer.max_epochs=4", "--data.batch_size=8", "--test_after_fit=true")
    assert "on photos (3 classes, 28x28 in colour)" in out  # as Net is made for that size
    assert "56/12/12 images to train, validate and test; from 14 (a b) to 28 (图 🐜) training images of a class" in out
    assert json.loads((RUN / "test.json").read_text())["test/acc"] == 1
    there = sets(RUN)
    assert [Counter(Path(p).parent.name for p in there[name]) for name in there] == [
        dict(zip(CLASSES, counts, strict=True)) for counts in ((14, 14, 28), (3, 3, 6), (3, 3, 6))
    ]
    assert len({path for paths in there.values() for path in paths}) == 80

    for number in range(9):  # tomorrow's photos
        Image.new("RGB", (50, 40)).save(f"photos/a b/0{number}.png")
    out = kindling("test", "--ckpt_path=best")
    assert "Images in no set of the run, as they are new or were left out: 9, first a b/00.png" in out
    kindling("predict", "--ckpt_path=best")
    assert [row["image"] for row in rows(RUN / "predictions.csv")] == [f"photos/{path}" for path in there["test"]]
    Path("new/deep/er").mkdir(parents=True)
    for name in ("new/2.png", "new/deep/er/1.tiff", "new/a.webp"):
        Image.open("photos/predictions/1.png").save(name)
    Path("new/deep/notes.txt").touch()
    out = kindling("predict", "--ckpt_path=best", "--data.samples=[photos/a b/1.png, new]")
    assert "new: left out as they are no PNG, JPEG, WebP, BMP or TIFF files: 1, first notes.txt\n" in out
    predicted = rows(RUN / "predictions.csv")
    assert [row["image"] for row in predicted] == ["photos/a b/1.png", "new/2.png", "new/a.webp", "new/deep/er/1.tiff"]
    assert [row["prediction"] for row in predicted] == ["a b", *["predictions"] * 3]
    (Path("photos") / there["test"][0]).unlink()
    assert "1 of the run's test images are not in photos any more, first " in kindling.fails("test", "--ckpt_path=best")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_how_images_are_read_changes_nothing(kindling: Kindling, mode: str) -> None:
    """By 0, 1 or 2 threads, kept or not, or from tensors in memory."""
    write("photos", (20, 20, 30), mode)
    ways = (("0", "false"), ("1", "false"), ("2", "true"))[: 2 if mode == "L" else 3]
    for number, (threads, cache) in enumerate(ways):
        kindling(*NET, "--data.batch_size=8", f"--data.num_workers={threads}", f"--data.cache={cache}")
        kindling("test", f"--ckpt_path=version_{number}")
        kindling("predict", f"--ckpt_path=version_{number}")
    data = ImageFolder("photos", image_size=28)
    data.setup("fit")
    data.setup("test")
    train, val, test = (take(part, range(len(part))) for part in (data.train_set, data.val_set, data.test_set))
    assert train[0].dtype == torch.uint8
    assert train[0].shape == (50, 1 if mode == "L" else 3, 28, 28)
    held = ((data.normalize(x), y) for x, y in (train, val, test))
    package.fit("Net", FromDatasets(*held, class_names=CLASSES, batch_size=8), max_epochs=2).test()
    for number in range(1, len(ways) + 1):
        other = RUN.with_name(f"version_{number}")
        assert equal(weights(RUN / "checkpoints/last.ckpt"), weights(other / "checkpoints/last.ckpt"))
        assert metrics(RUN) == metrics(other)
        assert [*json.loads((RUN / "test.json").read_text()).values()][1:] == [
            *json.loads((other / "test.json").read_text()).values()
        ][1:]
        if number < len(ways):
            assert (RUN / "predictions.csv").read_text() == (other / "predictions.csv").read_text()


def metrics(run: Path) -> list[list[str]]:
    return [[value for name, value in row.items() if "/" in name] for row in rows(run / "metrics.csv")]


def test_images_of_all_kinds_look_the_same() -> None:
    pixels = np.zeros((320, 480, 3), np.uint8)
    pixels[:160, 80:400], pixels[160:, 80:400] = (200, 40, 40), (40, 40, 200)  # the rest is cut off
    red = Image.fromarray(pixels)
    Path("a/b/c").mkdir(parents=True)
    for name in ("1.png", "2.JPG", "3.webp", "4.bmp", "5.tif"):
        red.save(f"a/{name}", quality=95, lossless=True)  # those that know it
    red.convert("CMYK").save("a/6.jpeg", quality=95)
    red.quantize(4).save("a/7.png")
    turned = red.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held upright
    turned.save("a/b/8.png", exif=exif)
    clear = red.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(np.arange(480) < 240, 255, 0).astype(np.uint8)[None].repeat(320, 0)))
    clear.save("a/b/c/9.png")
    for folder, bits in (("train/u", 8), ("train/v", 16)):
        Path(folder).mkdir(parents=True)
        for n in range(9):
            grey = np.full((50, 90), n, np.uint8)
            Image.fromarray(grey if bits == 8 else grey.astype(np.uint16) * 257).save(f"{folder}/{n}.png")
    Path("train/v/later.jpg").write_bytes(Path("a/2.JPG").read_bytes())
    data = ImageFolder(".", image_size=16, samples="a")
    data.setup("predict")
    assert data.facts.in_channels == 3
    *same, half = take(data.predict_set, range(9))[0].float()
    for x in same:
        for part, colour in ((x[:, :6, 2:14], (200, 40, 40)), (x[:, 10:, 2:14], (40, 40, 200))):
            wanted = torch.tensor(colour).float().view(3, 1, 1).expand_as(part)
            torch.testing.assert_close(part, wanted, atol=6, rtol=0)
    assert (half[:, :, 9:] == 255).all()  # white behind
    assert (half[0, :6, 2:7] == 200).all()
    for file, x in zip(sorted(Path("a").rglob("*.*")), (*same, half), strict=True):  # as they are uploaded
        assert data.image_form.read(BytesIO(file.read_bytes())).tolist() == x.tolist()
    with pytest.raises(DataError, match=r"^a photo can't be read as an image \(cannot identify image file 'a photo'\)"):
        data.image_form.read(BytesIO(b"%PDF-1.7"), "a photo")

    Path("train/v/later.jpg").unlink()
    data = ImageFolder(".", image_size=4, samples="a")
    assert data.facts.in_channels == 1
    data.setup("fit")
    x = take(data.train_set, range(len(data.train_set)))[0]
    assert {*x.flatten().tolist()} <= {*range(9)}
    data.setup("predict")
    assert take(data.predict_set, range(9))[0].shape == (9, 1, 4, 4)


@pytest.mark.slow
def test_what_is_in_no_set_is_named(kindling: Kindling) -> None:
    write("photos/train", (9, 9, 9))
    write("photos/val", (2, 2, 2))
    train = Path("photos/train", CLASSES[0])
    (train / "notes.gif").touch()
    (train / "link.png").symlink_to("3.png")
    os.link(train / "3.png", "photos/val/a b/hard.png")
    (train / "bad.png").write_bytes((train / "0.png").read_bytes()[:-500])
    for folder in ("train/empty", "val/alone", "raw"):
        (Path("photos") / folder).mkdir()
    (train / "1.png").rename("photos/val/alone/1.png")
    assert "bad.png can't be read as an image" in kindling.fails(*NET)
    assert "--data.image_size  int | None, None\n" in kindling("fit", "--data.help", "ImageFolder")
    out = kindling(*NET, "--data.unreadable=skip", "--data.image_size=32", "--trainer.max_epochs=1")
    for line in (
        "26/6/0 images to train, validate and test; from 8 (a b) to 9 (predictions) training images of a class",
        "Left out as they are no PNG, JPEG, WebP, BMP or TIFF files in the folder of a class: 2, first "
        "train/a b/notes.gif",
        "Linked twice in one class, and used once: 2, first train/a b/link.png",
        "Unreadable, left out: 1, first train/a b/bad.png",
        "Classes without an image, left out: 1, first empty",
        "Classes in val alone, left out: 1, first alone",
    ):
        assert f"\n{line}\n" in out
    works = "Next: python scripts/main.py predict --ckpt_path best --data.samples FOLDER  |  export --ckpt_path best  |"
    assert out.splitlines()[-1].startswith(works)
    assert "no test set: leave the option out" in kindling.fails(
        *NET, "--data.unreadable=skip", "--test_after_fit=true"
    )
    assert "photos has no folder test, and a test on what was validated" in kindling.fails("test", "--ckpt_path=best")
    assert "name images, or folders of them, with --data.samples" in kindling.fails("predict", "--ckpt_path=best")
    assert "largest difference on 6 samples 0.0e+00" in kindling("export", "--ckpt_path=best")
    write("photos/test", (5, 5, 5))
    kindling("test", "--ckpt_path=best")
    assert json.loads((RUN / "test.json").read_text())["test/loss"] > 0


def test_a_balanced_epoch_depends_on_seed_and_epoch_alone() -> None:
    labels = torch.tensor([0] * 90 + [1] * 3 + [2] * 7)
    order = BalancedShuffle(labels, seed=5)
    epochs = []
    for epoch in range(20):
        order.set_epoch(epoch)
        drawn = list(order)
        assert drawn == list(order)
        times = Counter(drawn)
        assert sorted(Counter(labels[drawn].tolist()).values()) == [33, 33, 34]
        assert {times[n] for n in range(90, 93)} <= {11, 12}  # rare ones equally often
        assert max(times[n] for n in range(90)) == 1
        epochs.append(drawn)
    assert len({n for drawn in epochs for n in drawn}) == 100
    assert epochs[0] != epochs[1]


@pytest.mark.slow
def test_stopped_within_an_epoch(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random changes, an order that is balanced, threads that were ahead: all go on as if nothing had been."""
    write("photos", (9, 20, 30), "RGB")
    fit = (*NET, "--data.batch_size=8", "--data.balance=true", "--data.augment=crop", "--trainer.max_epochs=3")
    step = Net.training_step

    def stop(self: Net, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if self.global_step == 8:  # of 6 an epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    monkeypatch.setattr(Net, "training_step", stop)
    kindling(*fit, code=143)
    monkeypatch.setattr(Net, "training_step", step)
    next_second()
    Image.new("RGB", (50, 40)).save("photos/a b/new.png")
    assert "are new or were left out: 1, first a b/new.png" in kindling("fit", "--ckpt_path=last")
    Path("photos/a b/new.png").unlink()
    kindling(*fit, "--data.num_workers=0")
    assert equal(*(weights(run / "checkpoints/last.ckpt") for run in (RUN, RUN.with_name("version_1"))))
    assert metrics(RUN) == metrics(RUN.with_name("version_1"))


@pytest.mark.slow
def test_two_processes_read_each_image_once() -> None:
    write("photos", (9, 20, 30))
    ddp = ("--trainer.accelerator=cpu", "--trainer.strategy=ddp")
    for count in (1, 2):
        several = (*ddp, f"--trainer.devices={count}", f"--data.batch_size={16 // count}", "--data.balance=true")
        assert processes.finish(*processes.start_several(count, *NET, *several)) == [0] * count
    one, two = (weights(run / "checkpoints/last.ckpt") for run in (RUN, RUN.with_name("version_1")))
    assert max((one[name] - two[name]).abs().max() for name in one) < 1e-5
    predict = ("predict", "--ckpt_path=version_0", *ddp, "--trainer.devices=2")
    assert processes.finish(*processes.start_several(2, *predict)) == [0, 0]
    paths = [row["image"] for row in rows(RUN / "predictions.csv")]
    assert paths == [f"photos/{path}" for path in sets(RUN)["test"]]


@pytest.mark.slow
def test_ten_thousand_classes(kindling: Kindling) -> None:
    grey = Image.new("L", (8, 8), 99)
    for n in range(10_100):
        folder = Path("photos", "train" if n < 10_000 else "val", f"{n % 10_000}")
        folder.mkdir(parents=True)
        grey.save(folder / "1.bmp")
    fit = ("fit", "--model=SimpleNN", "--loss=CrossEntropyLoss", "--data=ImageFolder", "--data.root=photos")
    out = kindling(*fit, "--data.image_size=2", "--trainer.max_epochs=1", "--trainer.limit_train_batches=5")
    assert "(10,000 classes, 2x2 in grey)" in out
    assert "10,000/100/0 images" in out
    kindling("predict", "--ckpt_path=best", "--data.samples=photos/train/77")
    assert len(rows(RUN / "predictions.csv")[0]) == 10_002


@pytest.mark.slow
@pytest.mark.pictures
def test_mistakes_are_shown_in_colour(kindling: Kindling) -> None:
    for n in range(60):
        folder = Path("photos", "ab"[n % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (250, 10, n)).save(folder / f"{n}.jpg")
    kindling("fit", "--model=Net", "--data=ImageFolder", "--data.root=photos", "--trainer.max_epochs=1")
    kindling("test", "--ckpt_path=best")
    mistakes = np.asarray(Image.open(RUN / "mistakes.png").convert("RGB")).astype(int)
    assert (np.abs(mistakes - (250, 10, 30)).max(axis=2) < 40).mean() > 0.2
    assert rows(RUN / "mistakes.csv")[0]["image"].startswith("photos/")


@pytest.mark.slow
def test_a_hundred_thousand_images_take_the_memory_of_their_names() -> None:
    image_memory.make_images()
    assert image_memory.growth("ours") < 100  # MB; as pixels they would take 1,200


@pytest.mark.slow
def test_rare_classes_weigh_more_in_the_loss(kindling: Kindling) -> None:
    write("photos", (20, 20, 40))
    loss = ("--loss=CrossEntropyLoss", "--trainer.max_epochs=1")
    kindling(*NET, *loss[1:], "--model.loss.weight=balanced")
    kindling("test", "--ckpt_path=best")
    kindling(*NET, *loss, f"--loss.weight=[{4 / 3}, {4 / 3}, {2 / 3}]")  # 56 / 3 images, by 14, 14 and 28
    kindling("test", "--ckpt_path=version_1")
    assert equal(*(weights(run / "checkpoints/last.ckpt") for run in (RUN, RUN.with_name("version_1"))))
    assert metrics(RUN) == metrics(RUN.with_name("version_1"))
    assert "weight: balanced" in (RUN / "config.yaml").read_text()
    shutil.rmtree(Path("photos", CLASSES[2]))
    assert "has no weight per class" in kindling.fails(*NET, "--loss=BCEWithLogitsLoss", "--loss.weight=balanced")
    Path("table.csv").write_text("a,y\n" + "".join(f"{n},{'uvvv'[n % 4]}\n" for n in range(80)))
    table = ("--data=TabularCSV", "--data.path=table.csv", "--data.target=y", "--loss=CrossEntropyLoss")
    kindling("fit", "--model=SimpleNet", *table, "--loss.weight=balanced", "--trainer.max_epochs=1")
    kindling("test", "--ckpt_path=best")
    content = torch.load(RUN.with_name("version_2") / "checkpoints/best.ckpt", weights_only=True)
    assert content["facts"]["class_counts"] == (14, 42)
