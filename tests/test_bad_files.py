"""Files: tables, archives and pictures that are missing, damaged, or not what their names promise."""

import csv
import gzip
import io
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RUN, Kindling, needs
from errors_page import Case
from PIL import Image
from torchvision import datasets

from kindling.cli import main

MODEL = ("fit", "--model=SimpleNet", "--data=TabularCSV")
FIT = (*MODEL, "--data.path=table.csv", "--data.target=y")
GROUP = ("--data.group=b",)
FOLDS = ("--data.folds=3",)
TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2")
NET = ("fit", "--model=Net", "--data.val_size=40")
TABLE = "a,b,y\n" + "".join(f"{n},{'uvw'[n % 3]},{n / 7:.3f}\n" for n in range(30))
GBK = TABLE.encode() + "1,房,2\n".encode("gbk")
CLASSES = "a,y\n" + "".join(f"{n},{'uv'[n % 2]}\n" for n in range(30))


def written(content: str | bytes, name: str = "table.csv") -> Callable[[], object]:
    return lambda: Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


def rows(header: str, row: str, count: int = 30, *more: str) -> Callable[[], object]:
    """A table whose cells come from the row's number n."""
    return written("\n".join([header, *(row.format(n=n, half=n + 0.5) for n in range(count)), *more]))


def path(name: str) -> tuple[str, ...]:
    return *MODEL, f"--data.path={name}", "--data.target=y"


def frame(**columns: list[object]) -> Callable[[], object]:
    return lambda: pd.DataFrame({"a": range(30), "y": range(30), **columns}).to_parquet("table.parquet")


def cut(file: str, by: int, make: Callable[[], object]) -> Callable[[], object]:
    def prepare() -> None:
        make()
        Path(file).write_bytes(Path(file).read_bytes()[:-by])

    return prepare


