import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import RUN, Kindling, rows
from PIL import Image

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
    out = kindling("predict", "--ckpt_path", "best", "--data.samples", f'["c.png", "{folder}"]')
    assert "3 predictions" in out
    table = rows(TABLE)
    assert [row["image"] for row in table] == ["c.png", f"{folder}/a.png", f"{folder}/b.JPG"]
    assert [row["prediction"] for row in table] == ["Sandal", "Dress", "Sneaker"]
    kindling("test", "--ckpt_path", "best", "--data.samples", "c.png")  # which only predict looks at
    shutil.rmtree("data")
    kindling("predict", "--ckpt_path", "best", "--data.samples", "c.png")
    assert [row["prediction"] for row in rows(TABLE)] == ["Sandal"]
    assert not Path("data").exists()


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
        ("empty", "the folder empty holds no PNG or JPEG"),
        ("fake.png", "fake.png can't be read as an image"),
    ):
        kindling("predict", "--ckpt_path", "best", "--data.samples", samples, code=2)
        assert message in kindling.err
    assert not TABLE.exists()


@pytest.mark.parametrize("samples", ["[[1]]", "[[1, 2, 3]]"])
def test_a_sample_of_another_length(run: Path, kindling: Kindling, samples: str) -> None:
    kindling("predict", "--ckpt_path", "best", "--data.samples", samples, code=2)
    assert "is not one price and one rating, as in [[7.5, 3.0]]" in kindling.err
