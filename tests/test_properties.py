"""Whatever is in a file, the answer is a right result or one line: never another exception, a warning, or a hang."""

import csv
import io
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
import torch
from conftest import Kindling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.data import TabularCSV
from kindling.errors import KindlingError
from kindling.runs import checkpoints

pytestmark = pytest.mark.slow
ALIKE = settings(  # the same cases in every run, so that a failure is a change's
    derandomize=True,
    database=None,
    deadline=10_000,  # ms
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# what pandas takes for a missing value
MISSING = {
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
}
MISSING |= {"NULL", "NaN", "None", "n/a", "nan", "null"}
GAPS = ("", "NA", "NaN", "nan", "null", "None", "N/A", "<NA>")
SEPARATORS = (",", ";", "\t")
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63), st.floats(-1e18, 1e18), st.integers(-3, 3), st.sampled_from([1e-45, -0.0, 1e-300])
)


class Written(NamedTuple):
    """A table as it was meant: its bytes, and the cells of each column."""

    content: bytes
    target: str
    columns: dict[str, list[str | float | None]]  # None is a gap


@st.composite
def tables(draw: st.DrawFn) -> Written:
    """Tables that anybody would call good, each column of numbers or of texts."""
    count = draw(st.integers(10, 40))
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique_by=str.strip))
    columns: dict[str, list[str | float | None]] = {}
    for name in names:
        some = st.sampled_from(draw(st.lists(WORDS.map("z".__add__), min_size=2, max_size=4, unique=True)))
        kind: st.SearchStrategy[str | float | None] = draw(st.sampled_from([NUMBERS, some]))
        first = draw(st.lists(kind, min_size=2, max_size=2, unique=True))
        gaps = st.none() if draw(st.booleans()) else kind
        columns[name] = [*first, *draw(st.lists(kind | gaps, min_size=count - 2, max_size=count - 2))]
    stream = io.StringIO(newline="")
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))  # the csv module quotes those of cells only if they are these
    plain = ends == "\r\n" and not set("".join(names)).intersection(SEPARATORS)
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if plain and draw(st.booleans()) else csv.QUOTE_ALL
    writer = csv.writer(stream, delimiter=draw(st.sampled_from(SEPARATORS)), quoting=quoting, lineterminator=ends)
    writer.writerow(names)
    gap = st.sampled_from(GAPS)
    writer.writerows([draw(gap) if c is None else c for c in row] for row in zip(*columns.values(), strict=True))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig"]))
    return Written(stream.getvalue().encode(encoding), names[-1], columns)


@pytest.mark.usefixtures("tmp_path")
@settings(ALIKE, max_examples=300)
@given(tables())
def test_a_good_table_is_what_was_written(table: Written) -> None:
    try:
        data = read(table.content, table.target)
    except KindlingError as error:
        assert "has no value in the training rows" in str(error) or "are too few" in str(error)  # noqa: PT017
        return
    usable = [n for n, value in enumerate(table.columns[table.target]) if value is not None]
    parts = [data.train_set, data.val_set, data.test_set]
    assert sorted(int(n) for part in parts for n in part.rows) == usable
    learned = data.learned
    for part in parts:
        x, y = part.tensors
        for stored, name in zip(x.T, data.facts.feature_names, strict=True):
            known = learned.categorical.get(name)
            for value, row in zip(stored.tolist(), part.rows, strict=True):
                meant = table.columns[name][row]
                if known is None:
                    assert same(value, meant)
                else:
                    assert value == (len(known) if meant is None else known.index(meant) if meant in known else -1)
        for label, row in zip(y.tolist(), part.rows, strict=True):
            meant = table.columns[table.target][row]
            if not learned.classes:
                assert same(label, meant)
            elif isinstance(meant, str):
                assert learned.classes[label] == meant
            else:
                assert float(learned.classes[label]) == meant