TABLES = [
    Case("a table that isn't there", FIT, "table.csv does not exist: name the file of a table"),
    Case("a folder for a table", FIT, "is not a file: name the file of a table", Path("table.csv").mkdir),
    Case("a link to nowhere", FIT, "does not exist", lambda: Path("table.csv").symlink_to("nowhere.csv")),
    Case("a pipe for a table", FIT, "is not a file", lambda: os.mkfifo("table.csv")),
    Case("a table's name too long for a file", path("x" * 300 + ".csv"), "File name too long"),
    Case("a spreadsheet", path("table.xlsx"), "save the table as one of .csv", written("PK", "table.xlsx")),
    Case("a spreadsheet that is called .csv", FIT, "not UTF-8", written(b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff")),
    Case("an empty file", FIT, "table.csv is empty", written("")),
    Case("a file of blank lines", FIT, "table.csv is empty", written("\n  \n\r\n")),
    Case("a header without rows", FIT, "column names but no rows: add some", written("a,b,y\n")),
    Case("a row that is too short", FIT, "line 32: the number of cells is 2", written(TABLE + "1,u\n")),
    Case("a row that is too long", FIT, "line 32: the number of cells is 4", written(TABLE + "1,u,2,3\n")),
    Case("separators of two kinds", FIT, "line 2: the number of cells is 2", written(TABLE.replace(",0.", ";0."))),
    Case("a separator unheard of", FIT, "no column y, but a|b|y", written(TABLE.replace(",", "|"))),
    Case("a quote that is never closed", FIT, "its quotes come in pairs", written(TABLE + '1,"u,2\n')),
    Case("a quote too many in a long file", FIT, "(131072): see whether", written(f'{TABLE}1,"u,2\n{TABLE * 500}')),
    Case("a cell of a megabyte", FIT, "line 32: field larger than", written(f"{TABLE}1,{'u' * 10**6},2\n")),
    Case("a line of 20 megabytes", FIT, "line 1: field larger than", written("x" * 20_000_000)),
    Case("GBK", FIT, "line 32: not UTF-8 text: save the table as UTF-8, in Excel as", written(GBK)),
    Case("Latin-1", FIT, "line 32: not UTF-8", written(TABLE.encode() + "1,é,2\n".encode("latin-1"))),
    Case("UTF-16", FIT, "line 1: not UTF-8", written(TABLE.encode("utf-16"))),
    Case("UTF-16 without its mark", FIT, "line 1: not UTF-8 text", written(TABLE.encode("utf-16-le"))),
    Case("NUL bytes", FIT, "line 32: not UTF-8 text", written(TABLE + "1,\0,2\n")),
    Case("two columns of one name", FIT, "several columns called a", rows("a,a,y", "{n},{n},{n}")),
    Case("two columns, but for spaces", FIT, "several columns called y", rows("a,y, y", "{n},{n},{n}")),
    Case("no column with a name to predict from", FIT, "no column of table.csv is left", rows(",y", "{n},{n}")),
    Case("a target that isn't there", FIT, "--data.target: table.csv has no column y", rows("a,b", "{n},{n}")),
    Case("a target without a value", FIT, "usable rows 0", rows("a,y", "{n},")),
    Case("a target of one value", FIT, "nothing can be learned: add rows", rows("a,y", "{n},5")),
    Case("a text in a column of numbers", FIT, "take the column for texts", written(TABLE + "many,u,1\n")),
    Case("a text in a target of numbers", FIT, "--data.task classification", written(TABLE + "1,u,many\n")),
    Case("an infinite number", FIT, "line 32: inf in column a is too large", written(TABLE + "inf,u,1\n")),
    Case("a number below all others", FIT, "line 32: -inf in column a is too large", written(TABLE + "-inf,u,1\n")),
    Case("a number that float64 can't hold", FIT, "line 32: inf in column a", written(TABLE + "1e400,u,1\n")),
    Case("a number whose square float32 can't hold", FIT, "line 32: 1e+30", written(TABLE + "1,u,1e30\n")),
    Case(
        "decimal points and commas",
        FIT,
        "'0,5' in column a is not a number: write it",
        rows("a;y", "{n},5;{n}", 9, "0.5;1"),
    ),
    Case("a text among prices", FIT, "line 31: 'ask' in column a is not", rows("a,y", "${n},{n}", 29, "ask,2")),
    Case("a text among dates", FIT, "'soon' in column a is not", rows("a,y", "31.1.20{n:02},{n}", 30, "soon,2")),
    Case("shares in the target, one plain", FIT, "'0 %' in column y", rows("a,y", "{n},{n} %", 9, "7,8")),
    Case("a text of its own in each row", FIT, "leave it out with --data.ignore a", rows("a,y", "id{n},{n}")),
    Case(
        "several columns that can't be used",
        (*FIT, "--data.ignore=note (old),x"),
        "c has 'none' in line 31, which is not written like 1,234.5 %; a has 22 different values in 22 training rows; "
        "b has no value in the training rows: leave them out with --data.ignore 'note (old),x,c,a,b'",
        rows("a,b,c,x,note (old),y", "id{n},,{n} %,1,2,{n}", 29, "id,,none,1,2,3"),
    ),
    Case("a column of gaps", FIT, "leave it out with --data.ignore a", rows("a,b,y", ",{n},{n}")),
    Case("fewer rows than sets", FIT, "usable rows 2, but at least 3 are needed", rows("a,y", "{n},{n}", 2)),
    Case("fewer rows than classes need", FIT, "too few to train and to validate with", rows("a,y", "{n},v{n}", 4)),
    Case("gaps in every row", (*FIT, "--data.gaps=drop"), "usable rows 0", written("a,b,y\n" + "1,,1\n,1,2\n" * 9)),
    Case("a feature that isn't there", (*FIT, "--data.features=[a, c]"), "no column c", written(TABLE)),
    Case("a feature named twice", (*FIT, "--data.features=[a, a]"), "named twice", written(TABLE)),
    Case("a feature to leave out", (*FIT, "--data.features=[a]", "--data.ignore=a"), "is left", written(TABLE)),
    Case("the target for a feature", (*FIT, "--data.features=[a, y]"), "y: that is the target", written(TABLE)),
    Case("a group that isn't there", (*FIT, "--data.group=B"), "no column B, did you mean b?", written(TABLE)),
    Case("the target for a group", (*FIT, "--data.group=y"), "y: that is the target", written(TABLE)),
    Case("a feature for a group", (*FIT, *GROUP, "--data.features=[a, b]"), "features b: that is the", written(TABLE)),
    Case("a group to leave out", (*FIT, *GROUP, "--data.ignore=b"), "ignore b: that is the column", written(TABLE)),
    Case("a row without a group", (*FIT, *GROUP), "line 32: no b, as in 1 of 31 rows", written(TABLE + "1,,2\n")),
    Case("all rows in one group", (*FIT, *GROUP), "groups of b 1, but at least 3", rows("a,b,y", "{n},P1,{n}")),
    Case("classes in a group each", (*FIT, *GROUP), "at least 5", rows("a,b,y", "{n},P{n},v{n}", 3)),
    Case("one fold", (*FIT, "--data.folds=1"), "--data.folds 1: should be at least 2", written(TABLE)),
    Case("a fold of how many", (*FIT, "--data.fold=1"), "--data.fold 1: of how many is missing", written(TABLE)),
    Case("a fold after the last", (*FIT, "--data.folds=5", "--data.fold=5"), "should be from 0 to 4", written(TABLE)),
    Case("more folds than rows", (*FIT, "--data.folds=31"), "has only 26 rows beside those to", written(TABLE)),
    Case("more folds than groups", (*FIT, *GROUP, "--data.folds=3"), "has only 2 groups of b", written(TABLE)),
    Case(
        "a column empty in a fold",
        (*FIT, "--data.folds=9"),
        "column b has no value in",
        rows("a,b,y", "{n},,{n}", 30, "1,2,3"),
    ),
    Case("a class in one fold", (*FIT, "--data.folds=3"), "rows with z beside", written(CLASSES + "1,z\n")),
    Case("folds without scores", (*FIT, *FOLDS, "--trainer.fast_dev_run=1"), "leaves no scores to", written(TABLE)),
    Case("folds in processes", (*FIT, *FOLDS, *TWO), "--data.folds 3 without --data.fold under 2", written(TABLE)),
    Case("folds, to find a rate", ("lr_find", *FIT[1:], *FOLDS), "only the command fit trains all", written(TABLE)),
    Case("shares that are no numbers", (*FIT, "--data.split=[.nan, .nan, .nan]"), "that add up to 1", written(TABLE)),
    Case("classes for a number", ("fit", "--model=TripletNet", *FIT[2:]), "the target is a number", written(TABLE)),
    Case("gzip that is none", path("table.csv.gz"), "Not a gzipped file", written(TABLE, "table.csv.gz")),
    Case(
        "gzip cut short",
        path("table.csv.gz"),
        "save the table anew",
        written(gzip.compress(TABLE.encode())[:-30], "table.csv.gz"),
    ),
    Case("Parquet that is none", path("table.parquet"), "Parquet magic bytes", written(TABLE, "table.parquet")),
    Case("Parquet cut short", path("table.parquet"), "save the table anew", cut("table.parquet", 100, frame())),
    Case("an empty Parquet file", path("table.parquet"), "save the table anew", written("", "table.parquet")),
    Case("lists in Parquet", path("table.parquet"), "--data.ignore l", frame(l=[[n] for n in range(30)])),
]


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case.what)
def test_bad_tables(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_line_ends_of_windows_and_old_macs(kindling: Kindling, ends: str) -> None:
    Path("table.csv").write_bytes(TABLE.replace("\n", ends).encode())
    kindling(*FIT, "--trainer.max_epochs=1")
    assert kindling.err == ""


OTHER = {"test": (*FIT, "--data.test_path=other.csv"), "predict": ("predict", "--ckpt_path=best")}
OTHER["predict"] += ("--data.predict_path=other.csv",)
OTHERS = [
    ("that isn't there", "does not exist", lambda: None),
    ("that is a folder", "is not a file: name the file of a table", Path("other.csv").mkdir),
    ("that is empty", "other.csv is empty", written("", "other.csv")),
    ("without rows", "no rows: add some", written("a,b,y\n", "other.csv")),
    ("without a column", "no column b, which the training table had", written("a,y\n1,2\n", "other.csv")),
    ("with a text for a number", "'x' in column a is not a number", written("a,b,y\nx,u,1\n", "other.csv")),
    ("with a decimal comma", "write it like 1234.5", written('a,b,y\n"1,5",u,1\n', "other.csv")),
    ("with an infinite number", "inf in column a is too large", written("a,b,y\ninf,u,1\n", "other.csv")),
]
AFTER_TRAINING = [
    *(
        Case(f"{kind} table {what}", OTHER[command], says, prepare)
        for kind, command in (("a test", "test"), ("a predict", "predict"))
        for what, says, prepare in OTHERS
    ),
    Case("a test table of gaps", OTHER["test"], "no row to test with", written("a,b,y\n1,u,\n", "other.csv")),
    Case("a test after the training table changed", ("test", "--ckpt_path=best"), "train anew", written(TABLE * 2)),
    Case("a prediction after it changed", ("predict", "--ckpt_path=best"), "--data.predict_path", written(TABLE * 2)),
    Case(
        "a training to go on after it changed",
        ("fit", "--ckpt_path=last", "--trainer.max_epochs=2"),
        "train anew",
        written(TABLE * 2),
    ),
    Case("a test after it was removed", ("test", "--ckpt_path=best"), "name the file", Path("table.csv").unlink),
]


@pytest.fixture(scope="session")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a finished run on it."""
    folder = tmp_path_factory.mktemp("table_run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        written(TABLE)()
        assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    return folder


@pytest.mark.parametrize("case", AFTER_TRAINING, ids=lambda case: case.what)
def test_bad_tables_to_test_with_and_to_predict(kindling: Kindling, table_run: Path, case: Case) -> None:
    shutil.copytree(table_run, ".", dirs_exist_ok=True)
    kindling.answers("Files", case)


def test_a_class_that_the_training_rows_dont_have(kindling: Kindling) -> None:
    written(CLASSES)()
    case = Case("a class never seen", OTHER["test"], "y is z, a class that", written("a,y\n1,z\n", "other.csv"))
    kindling.answers("Files", case)


def test_a_column_that_is_called_like_a_prediction_is_kept_beside_it(kindling: Kindling) -> None:
    written(CLASSES)()
    kindling(*FIT, "--trainer.max_epochs=1")
    written("a,p(u)\n1,2\n", "other.csv")()
    kindling(*OTHER["predict"])
    (row,) = csv.DictReader((RUN / "predictions.csv").read_text().splitlines())
    assert row["p(u) (data)"] == "2"
    assert float(row["p(u)"]) + float(row["p(v)"]) == pytest.approx(1)


RAW = Path("data/FashionMNIST/raw")
IMAGES, LABELS = RAW / "train-images-idx3-ubyte", RAW / "train-labels-idx1-ubyte"
LACKING = "is not in data/FashionMNIST/raw, or in parts, or damaged"


def changed(file: Path, change: Callable[[bytes], bytes]) -> Callable[[], object]:
    """Spoil an archive, or an unpacked file beside which no archive is left."""

    def prepare() -> None:
        if not file.suffix:
            for name, _ in datasets.FashionMNIST.resources:
                archive = RAW / name
                archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
                archive.unlink()
        file.write_bytes(change(file.read_bytes()))

    return prepare


def in_place_of(archive: Path) -> None:
    archive.unlink()
    archive.mkdir()


GZ = IMAGES.with_suffix(".gz")
ARCHIVES = [
    Case("some of the four archives", NET, f"FashionMNIST {LACKING}", GZ.unlink),
    Case("an archive cut short", NET, "there: train-images-idx3-ubyte.gz", changed(GZ, lambda b: b[:-200])),
    Case("an empty archive", NET, "there: train-images-idx3-ubyte.gz", changed(GZ, lambda b: b"")),
    Case("an archive changed", NET, "there: train-images-idx3-ubyte.gz", changed(GZ, lambda b: gzip.compress(b))),
    Case("a folder for an archive", NET, "there: train-images-idx3-ubyte.gz", lambda: in_place_of(GZ)),
    Case("a folder for an unpacked file", NET, "delete them, so that", IMAGES.mkdir),
    Case("images cut short", NET, "are damaged, or don't hold images", changed(IMAGES, lambda b: b[:-100])),
    Case("an empty file of images", NET, "delete them, so that", changed(IMAGES, lambda b: b"")),
    Case("another format", NET, "are damaged, or don't hold", changed(IMAGES, lambda b: b"\0\0\x0d\x03" + b[4:])),
    Case(
        "images of 32x32",
        NET,
        "images of 28x28 pixels",
        changed(IMAGES, lambda b: struct.pack(">4I", 0x803, 100, 32, 32) + b[: 100 * 32 * 32]),
    ),
    Case(
        "more images than labels",
        NET,
        "images (200, 28, 28), labels 190",
        changed(LABELS, lambda b: struct.pack(">2I", 0x801, 190) + b[8:-10]),
    ),
    Case("a label beyond the classes", NET, "labels 200, up to 10", changed(LABELS, lambda b: b[:-1] + b"\x0a")),
]


@pytest.mark.usefixtures("fashion")
@pytest.mark.parametrize("case", ARCHIVES, ids=lambda case: case.what)
def test_bad_archives(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


@pytest.mark.parametrize(
    "case",
    [
        Case("none of the four archives", NET, LACKING),
        Case("a file for --data.root", (*NET, "--data.root=file"), "name another root", Path("file").touch),
    ],
    ids=lambda case: case.what,
)
def test_no_archives(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


def picture(form: str, size: tuple[int, int] = (40, 40), **options: object) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, size[::-1], dtype=np.uint8)
    Image.fromarray(noise).save(stream, form, **options)
    return stream.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def folder_with(name: str, content: bytes) -> Callable[[], object]:
    def prepare() -> None:
        Path("pictures").mkdir()
        Path("pictures/good.png").write_bytes(picture("PNG"))
        Path("pictures/notes.txt").touch()
        (Path("pictures") / name).write_bytes(content)

    return prepare


def predicted(samples: str) -> tuple[str, ...]:
    return "predict", "--ckpt_path=best", f"--data.samples={samples}"


PNG, JPEG, FOLDER = (predicted(name) for name in ("picture.png", "picture.jpg", "pictures"))
PICTURES = [
    Case("a picture that isn't there", PNG, "no image or folder picture.png: name one that is there"),
    Case("a link to no picture", PNG, "no image or folder", lambda: Path("picture.png").symlink_to("nowhere")),
    Case("a pipe for a picture", PNG, "no image or folder picture.png", lambda: os.mkfifo("picture.png")),
    Case("no picture", predicted("[]"), "names no image or folder: name one"),
    Case("an empty folder", FOLDER, "holds no PNG, JPEG, WebP, BMP or TIFF", Path("pictures").mkdir),
    Case("an empty picture", PNG, "cannot identify image file", written("", "picture.png")),
    Case("a PDF that is called .png", PNG, "save it anew as PNG or JPEG", written("%PDF-1.7\n", "picture.png")),
    Case("a text that is called .png", PNG, "cannot identify image file", written("hello", "picture.png")),
    Case("an animation", predicted("cat.gif"), "save it anew as PNG or JPEG", written(picture("GIF"), "cat.gif")),
    Case("a PNG cut short", PNG, "can't be read as an image", written(picture("PNG")[:-500], "picture.png")),
    Case("a JPEG cut short", JPEG, "image file is truncated", written(picture("JPEG")[:-500], "picture.jpg")),
    Case("a PNG that claims 10,000x10,000 pixels", PNG, "exceeds limit of", written(bomb(10_000), "picture.png")),
    Case("one that claims 50,000x50,000", PNG, "exceeds limit of", written(bomb(50_000), "picture.png")),
    Case("a picture of 1x100,000", PNG, "none is left in 28x28", written(picture("PNG", (1, 100_000)), "picture.png")),
    Case(
        "a folder with a bad picture",
        FOLDER,
        "pictures/new.png can't be read as an image",
        folder_with("new.png", b""),
    ),
]


@pytest.fixture(scope="session")
def _net_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("net") / RUN


@pytest.fixture
def net(_net_run: Path, fashion: Path) -> None:
    """A run of Net, trained for the first test that asks."""
    needs("Net", "FashionMNIST")
    if not _net_run.is_dir():
        assert main([*NET, "--trainer.max_epochs=1"]) == 0
        shutil.copytree(RUN, _net_run)
    shutil.copytree(_net_run, RUN, dirs_exist_ok=True)


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize("case", PICTURES, ids=lambda case: case.what)
def test_bad_pictures(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


@pytest.mark.usefixtures("net")
def test_what_pillow_warns_of_is_read_without_a_word(kindling: Kindling) -> None:
    exif = b"Exif\0\0II*\0" + b"\xff" * 18
    jpeg = picture("JPEG")
    Path("picture.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    kindling(*JPEG)
    assert kindling.err == ""


PHOTOS = ("fit", "--model=Net", "--data=ImageFolder", "--data.root=photos")


def photos(*files: str, broken: str = "") -> Callable[[], object]:
    def prepare() -> None:
        for name in files:
            Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
            Path("photos", name).write_bytes(picture("PNG")[: -500 if name == broken else None])

    return prepare


ANTS, BEES = [f"ants/{n}.png" for n in range(5)], [f"bees/{n}.png" for n in range(5)]
FOLDERS = [
    Case("a folder of photos that isn't there", PHOTOS, "photos: there is no such folder"),
    Case("photos in place of data", (*PHOTOS[:2], "--data=photos/"), "ImageFolder --data.root photos/?", photos(*ANTS)),
    Case(
        "photos without a folder of their class",
        PHOTOS,
        "TIFF files in photos: 0, and each of at least",
        photos("1.png", "2.png"),
    ),
    Case("photos of one class", PHOTOS, "TIFF files in photos: 1, and each of at least", photos(*ANTS, "notes/a.txt")),
    Case("two photos of two classes", PHOTOS, "2 images of 2 classes are too few", photos(ANTS[0], BEES[0])),
    Case(
        "a folder val without photos",
        PHOTOS,
        "photos/val holds no PNG",
        photos("train/a/1.png", "train/b/1.png", "val/a/1.txt"),
    ),
    Case("a photo cut short", PHOTOS, "bees/3.png can't be read", photos(*ANTS, *BEES, broken=BEES[3])),
    Case("more folds than photos", (*PHOTOS, "--data.folds=99"), "images beside those to test", photos(*ANTS, *BEES)),
    Case("a share of photos above 1", (*PHOTOS, "--data.split=[0.8, 0.2, 0.2]"), "add up to 1", photos(*ANTS, *BEES)),
    Case("photos of 0 pixels", (*PHOTOS, "--data.image_size=0"), "should be from 1 to 10,000", photos(*ANTS, *BEES)),
    Case("processes that read photos", (*PHOTOS, "--data.workers=2"), "did you mean --data.num_workers?"),
    Case("a random change unheard of", (*PHOTOS, "--data.augment=flop"), "flip", photos(*ANTS, *BEES)),
]


@pytest.mark.parametrize("case", FOLDERS, ids=lambda case: case.what)
def test_bad_folders_of_photos(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


METRICS, CONFIG, TESTED = (str(RUN / name) for name in ("metrics.csv", "config.yaml", "test.json"))
MORE = ("fit", f"--ckpt_path={RUN}", "--trainer.max_epochs=11")
AUTO = ("fit", "--model=SimpleNet", "--ckpt_path=auto")
IN_A_RUN = [
    Case("texts in metrics.csv", MORE, "doesn't hold a number in each cell", written("epoch,step\n1,x\n", METRICS)),
    Case("another table for metrics.csv", ("export", "--ckpt_path=best"), "move it away", written("a\n1\n", METRICS)),
    Case("a config.yaml in Latin-1", AUTO, "can't be read ('utf-8' codec", written(b"# \xe9\n", CONFIG)),
    Case("a test.json cut short", ("export", "--ckpt_path=best"), "or test again", written('{"epoch": 1', TESTED)),
    Case("a test.json of something else", ("export", "--ckpt_path=best"), "or test again", written("[1]", TESTED)),
]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("case", IN_A_RUN, ids=lambda case: case.what)
def test_bad_files_in_a_run(kindling: Kindling, case: Case) -> None:
    kindling.answers("Files", case)


@pytest.mark.parametrize("trainer", ["trainer:\n", "trainer: {max_epochs: 11}\n"])
def test_a_config_that_was_shortened_by_hand(kindling: Kindling, run: Path, trainer: str) -> None:
    (run / "config.yaml").write_text(f"{trainer}model: SimpleNet\n")
    line = kindling.fails("fit", "--ckpt_path=last", "--model=SimpleNet")
    assert "has had its 10 epochs: for more, add e.g. --trainer.max_epochs 20" in line


UNREADABLE = [
    (Case("a table that may not be read", path("locked.csv"), "make it readable", written("", "locked.csv")), "open"),
    (Case("a table in a folder that may not", path("locked/table.csv"), "Permission denied"), "is_file"),
    (Case("archives in a folder that may not", (*NET, "--data.root=locked"), "with --data.root"), "mkdir"),
    (Case("pictures in a folder that may not", predicted("locked"), "make it readable"), "is_dir"),
]


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(("case", "method"), UNREADABLE, ids=lambda value: getattr(value, "what", value))
def test_files_that_may_not_be_read(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, case: Case, method: str
) -> None:
    original = getattr(Path, method)

    def refuse(file: Path, *args: object, **options: object) -> object:
        """By hand, as permissions don't bind root."""
        if file.name.startswith("locked") or "locked" in file.parts:
            raise PermissionError(13, "Permission denied", str(file))
        return original(file, *args, **options)

    case.prepare()
    monkeypatch.setattr(Path, method, refuse)
    kindling.answers("Files", case._replace(prepare=lambda: None))
