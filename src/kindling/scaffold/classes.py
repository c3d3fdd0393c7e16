"""A network or a dataset to begin with: its file, its test, and the line that gives it a name."""

import ast
import keyword
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from kindling import project
from kindling.errors import UsageError
from kindling.runs.atomic import atomic_write

LONGEST = 30  # letters of a class's name, so that no line becomes too long
# what the files below import, and those that list the names
NEEDED = {"Any", "DataModule", "Entry", "Facts", "InMemory", "Path", "SupervisedModule", "Tensor"}

MODEL_FILE = '''\
from torch import Tensor, nn

from kindling.models.base import SupervisedModule


class MyName(SupervisedModule):
    """Two hidden layers with dropout: a start for layers of your own.

    Args:
        in_features: Numbers per sample; images are flattened.
        hidden: Width of both hidden layers.
        dropout: Share of the hidden values that are set to 0 at each step of the training.
        num_outputs: As the loss needs: for most, one per class.
    """

    def __init__(self, in_features: int, hidden: int = 64, dropout: float = 0.1, num_outputs: int = 2) -> None:
        super().__init__()
        # Put layers of your own here; an argument that you add to __init__ is typed as --model.NAME
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # (B, ...) -> (B, num_outputs) logits
'''
MODEL_TEST = """\
import csv
from pathlib import Path

import torch

from my_project import main
from my_project.models.my_name import MyName


def test_it_has_one_output_per_class() -> None:
    network = MyName(in_features=12, num_outputs=3)
    assert network(torch.zeros(5, 3, 2, 2)).shape == (5, 3)


def test_its_loss_falls(tmp_path: Path) -> None:
    options = ["--epochs", "3", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--model", "MyName", *options]) == 0
    with (tmp_path / "lightning_logs/version_0/metrics.csv").open(encoding="utf-8") as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]
"""
DATA_FILE = '''\
import torch

from kindling.data.base import DataModule
from kindling.data.loading import InMemory
from kindling.facts import Facts

FEATURES = 4  # numbers per sample


class MyName(DataModule):
    """Made-up numbers, of the class yes where their sum is above 0: a start for data of your own.

    Args:
        size: Samples in each of the three sets.
        batch_size: Samples per batch.
        seed: Of the numbers drawn.
    """

    def __init__(self, size: int = 500, batch_size: int = 32, seed: int = 0) -> None:
        super().__init__(batch_size)
        self.size, self.seed = size, seed

    @property
    def facts(self) -> Facts:
        # Say here what your data is: a target that is a number has no class_names
        return Facts(in_features=FEATURES, class_names=("no", "yes"))

    def setup(self, stage: str) -> None:
        # Read your own samples here: x of float32, y of whole numbers from 0 where it is a class
        x = torch.randn(3 * self.size, FEATURES, generator=torch.Generator().manual_seed(self.seed))  # (N, FEATURES)
        y = (x.sum(dim=1) > 0).long()  # (N,)
        sets = zip(x.split(self.size), y.split(self.size), strict=True)
        self.train_set, self.val_set, self.test_set = (InMemory(*pair) for pair in sets)
        self.predict_set = self.test_set

    # Optional: normalize (what the network takes), augment (random changes), describe (columns of predictions.csv)
'''
DATA_TEST = """\
import json
from pathlib import Path

import torch

from my_project import main
from my_project.data.my_name import MyName


def test_no_sample_is_in_two_sets() -> None:
    data = MyName(size=20)
    data.setup("fit")
    x = torch.cat([s.tensors[0] for s in (data.train_set, data.val_set, data.test_set)])
    assert x.shape == (60, data.facts.in_features)
    assert len(x.unique(dim=0)) == 60


def test_a_network_learns_it(tmp_path: Path) -> None:
    options = ["--epochs", "3", "--test_after_fit", "true", "--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--model", "ANetwork", "--data", "MyName", *options]) == 0
    scores = json.loads((tmp_path / "lightning_logs/version_0/test.json").read_text(encoding="utf-8"))
    assert scores["test/acc"] > scores["baseline/acc"]  # that of always the same class
"""


class Kind(NamedTuple):
    """What can be written.

    Args:
        word: What is typed for it, after ``new``.
        table: The list of names in the ``__init__.py`` of its room.
        file: Its text, of a class MyName.
        test: Likewise; that of a dataset trains a network, ANetwork.
    """

    word: str
    room: str
    table: str
    example: str
    file: str
    test: str