@st.composite
def doubtful(draw: st.DrawFn) -> tuple[bytes, str]:
    """Tables that may be anything: uneven, badly quoted, with names twice and cells of all kinds."""
    cell = st.one_of(
        WORDS,
        NUMBERS.map(str),
        st.sampled_from([*GAPS, "inf", "-Infinity", "1e400", "1,5", "1.000,5", "12'000", "0x1F", "1_000", " 7 ", "٣"]),
        st.sampled_from(["True", "false", "1e-400", "9" * 400, "nan ", "-nan", '"', '""', "a\nb", "\ufeff", "\x1c"]),
    )
    header = draw(st.lists(st.one_of(NAMES, st.sampled_from(["a", "a ", "", "y", "Unnamed: 1"])), max_size=5))
    column = st.lists(cell, min_size=1, max_size=3).flatmap(st.sampled_from)
    even = draw(st.integers(0, 3)) > 0
    width = st.just(len(header)) if even else st.integers(max(0, len(header) - 1), len(header) + 1)
    body = draw(st.lists(width.flatmap(lambda n: st.lists(column, min_size=n, max_size=n)), max_size=25))
    separator = draw(st.sampled_from(SEPARATORS))
    if draw(st.booleans()):
        text = "\n".join(separator.join(row) for row in [header, *body])
    else:
        stream = io.StringIO(newline="")
        csv.writer(stream, delimiter=separator).writerows([header, *body])
        text = stream.getvalue()
    return text.encode(), draw(st.sampled_from([*header, "y"]))


@settings(ALIKE, max_examples=400)
@given(doubtful())
def test_a_doubtful_table_is_read_right_or_refused(table: tuple[bytes, str]) -> None:
    right_or_refused(*table)


