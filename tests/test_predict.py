import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RUN, Kindling, rows
from PIL import Image

from kindling.runs import csv_files

TABLE = RUN / "predictions.csv"


def test_typed_samples(run: Path, kindling: Kindling) -> None:
    out = kindling("predict", "--ckpt_path", "best", "--data.samples", "[[7.5, 3.0], [2, 2], [9, 4.5]]").splitlines()
    assert out[0] == "--data.samples [[7.5, 3.0], [2.0, 2.0], [9.0, 4.5]] (in the checkpoint's run: null)"
    assert out[2] == "price  rating  prediction   p(not popular)  p(popular)"
    assert [line.split("  ")[0] for line in out[3:6]] == ["7.5", "2", "9"]
    assert out[-1] == f"3 predictions -> {TABLE}"
    table = rows(TABLE)
    assert list(table[0]) == ["price", "rating", "prediction", "p(not popular)", "p(popular)"]
    assert [row["prediction"] for row in table] == ["popular", "not popular", "popular"]
    assert [float(row["p(not popular)"]) + float(row["p(popular)"]) for row in table] == pytest.approx([1, 1, 1])


def test_the_predict_set_in_full_and_in_order(run: Path, kindling: Kindling) -> None:
    out = kindling("predict", "--ckpt_path", "best")
    assert "... and 190 more" in out
    table = rows(TABLE)
    assert len(table) == 200
    expected = ["popular" if float(r["price"]) + float(r["rating"]) > 10 else "not popular" for r in table]
    assert [row["label"] for row in table] == expected
    assert sum(row["label"] == row["prediction"] for row in table) >= 194
    for row in table:
        numbers = [row[name] for name in ("price", "rating", "p(not popular)", "p(popular)")]
        assert numbers == [str(float(str(np.float32(number)))) for number in numbers]  # no 0.30000001192092896
        named = max(("not popular", "popular"), key=lambda name: float(row[f"p({name})"]))
        assert row["prediction"] == named


@pytest.fixture
def bars(kindling: Kindling, fashion: Path) -> None:
    """A network trained to tell where a bright bar stands."""
    kindling("fit", "--model=Net", "--data.val_size=40", "--data.batch_size=16", "--trainer.max_epochs=8")


def picture(label: int, size: int) -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    image[:, 2 * label + 4 : 2 * label + 6] = 255
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST))


@pytest.mark.usefixtures("bars")
def test_image_files_and_folders_of_any_size_and_kind(kindling: Kindling) -> None:
    folder = Path("some pictures 图")
    folder.mkdir()
    Image.fromarray(picture(3, 28)).save(folder / "a.png")
    Image.fromarray(picture(7, 112)).convert("RGB").save(folder / "b.JPG", quality=95)
    (folder / "notes.txt").write_text("not a picture")
    transparent = Image.new("RGBA", (56, 56), (0, 0, 0, 0))
    transparent.paste((255, 255, 255, 255), (2 * (2 * 5 + 4), 0, 2 * (2 * 5 + 6), 56))
    transparent.save("c.png")
    Image.fromarray(picture(1, 28)).save("d.bmp")
    Image.fromarray(picture(2, 56)).save("e.webp", lossless=True)
    out = kindling("predict", "--ckpt_path", "best", "--data.samples", f'["c.png", "d.bmp", "e.webp", "{folder}"]')
    assert "5 predictions" in out
    table = rows(TABLE)
    assert [row["image"] for row in table] == ["c.png", "d.bmp", "e.webp", f"{folder}/a.png", f"{folder}/b.JPG"]
    assert [row["prediction"] for row in table] == ["Sandal", "Trouser", "Pullover", "Dress", "Sneaker"]
    kindling("test", "--ckpt_path", "best", "--data.samples", "c.png")  # which only predict looks at
    shutil.rmtree("data")
    kindling("predict", "--ckpt_path", "best", "--data.samples", "c.png")
    assert [row["prediction"] for row in rows(TABLE)] == ["Sandal"]
    assert not Path("data").exists()


@pytest.mark.usefixtures("bars")
def test_what_a_folder_holds_beside_pictures_is_named_and_left_alone(kindling: Kindling) -> None:
    folder = Path("pictures")
    (folder / "inner.png").mkdir(parents=True)  # is looked into
    Image.fromarray(picture(3, 28)).save(folder / "a.png")
    Image.fromarray(picture(3, 28)).save(folder / "b.gif")
    (folder / "link.png").symlink_to("nowhere")
    (folder / ".DS_Store").touch()
    os.mkfifo(folder / "pipe.png")  # which would be read for ever
    out = kindling("predict", "--ckpt_path=best", "--data.samples=pictures")
    assert "pictures: left out as they are no PNG, JPEG, WebP, BMP or TIFF files: 3, first b.gif\n" in out
    assert [row["image"] for row in rows(TABLE)] == ["pictures/a.png"]
    for name in ("b.gif", "link.png", "pipe.png"):
        (folder / name).rename(name)
    assert "left out" not in kindling("predict", "--ckpt_path=best", "--data.samples=pictures")