class Place(NamedTuple):
    """A project's folder, and the package in its ``src`` that has networks and datasets."""

    root: Path
    package: str

    def names(self, kind: Kind) -> Path:
        """The file that lists the names of its networks or datasets."""
        return self.root / "src" / self.package / kind.room / "__init__.py"


MODEL = Kind("model", "models", "MODELS", "MyNet", MODEL_FILE, MODEL_TEST)
DATASET = Kind("data", "data", "DATA", "MyData", DATA_FILE, DATA_TEST)


def new_model(name: str, program: str = "python scripts/main.py") -> None:
    """Write a network, its test and its line in MODELS into the project that the working directory belongs to.

    Args:
        name: Of its class, such as ``MyNet``.
        program: How commands are typed, for what is printed.

    Raises:
        UsageError: There is no project, the name can't be that of a new network, or MODELS can't take the line.
        OSError: A file can't be written; then none is.
    """
    place = _place(MODEL)
    data = next(iter([*_listed(place, DATASET), *project.current().data]), "")
    _write(place, MODEL, name, program, default_data=data)
    print(f"Train it:  {program} fit --model {name}{'' if data else ' --data NAME'}")


def new_data(name: str, program: str = "python scripts/main.py") -> None:
    """Write a dataset of made-up numbers with the places for one's own, its test and its line in DATA; likewise.

    Args:
        name: Of its class, such as ``MyData``.
        program: How commands are typed, for what is printed.

    Raises:
        UsageError: There is no project, the name can't be that of a new dataset, or DATA can't take the line.
        OSError: A file can't be written; then none is.
    """
    place = _place(DATASET)
    networks = [*_listed(place, MODEL), *project.current().models]
    network = "SimpleNet" if "SimpleNet" in networks else next(iter(networks), "kindling.models.simple_net.SimpleNet")
    _write(place, DATASET, name, program, network=network)
    print(f"Train on it:  {program} fit --model {network} --data {name}")


def _place(kind: Kind) -> Place:
    here = Path.cwd()
    for root in (here, *here.parents):
        rooms = sorted(root.glob("src/*/models/__init__.py")) if (root / "pyproject.toml").is_file() else []
        packages = [room.parts[-3] for room in rooms if (room.parents[1] / "data/__init__.py").is_file()]
        packages.sort(key=lambda package: package != project.current().name)  # its own, where there are several
        if packages:
            return Place(root, packages[0])
    raise UsageError(
        f"new {kind.word} writes into a project, and this folder is in none: go to one with a pyproject.toml and "
        f"src/NAME/{kind.room}/__init__.py"
    )


def _write(place: Place, kind: Kind, name: str, program: str, default_data: str = "", network: str = "") -> None:
    typed = f"new {kind.word} {name}".strip()
    if not name:
        raise UsageError(f"{typed} needs a name: {program} {typed} {kind.example}")
    _check_name(typed, name, kind, [*_listed(place, kind), *project.current().entries(kind.word)])
    module, names = _module(name), place.names(kind)
    file, test = names.with_name(f"{module}.py"), place.root / "tests" / f"test_{module}.py"
    for new in (file, test):
        if new.exists():
            raise UsageError(f"{typed}: {os.path.relpath(new)} is there already: take another name, or delete the file")
    own = {
        "my_project import": "kindling.cli import" if place.package == "kindling" else f"{place.package} import",
        **{"my_project": place.package, "my_name": module, "MyName": name, "ANetwork": network},
    }
    contents = {
        new: re.sub("|".join(own), lambda found: own[found[0]], text).encode()
        for new, text in ((file, kind.file), (test, kind.test))
    }
    usual = f', default_data="{default_data}"' if default_data else ""
    entry = f'Entry("{place.package}.{kind.room}.{module}"{usual})'
    _write_all(contents | {names: _with_entry(names, kind, name, entry)})  # the line last: what it names is there
    print(f"Wrote {os.path.relpath(file)} and {os.path.relpath(test)}, and a line in {os.path.relpath(names)}")
    print(f"A comment in {file.name} says where yours goes; delete these three, and {name} is gone")
    print(f"Test it:  python -m pytest {os.path.relpath(test)}")