GOOD = "id,größe,kind,y\n" + "".join(f'{n},{n / 7:.4f},"a, ""{"uvw"[n % 3]}""",{n % 2}\n' for n in range(40))
PIECES = [piece.encode() for piece in (*'"",;\t\n\r 0-.e', '""', "\r\n", "\n\n", "nan", "1e999", "ü", "\ufeff")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The good table with a few places overwritten, at times by bytes that no text has."""
    content = bytearray(GOOD.encode())
    pieces = st.sampled_from([*PIECES, b"\0", b"\xff"] if draw(st.integers(0, 9)) == 9 else PIECES)
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(content))), draw(st.sampled_from([0, 1, 1, 2, 20]))
        content[place : place + length] = b"".join(draw(st.lists(pieces, max_size=3)))
    return bytes(content)


@settings(ALIKE, max_examples=400)
@given(damaged())
def test_a_damaged_table_is_read_right_or_refused(content: bytes) -> None:
    right_or_refused(content, "y")


@settings(ALIKE, max_examples=200)
@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".csv.gz", ".parquet"]))
def test_random_bytes_are_refused(content: bytes, suffix: str) -> None:
    right_or_refused(content, "y", suffix)


@settings(ALIKE, max_examples=40)
@given(damaged() | doubtful().map(lambda table: table[0]))
def test_a_command_with_a_doubtful_table_ends_well_or_in_one_line(kindling: Kindling, content: bytes) -> None:
    Path("good.csv").write_text(GOOD, encoding="utf-8")
    Path("table.csv").write_bytes(content)
    one_epoch = ("--data=TabularCSV", "--data.target=y", "--trainer.max_epochs=1")
    fit = ("fit", "--model=SimpleNet", *one_epoch)
    ends_well(kindling, *fit, "--data.path=table.csv")
    kindling(*fit, "--data.path=good.csv")
    ends_well(kindling, "predict", "--ckpt_path=last", "--data.predict_path=table.csv")


def ends_well(kindling: Kindling, *command: str) -> None:
    try:
        kindling(*command)
        assert kindling.err == ""
    except AssertionError:
        kindling.fails(*command)


def read(content: bytes, target: str, suffix: str = ".csv") -> TabularCSV:
    """All rows of a file, which the network would see as finite numbers."""
    path = Path("table").with_suffix(suffix)
    path.write_bytes(content)
    data = TabularCSV(str(path), target)
    data.setup("fit")
    data.setup("test")
    for part in (data.train_set, data.val_set, data.test_set):
        x, y = part.tensors
        assert len(x) == len(y) == len(part.rows) > 0
        assert data.normalize(x).shape == (len(x), data.facts.in_features)
        assert data.normalize(x).isfinite().all()
        assert y.isfinite().all()
    return data


def right_or_refused(content: bytes, target: str, suffix: str = ".csv") -> None:
    try:
        data = read(content, target, suffix)
    except KindlingError as error:
        assert str(error).strip()  # noqa: PT017
        return
    for part in (data.train_set, data.val_set, data.test_set):
        check_cells(data, part)


def check_cells(data: TabularCSV, part: Any) -> None:
    """What pandas made of a file, against its cells as the csv module has them."""
    cells = data.describe(part, range(len(part)))
    for stored, name in zip(part.tensors[0].T, data.facts.feature_names, strict=True):
        if name in data.learned.forms:  # dates, and numbers with commas or units
            continue
        known = data.learned.categorical.get(name)
        for value, cell in zip(stored.tolist(), cells[name], strict=True):
            if known is None:
                assert same(value, as_number(str(cell)))
            elif value == len(known):
                assert cell in MISSING
            elif value >= 0:
                assert alike(known[int(value)], str(cell))
    if data.facts.target in data.learned.forms:
        return
    for label, cell in zip(part.tensors[1].tolist(), cells[data.facts.target], strict=True):
        if data.learned.classes:
            assert alike(data.learned.classes[label], str(cell))
        else:
            assert same(label, as_number(str(cell)))


def as_number(cell: str) -> float | None:
    return None if cell.strip() in MISSING else float(cell)


def same(stored: float, meant: object) -> bool:
    """As float32; pandas may be off by the last digit of a float64."""
    if meant is None:
        return math.isnan(stored)
    assert isinstance(meant, int | float)
    return torch.tensor(stored).item() == pytest.approx(float(np.float32(meant)), rel=2e-7, abs=1e-44)


def alike(category: str, cell: str) -> bool:
    try:
        return float(category) == float(cell)
    except ValueError:
        return category == cell or (category in ("True", "False") and category.lower() == cell.lower())


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and (a == b or a != a)


@settings(ALIKE, max_examples=500)
@given(data=st.data(), how=st.sampled_from(["flip", "set", "cut", "insert", "swap"]))
def test_a_damaged_checkpoint_is_refused_or_what_it_was(trained_once: Path, data: st.DataObject, how: str) -> None:
    sound = (trained_once / "checkpoints/best.ckpt").read_bytes()
    content, place = bytearray(sound), data.draw(st.integers(0, len(sound) - 1))
    if how == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "set":
        content[place] = data.draw(st.integers(0, 255))
    elif how == "cut":
        del content[place : data.draw(st.integers(place, len(sound)))]
    elif how == "insert":
        content[place:place] = data.draw(st.binary(max_size=40))
    else:
        other = data.draw(st.integers(0, len(sound) - 1))
        content[place : place + 16], content[other : other + 16] = (
            content[other : other + 16],
            content[place : place + 16],
        )
    file = Path("damaged.ckpt")
    file.write_bytes(content)
    try:
        assert _same(checkpoints.read(file), checkpoints.read(trained_once / "checkpoints/best.ckpt"))
    except KindlingError as error:
        assert str(file) in str(error)  # noqa: PT017


OPTIONS = ("trainer.max_epochs", "trainer.max_steps", "trainer.gradient_clip_val", "trainer.limit_train_batches",
           "trainer.limit_val_batches", "trainer.accumulate_grad_batches", "trainer.precision",
           "trainer.val_check_interval", "trainer.log_every_n_steps", "model.hidden", "model.loss", "data.train_size",
           "data.batch_size", "data.seed", "data.standardize", "optimizer.lr", "optimizer.betas", "lr_scheduler",
           "lr_scheduler.factor", "lr_scheduler.patience", "seed_everything",
           "checkpoint_every", "optimizer")  # fmt: skip
VALUES = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([0.0, -0.5, 1e-3, 2.5, 1e9, 10**15, 2**63, float("nan"), float("inf")]),
    st.sampled_from(["", "null", "true", "nan", ".inf", "1e-3", "0x10", "auto", "[]", "[1, 2]", "{}", "{a: 1}"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # what Lightning advises against it may still do
@settings(ALIKE, max_examples=150)
@given(typed=st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES), min_size=1, max_size=2))
def test_any_value_of_an_option_holds_or_is_one_line(kindling: Kindling, typed: list[tuple[str, object]]) -> None:
    few = ("--trainer.limit_train_batches=3", "--trainer.max_epochs=1", "--trainer.max_time=00:00:00:02")
    fit = ("fit", "--model=SimpleNet", *few, *(f"--{key}={value}" for key, value in typed))
    try:
        kindling(*fit)
        return
    except AssertionError:
        pass  # an error raised in here would have the test's own frames in its context
    kindling.fails(*fit)