@pytest.mark.usefixtures("bars")
def test_a_picture_whose_name_is_not_utf8(kindling: Kindling) -> None:
    folder = Path("pictures")
    folder.mkdir()
    Image.fromarray(picture(3, 28)).save("a.png")
    Path("a.png").rename(folder / "a\udcff.png")
    assert "pictures/a\\udcff.png  Dress" in kindling("predict", "--ckpt_path=best", "--data.samples=pictures")
    assert [row["image"] for row in rows(TABLE)] == ["pictures/a\\udcff.png"]
    (folder / "a\udcff.png").write_text("no picture")
    assert "a\\udcff.png can't be read" in kindling.fails("predict", "--ckpt_path=best", "--data.samples=pictures")


@pytest.mark.usefixtures("bars")
def test_the_test_images(kindling: Kindling) -> None:
    out = kindling("predict", "--ckpt_path", "best")
    assert out.splitlines()[1].split() == ["image", "label", "prediction", "probability"]
    with TABLE.open() as file:
        header, *table = csv.reader(file)
    assert len(table) == 50
    assert header[:3] == ["image", "label", "prediction"]
    assert header[3] == "p(T-shirt/top)"
    assert len(header) == 13


@pytest.mark.usefixtures("bars")
def test_what_is_no_picture(kindling: Kindling) -> None:
    Path("empty").mkdir()
    Path("fake.png").write_text("%PDF-1.4")
    for samples, message in (
        ("nowhere.png", "there is no image or folder nowhere.png"),
        ("empty", "the folder empty holds no PNG, JPEG, WebP, BMP or TIFF"),
        ("fake.png", "fake.png can't be read as an image"),
    ):
        kindling("predict", "--ckpt_path", "best", "--data.samples", samples, code=2)
        assert message in kindling.err
    assert not TABLE.exists()


@pytest.mark.parametrize("samples", ["[[1]]", "[[1, 2, 3]]"])
def test_a_sample_of_another_length(run: Path, kindling: Kindling, samples: str) -> None:
    kindling("predict", "--ckpt_path", "best", "--data.samples", samples, code=2)
    assert "is not one price and one rating, as in [[7.5, 3.0]]" in kindling.err


def test_a_network_without_an_answer(run: Path, kindling: Kindling) -> None:
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    content["state_dict"]["net.1.weight"][0, 0] = torch.nan
    torch.save(content, "damaged.ckpt")
    line = kindling.fails("predict", "--ckpt_path=damaged.ckpt")
    assert "the network's answer is NaN for 200 of 200 samples, the first being number 1: " in line


def test_a_column_of_the_data_is_never_replaced(kindling: Kindling) -> None:
    """Not by the standard deviation that a network gives, nor in ``mistakes.csv``."""
    table = "".join(f"{n},{n % 5},{n % 3},{n / 7:.3f}\n" for n in range(60))
    Path("table.csv").write_text(f"a,std,error,y\n{table}")
    fit = ("fit", "--model=SimpleNet", "--data=TabularCSV", "--data.path=table.csv", "--data.target=y")
    kindling(*fit, "--loss=GaussianNLLLoss", "--trainer.max_epochs=1", "--test_after_fit=true")
    kindling("predict", "--ckpt_path=best")
    assert list(rows(RUN / "predictions.csv")[0]) == ["a", "std (data)", "error", "y", "prediction", "std"]
    mistaken = rows(RUN / "mistakes.csv")
    assert list(mistaken[0]) == ["y", "a", "std (data)", "error (data)", "prediction", "std", "error"]
    for row in mistaken:
        assert (int(row["a"]) % 5, int(row["a"]) % 3) == (int(row["std (data)"]), int(row["error (data)"]))
        assert float(row["error"]) == pytest.approx(abs(float(row["y"]) - float(row["prediction"])), abs=1e-5)


def test_only_numbers_of_float32_lose_digits() -> None:
    columns = {
        "float32": torch.tensor([0.3, torch.nan, 1234567.9]).tolist(),
        "float64": [0.30000001192092896, 0.1, 1e300],
    }
    csv_files.write(Path("numbers.csv"), columns)
    assert [row["float32"] for row in rows(Path("numbers.csv"))] == ["0.3", "nan", "1234567.9"]
    assert [row["float64"] for row in rows(Path("numbers.csv"))] == ["0.30000001192092896", "0.1", "1e+300"]