def _check_name(typed: str, name: str, kind: Kind, taken: Iterable[str]) -> None:
    """
    Args:
        taken: The names that there are.

    Raises:
        UsageError: No new class can have that name.
    """
    form = "[A-Z][A-Za-z0-9]*"
    if not re.fullmatch(form, name):
        better = "".join(word[0].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
        hint = (
            f", did you mean {better}?"
            if name.isascii() and re.fullmatch(form, better)
            else f": take e.g. {kind.example}"
        )
        raise UsageError(f"{typed}: a class's name begins with a capital and has letters from A to z and digits{hint}")
    if len(name) > LONGEST:
        raise UsageError(f"{typed}: is a name of {len(name)} letters: take one of at most {LONGEST}")
    if keyword.iskeyword(name) or keyword.iskeyword(_module(name)):
        raise UsageError(f"{typed}: {_module(name)} is a word of the Python language: take another name")
    if name in NEEDED:
        raise UsageError(f"{typed}: the files that are written import another {name}: take another name")
    if name.startswith("Test"):
        raise UsageError(f"{typed}: pytest takes classes whose names begin with Test for tests: take another name")
    for other in taken:
        if other.casefold() == name.casefold():
            raise UsageError(f"{typed}: there is a {kind.word} {other} already: take another name")


def _module(name: str) -> str:
    """The name of the file of a class: my_net for MyNet, simple_nn for SimpleNN."""
    return re.sub("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _listed(place: Place, kind: Kind) -> list[str]:
    """Names of the project's own networks or datasets."""
    file = place.names(kind)
    return _keys(_table(file, kind, file.read_bytes()))


def _table(file: Path, kind: Kind, source: bytes) -> ast.Dict:
    where = os.path.relpath(file)
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        line, reason = getattr(error, "lineno", 1), getattr(error, "msg", error)
        raise UsageError(f"{where}, line {line}, is no Python ({reason}): mend it first") from error
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if getattr(target, "id", "") == kind.table:
                return node.value
    raise UsageError(f"{where} has no {kind.table} = {{...}} to add a name to: write that first")


def _text(source: bytes, node: ast.expr | None) -> str:
    return ast.get_source_segment(source.decode(), node) or "" if node else ""


def _keys(table: ast.Dict) -> list[str]:
    return [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]


def _with_entry(file: Path, kind: Kind, name: str, entry: str) -> bytes:
    """A file that lists names, with one more at the end of its list, and all else as it was.

    Raises:
        UsageError: The list has a form of its own.
    """
    source, where = file.read_bytes(), os.path.relpath(file)
    table, lines = _table(file, kind, source), source.splitlines(keepends=True)
    if b"from kindling.registry import" not in source:
        raise UsageError(f"{where} imports no Entry: add the line from kindling.registry import Entry")

    def offset(line: int | None, column: int | None) -> int:
        return sum(map(len, lines[: (line or 1) - 1])) + (column or 0)

    line = f'    "{name}": {entry},'
    if len(line) > 120:
        line = f'    "{name}": Entry(\n        {entry[6:-1]}\n    ),'
    if table.values and table.values[-1].end_lineno != table.end_lineno:  # a line for each name
        begin = stop = offset((table.values[-1].end_lineno or 0) + 1, 0)
        added = f"{line}\n"
    else:
        begin, stop = offset(table.lineno, table.col_offset), offset(table.end_lineno, table.end_col_offset)
        there = [
            f"    {_text(source, k)}: {_text(source, v)},\n" for k, v in zip(table.keys, table.values, strict=True)
        ]
        added = "".join(["{\n", *there, f"{line}\n", "}"])
    added = added.replace("\n", "\r\n") if b"\r\n" in source else added
    new = source[:begin] + added.encode() + source[stop:]
    with suppress(UsageError):
        if _keys(_table(file, kind, new)) == [*_keys(table), name]:
            return new
    raise UsageError(f"{where}: give each name in {kind.table} a line of its own that ends with a comma")


def _write_all(contents: Mapping[Path, bytes]) -> None:
    """Write new files, and last one that is there already; if one can't be written, all is as it was."""
    written: list[Path] = []
    try:
        for file, content in contents.items():
            file.parent.mkdir(exist_ok=True)
            with atomic_write(file, "wb") as stream:
                stream.write(content)
            written.append(file)
    except BaseException:
        for file in written:
            file.unlink()
        raise
