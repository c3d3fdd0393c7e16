"""What the README says is so: its commands run, its code works, its map is complete."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Kindling, named, needs
from PIL import Image

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# what the data sets of the tests are too small for, or a test too short
SMALL = ["--data.val_size=40"]
SHORTER = {"fit": ["--trainer.max_epochs=1"], "Net": SMALL, "NeuralNetwork": SMALL, "TripletNet": SMALL}


def test_all_commands_are_of_a_kind_that_is_tested() -> None:
    words = [[word for word in command if "=" not in word or word.startswith("-")] for command in COMMANDS]
    assert {command[0] for command in words} == {"make", "python"}
    assert {command[1] for command in words if command[0] == "python"} == {"scripts/main.py"}


@pytest.mark.slow
@pytest.mark.pictures
@pytest.mark.usefixtures("shipped")
def test_the_commands_run_one_after_the_other(kindling: Kindling, fashion: Path) -> None:
    needs(*(name for words in COMMANDS for name in named(words)))
    for folder in ("configs", "examples"):
        shutil.copytree(ROOT / folder, folder)
    Path("photos").mkdir()
    Image.new("L", (99, 50), 200).save("photos/a.png")
    ran = 0
    for words in COMMANDS:
        if words[0] != "python" or "ddp" in words:  # starts processes of its own: test_several_processes has it
            continue
        args = words[2:]
        if args[0] == "fit" and not {"--help", "--data.help"} & {*args}:
            more_epochs = "--trainer.max_epochs" in args and "--ckpt_path" in args
            args += [option for word in args for option in SHORTER.get(word, []) if not (more_epochs and word == "fit")]
            if args[1:3] == ["--ckpt_path", "last"] and not more_epochs:
                continue  # nothing was interrupted here: test_resume has it
        kindling(*args)
        assert kindling.err == ""
        ran += 1
    assert ran >= 15


@pytest.mark.usefixtures("shipped")
def test_the_python_example_prints_what_it_should(capsys: pytest.CaptureFixture[str]) -> None:
    needs("SimpleNet", "SyntheticTabular")
    example = next(code for code in CODE if "kindling.load" in code)
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "{'test/loss': 0." in out
    assert re.search(r"^tensor\(\[\[0\.\d+, 0\.\d+\]\]\)$", out, re.MULTILINE)
    assert "Resuming from lightning_logs/version_0/checkpoints/last.ckpt (SimpleNet, epoch 2)" in out
    assert "SimpleNet, CrossEntropyLoss, 258 parameters, on FromDatasets" in out
    assert "-> lightning_logs/version_1/test.json" in out
    assert out.splitlines()[-1].startswith("('not popular', 'popular') tensor([[0.")


def test_what_the_map_names_is_there() -> None:
    for row in re.findall(r"^\| (`.+?) \|", README.partition("## Map")[2], re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", row)
        for path in (first, *(f"{Path(first).parent}/{other}" for other in others)):
            assert (ROOT / path).exists(), path


RECIPES = [recipe for recipe in sorted((ROOT / "configs").glob("*.yaml")) if f"`{recipe.stem}`" in README]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_of_the_readme_says_what_it_reaches_how_and_where(recipe: Path) -> None:
    first, *header = [line for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert re.match(r"# .+\d", first)
    assert f"# python scripts/main.py fit -c configs/{recipe.name}" in "\n".join(header)
    if "Not run yet" not in first:
        assert re.search(r"seeds \d to \d", " ".join(header))
        assert re.search(r"\d (s|minutes) on two CPU cores", " ".join(header))


@pytest.mark.first_by_default
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda file: file.stem)
@pytest.mark.usefixtures("fashion", "shipped")
def test_a_recipe_of_the_readme_trains(kindling: Kindling, recipe: Path) -> None:
    needs(*re.findall(r"class_path: kindling\S+\.(\w+)", recipe.read_text(encoding="utf-8")))
    images = ["--data.val_size=40", "--data.batch_size=20"] if recipe.stem.startswith("fashion") else []
    kindling("fit", "-c", str(recipe), "--trainer.fast_dev_run=true", *images)
    assert kindling.err == ""


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
    for words in COMMANDS:
        if "make" in words:
            assert words[words.index("make") + 1] in targets


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("perl") is None, reason="the README's command calls perl")
def test_the_project_takes_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new name is tried in a copy of the files that git has."""
    (rename,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
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
