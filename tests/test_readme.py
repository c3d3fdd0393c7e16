"""What the README and docs/ say is so: their commands run, their code works, their links and map are complete."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, Kindling, named, needs, rows
from PIL import Image

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"
PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in (
        *(ENGLISH, CHINESE, "CHANGELOG.md", "CONTRIBUTING.md", "lightning_logs/README.md"),
        *(str(file.relative_to(ROOT)) for file in sorted((ROOT / "docs").glob("*.md"))),
    )
}
FENCED = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
HAN = "[\u4e00-\u9fff]"  # a Chinese letter
COMMANDS = {
    page: [
        shlex.split(line, comments=True)
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    for page, text in PAGES.items()
}
# the Chinese README has the commands and the code of the English one, and an example of its own
COMMANDS[CHINESE] = [words for words in COMMANDS[CHINESE] if words not in COMMANDS[ENGLISH]]
CODE = [
    code
    for page, text in PAGES.items()
    if page != CHINESE
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]
WITH_COMMANDS = [
    pytest.param(page, marks=pytest.mark.pictures if page in (ENGLISH, CHINESE) else ())
    for page, commands in COMMANDS.items()
    if any("scripts/main.py" in words for words in commands) and page != "docs/serving.md"
]
PROCESSES = re.compile(r"--trainer\.(?:devices|strategy|num_nodes)[= ]\S+ ?")
# what the data sets of the tests are too small for, or a test too short
SMALL = ["--data.val_size=40"]
SHORTER = {
    "fit": ["--trainer.max_epochs=1"],
    **dict.fromkeys(("Net", "NeuralNetwork", "TripletNet", "Backbone"), SMALL),
}


def test_all_commands_are_of_a_kind_that_is_tested() -> None:
    commands = [words for page in COMMANDS.values() for words in page]
    assert {words[0] for words in commands} == {"make", "python", "source", "export", "torchrun", "sbatch"}
    assert {words[1] for words in commands if words[0] == "python"} == {"scripts/main.py"}


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(PAGES[ENGLISH].splitlines()) <= 150
    assert len(PAGES[CHINESE].splitlines()) <= 160  # its own example
    for page, text in PAGES.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), (page, target)
            if anchor:
                headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], (page, anchor)


def untranslated(page: str) -> tuple[list[tuple[str, str]], list[list[object]]]:
    """The blocks of code, with # for a comment, and each section's level, links, options, numbers and tables.

    Code with Chinese letters, but for those in comments, is left out: it is in the Chinese page alone.
    """
    blocks = [(kind, re.sub(r" *# .*", " #", block)) for kind, block in FENCED.findall(PAGES[page])]
    prose = re.sub("`[^`\n]+`", lambda code: "" if re.search(HAN, code[0]) else code[0], FENCED.sub("", PAGES[page]))
    number = r"(?<![\w-])\d+(?:[.,]\d+)*"  # but not those of F1 and UTF-8
    sections = [
        [
            section.partition(" ")[0],
            *(sorted(re.findall(form, section)) for form in (r"\]\((?!README)([^)]+)", r"`([^`\n]+)`", number)),
            *([re.findall(number, cell) for cell in row.split("|")] for row in re.findall(r"^\|.+", section, re.M)),
        ]
        for section in re.split(r"^(?=#)", prose, flags=re.MULTILINE)[1:]
    ]
    return [block for block in blocks if not re.search(HAN, block[1])], sections


def test_the_chinese_readme_says_the_same() -> None:
    (blocks, sections), (chinese_blocks, chinese_sections) = untranslated(ENGLISH), untranslated(CHINESE)
    assert chinese_blocks == blocks
    for section, chinese in zip(sections, chinese_sections, strict=True):
        assert chinese == section
    assert f"]({CHINESE})" in PAGES[ENGLISH]
    assert f"]({ENGLISH})" in PAGES[CHINESE]


def test_the_chinese_readme_is_written_as_chinese_is() -> None:
    comments = re.findall(r"^[^#\n]*# (.*)", "".join(re.findall(r"```bash\n(.*?)```", PAGES[CHINESE], re.DOTALL)), re.M)
    assert [comment for comment in comments if not re.search(HAN, comment)] == []
    prose = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", FENCED.sub("", PAGES[CHINESE]))
    prose = re.sub("`[^`\n]+`", "x", prose)
    # a space between Chinese and Latin letters, and Chinese marks behind Chinese letters
    assert re.findall(rf".*{HAN}(?:[a-zA-Z0-9,;:?!(]|\.\s).*|.*[a-zA-Z0-9%,;:)]{HAN}.*", prose) == []


def test_what_the_pages_install_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for text in PAGES.values() for extra in re.findall(r"pip install -e '\.\[(\w+)\]'", text)}
    assert named == extras.keys() - {"dev"}


@pytest.mark.slow
@pytest.mark.usefixtures("shipped", "served")
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_run_one_after_the_other(kindling: Kindling, fashion: Path, page: str) -> None:
    needs(*(name for words in COMMANDS[page] for name in named(words)))
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, folder)
    Path("photos").mkdir()
    Image.new("L", (99, 50), 200).save("photos/a.png")
    for number in range(40):
        photo = Path("insects", ("ants", "bees")[number % 2], f"{number}.jpg")
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40), (number, 200, 0)).save(photo)
    for name, table in re.findall(r"`(\S+\.csv)`[^`]*```csv\n(.*?)```", PAGES[page], re.DOTALL):
        Path(name).write_text(table, encoding="utf-8")
    for words in COMMANDS[page]:
        if words[0] == "sbatch":
            words = ["scripts/main.py", "fit", *words[2:]]
        if "scripts/main.py" not in words:
            continue
        # of several processes only one: test_several_processes has the others
        args = shlex.split(PROCESSES.sub("", shlex.join(words[words.index("scripts/main.py") + 1 :])))
        if args[0] == "fit" and not {"--help", "--model.help", "--data.help"} & {*args}:
            more_epochs = "--trainer.max_epochs" in args and "--ckpt_path" in args
            words = [word for word in args if not (more_epochs if word == "fit" else "ImageFolder" in args)]
            args += [option for word in words for option in SHORTER.get(word, [])]
            if args[1:3] == ["--ckpt_path", "last"] and not more_epochs:
                continue  # nothing was interrupted here: test_resume has it
        kindling(*args, *(["--port=0"] if args[0] == "serve" else []))
        assert kindling.err == ""


@pytest.mark.slow
@pytest.mark.usefixtures("shipped", "forked")
def test_the_python_examples_print_what_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    needs("SimpleNet", "SyntheticTabular", "Net")
    for number in range(24):
        photo = Path("photos", ("train", "val", "test")[number % 3], ("ants", "bees")[number % 2], f"{number}.jpg")
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50, 40), (number, 9 * number, 200)).save(photo)
    words = ("tensors = ", "ImageFolder(f", "kindling.load", "kindling.tune")
    of_tensors, of_files, with_load, with_tune = (next(code for code in CODE if word in code) for word in words)
    exec(compile(with_load, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    assert "{'test/loss': 0." in out
    assert re.search(r"^tensor\(\[\[0\.\d+, 0\.\d+\]\]\)$", out, re.MULTILINE)
    assert "Resuming from lightning_logs/version_0/checkpoints/last.ckpt (SimpleNet, epoch 2)" in out
    assert "\nlightning_logs/version_0/export\n" in out
    assert out.splitlines()[-1].startswith("('not popular', 'popular') tensor([[0.")
    exec(compile(of_tensors, "README.md", "exec"), {})
    exec(compile(of_files, "docs/python.md", "exec"), {})
    out = capsys.readouterr().out
    assert "SimpleNet, CrossEntropyLoss, 258 parameters, on FromDatasets" in out
    assert "-> lightning_logs/version_1/test.json" in out
    assert "Net, CrossEntropyLoss, 61,326 parameters, on FromDatasets" in out
    exec(compile(with_tune, "docs/python.md", "exec"), {})
    assert re.search(r"lightning_logs/sweep_3/trial_[01] {'test/loss': 0\.", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
def test_the_examples_of_data_in_other_forms_train(capsys: pytest.CaptureFixture[str]) -> None:
    needs("SimpleNet")
    draw = np.random.default_rng(0)
    for name in ("train", "val", "test"):
        x = draw.normal(size=(300, 2)).astype(np.float32)
        y = (x.sum(axis=1) > 0).astype(np.int64)
        for folder in ("arrays", "rows"):
            Path(folder, name).mkdir(parents=True)
        np.save(f"arrays/{name}/x.npy", x)
        np.save(f"arrays/{name}/y.npy", y)
        frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "label": y})
        frame.to_parquet(f"rows/{name}.parquet", row_group_size=100)
        datasets.Dataset.from_dict({"x": x, "label": y}).save_to_disk(f"saved/{name}")
    patients = draw.integers(0, 40, 200)
    age, dose = draw.normal(50, 20, 200), draw.normal(size=200)
    visits = {"patient": patients, "age": age, "dose": dose, "healthy": np.where(age + 9 * dose < 50, "yes", "no")}
    pd.DataFrame(visits).to_csv("visits.csv", index=False)
    codes = re.findall(r"```python\n(.*?)```", PAGES["docs/own-data.md"], re.DOTALL)
    for code in codes:
        exec(compile(code, "docs/own-data.md", "exec"), {})
    out = capsys.readouterr().out
    scores = [float(score) for score in re.findall(r"'test/acc': (0\.\d+|1\.0)", out)]
    scores += [float(score) for score in re.findall(r"val/acc (0\.\d+) \+- 0\.\d+ over 5 folds", out)]
    assert len(scores) == len(codes)
    assert min(scores) > 0.7, scores
    assert out.count("The training set is a stream, Rows") == 1


def test_what_the_map_names_is_there() -> None:
    for row in re.findall(r"^\| (`.+?) \|", PAGES["docs/map.md"], re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", row)
        for path in (first, *(f"{Path(first).parent}/{other}" for other in others)):
            assert (ROOT / path).exists(), path


RECIPES = [
    recipe for recipe in sorted((ROOT / "configs").glob("*.yaml")) if f"`{recipe.stem}`" in PAGES["docs/recipes.md"]
]

SWEEPS = [recipe for recipe in RECIPES if recipe.stem.startswith("sweep")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_of_the_docs_says_what_it_reaches_how_and_where(recipe: Path) -> None:
    first, *header = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert re.match(r"# .+\d", first)
    command = "sweep" if recipe in SWEEPS else "fit"
    assert f"# python scripts/main.py {command} -c configs/{recipe.name}" in "\n".join(header)
    if "Not run yet" not in first:
        assert re.search(r"seeds \d to \d", " ".join(header))
        assert re.search(r"\d (s|minutes) on two CPU cores", " ".join(header))


@pytest.mark.first_by_default
@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe not in SWEEPS], ids=lambda file: file.stem)
@pytest.mark.usefixtures("fashion", "shipped")
def test_a_recipe_of_the_docs_trains(kindling: Kindling, recipe: Path) -> None:
    needs(*re.findall(r"class_path: kindling\S+\.(\w+)", recipe.read_text(encoding="utf-8")))
    images = ["--data.val_size=40", "--data.batch_size=20"] if recipe.stem.startswith("fashion") else []
    without_download = ["--model.weights=null", "--model.freeze=0", "--data=FashionMNIST", "--data.val_size=40"]
    own = without_download if recipe.stem == "photos_finetune" else images
    kindling("fit", "-c", str(recipe), "--trainer.fast_dev_run=true", *own)
    assert kindling.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SWEEPS, ids=lambda file: file.stem)
@pytest.mark.usefixtures("fashion", "shipped", "forked")
def test_a_recipe_of_a_sweep_searches(kindling: Kindling, recipe: Path) -> None:
    needs(*re.findall(r"class_path: kindling\S+\.(\w+)", recipe.read_text(encoding="utf-8")))
    short = ["--trials=1", "--epochs=1", *(["--data.val_size=40"] if recipe.stem == "sweep_fashion" else [])]
    kindling("sweep", "-c", str(recipe), *short)
    (trial,) = rows(Path("lightning_logs/sweep_0/sweep.csv"))
    varied = re.findall(r"^  ([\w.]+): \S", recipe.read_text().partition("\nvary:\n")[2], re.MULTILINE)
    assert trial["state"] == "complete"
    assert all(float(trial[option]) > 0 for option in varied)


def make(*args: str, cwd: Path = ROOT) -> str:
    # the environment of this suite serves as the one that make finds installed
    Path("installed").touch()
    line = ["make", *args, f"VENV={sys.prefix}", f"INSTALLED={Path('installed').absolute()}"]
    result = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_make_lists_its_targets_by_itself() -> None:
    out = make()
    targets = re.findall(r"^\s+make (\S+)\s+\S", out, re.MULTILINE)
    described = re.findall(r"^(\S+):.*  ## .", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets == described
    for words in (words for page in COMMANDS.values() for words in page):
        if words[0] == "make":
            assert words[1] in targets


def test_make_clean_keeps_runs_and_data() -> None:
    shutil.copy(ROOT / "Makefile", "Makefile")
    for folder in (
        ".venv/bin",
        ".mypy_cache",
        "src/a/__pycache__",
        "tests",
        "scripts",
        "lightning_logs/version_0",
        "data",
    ):
        Path(folder).mkdir(parents=True)
    subprocess.run(["make", "clean"], check=True, capture_output=True)
    left = {str(f) for f in Path().rglob("*")}
    assert left == {
        "Makefile",
        "src",
        "src/a",
        "tests",
        "scripts",
        "lightning_logs",
        "lightning_logs/version_0",
        "data",
    }


# stands for python, pip and uv: writes down how it was called, copies itself into a new .venv, and fails where asked to
PROGRAM = """#!/bin/sh
echo "${0##*/} $*" >> calls
case "$*" in *venv*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/pip;; esac
test "${*##* }" != "$FAILS"
"""
TRAIN, PYTEST = "python scripts/main.py fit --model SimpleNet", "python -m pytest"


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_make_installs_what_a_target_needs_and_nothing_twice(monkeypatch: pytest.MonkeyPatch, installer: str) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, name)
    Path("path").mkdir()
    for name in ("python3", "uv"):
        Path("path", name).write_text(PROGRAM)
        Path("path", name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('path').absolute()}:{os.environ['PATH']}")

    def calls(*args: str, fails: str = "") -> list[str]:
        Path("calls").write_text("")
        line = ["make", *args, *(["UV="] if installer == "pip" else [])]
        result = subprocess.run(line, env={**os.environ, "FAILS": fails}, capture_output=True, check=False)
        assert result.returncode == (2 if fails else 0), result.stderr
        done = [call for call in Path("calls").read_text().splitlines() if " -c " not in call]
        return [call.replace("uv pip install --python .venv/bin/python", "pip install") for call in done]

    made = {"pip": "python3 -m venv .venv", "uv": "uv venv --seed --python >=3.11,<3.14 .venv"}[installer]
    assert calls("train", fails=".") == [made, "pip install -e ."]
    assert calls("train") == ["pip install -e .", TRAIN]  # was interrupted
    assert calls("train") == [TRAIN]
    assert calls("test", fails=".[dev]") == ["pip install -e .[dev]"]
    assert calls("test") == ["pip install -e .[dev]", PYTEST]
    assert calls("test") == [PYTEST]
    assert calls("train") == [TRAIN]
    shutil.copy(ROOT / "pyproject.toml", "pyproject.toml")  # changed
    assert calls("train") == ["pip install -e .", TRAIN]
    assert calls("test") == ["pip install -e .[dev]", PYTEST]
    locked = ["pip install --require-hashes -r requirements.lock", "pip install --no-deps -e ."]
    assert calls("locked") == [made, *locked, "pip install --no-deps -e .[dev]"]
    assert calls("train", "test") == [TRAIN, PYTEST]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("perl") is None, reason="the command calls perl")
def test_the_project_takes_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new name is tried in a copy of the files that git has."""
    (rename,) = re.findall(r"```sh\n(.*?)```", PAGES["docs/map.md"], re.DOTALL)
    subprocess.run(["git", "clone", "-q", ROOT, "copy"], check=True)
    subprocess.run(["bash", "-ec", rename], cwd="copy", check=True)
    assert subprocess.run(["git", "grep", "-iq", "kindling"], cwd="copy", check=False).returncode == 1
    monkeypatch.setenv("PYTHONPATH", str(Path("copy/src").absolute()))
    for command in (
        "scripts/main.py fit --model SimpleNet --trainer.max_epochs 2",
        "scripts/main.py test --ckpt_path best",
        "-m ruff format --no-cache",  # the lines have other lengths
        "-m ruff check --no-cache",
        "-m pytest -n 0 -p no:cacheprovider tests/test_structure.py tests/test_fit.py tests/test_readme.py",
    ):
        result = subprocess.run([sys.executable, *command.split()], cwd="copy", capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_make_train_passes_options_on() -> None:
    for part in ("scripts", "Makefile", "pyproject.toml"):
        source = ROOT / part
        shutil.copytree(source, part) if source.is_dir() else shutil.copy(source, part)
    assert "epoch 10/10" in make("train", cwd=Path())
    assert "epoch 2/2" in make("train", "ARGS=--model SimpleNet --trainer.max_epochs 2", cwd=Path())
    assert sorted(f.name for f in Path("lightning_logs").iterdir()) == ["version_0", "version_1"]
