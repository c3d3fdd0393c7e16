"""What is mistyped is answered in one line, by name, and before torch is imported where that is possible."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import EXAMPLES, ROOT, Kindling, needs
from packaging.version import Version

from kindling import __version__
from kindling.cli.commands import COMMANDS, ON_SOURCES, summary
from kindling.data import DATA
from kindling.models import MODELS
from kindling.registry import RENAMED, Renamed, losses

FIT = ("fit", "--model", "SimpleNet")
LIGHT = [
    ((), "no command: type e.g. python scripts/main.py fit --model "),
    (("fti", "--model", "SimpleNet"), "no command 'fti', did you mean fit?"),
    (("--model", "SimpleNet", "fit"), "--model comes after the command: fit --model SimpleNet ..."),
    (("fit",), "fit needs a network: add --model NAME: there are "),
    (("fit", "--model", "SimpelNet"), "there is no model 'SimpelNet', did you mean SimpleNet"),
    (("fit", "--model", "simplenet"), "did you mean SimpleNet"),
    (("fit", "--model", "Perceptron"), "there is no model 'Perceptron': there are "),
    ((*FIT, "--data", "SyntheticTabulr"), "no data 'SyntheticTabulr', did you mean SyntheticTabular?"),
    ((*FIT, "--optimizer", "Adm"), "there is no optimizer 'Adm' in torch.optim, did you mean Adam or RAdam?"),
    ((*FIT, "--lr_scheduler", "StepLr"), "did you mean StepLR?"),
    ((*FIT, "--trainer.max_epoch", "1"), "did you mean --trainer.max_epochs or --trainer.min_epochs?"),
    ((*FIT, "--trainer.max_epoch=1"), "no option --trainer.max_epoch, did you mean"),
    ((*FIT, "--model.hiden", "3"), "no option --model.hiden, did you mean --model.hidden?"),
    ((*FIT, "--model.in_features", "3"), "--model.in_features can't be set by hand: the data knows it"),
    ((*FIT, "--data.batch_sise", "3"), "no option --data.batch_sise, did you mean --data.batch_size?"),
    (("fit", "--data.root", "x", "--model", "SimpleNet"), "no option --data.root: there are train_size, "),
    ((*FIT, "--ckpt", "best"), "no option --ckpt, did you mean --ckpt_path?"),
    (("fit", "--modle", "SimpleNet"), "no option --modle, did you mean --model?"),
    (("fit", "SimpleNet"), "SimpleNet is no option, did you mean --model SimpleNet?"),
    (("test", "best"), "best is no option, did you mean --ckpt_path best?"),
    (("fit", "my.yaml"), "my.yaml is no option, did you mean -c my.yaml?"),
    ((*FIT, "--gpus", "2"), "no option --gpus, did you mean --trainer.devices?"),
    ((*FIT, "--learning_rate", "0.1"), "no option --learning_rate, did you mean --lr?"),
    ((*FIT, "--batch-size", "8"), "no option --batch-size, did you mean --batch_size?"),
    ((*FIT, "--precision", "16"), "no option --precision, did you mean --trainer.precision?"),
    ((*FIT, "--hidden", "8"), "no option --hidden, did you mean --model.hidden?"),
    ((*FIT, "--train_size", "8"), "no option --train_size, did you mean --data.train_size?"),
    ((*FIT, "--weight_decay", "0.1"), "no option --weight_decay, did you mean --optimizer.weight_decay?"),
    (("fit", "--help", "SimpleNet"), "--help SimpleNet: there is --help all, and --model.help NAME"),
    ((*FIT, "-c", "nowhere.yaml"), "-c nowhere.yaml: No such file or directory"),
    (("test",), "test needs a trained network: add --ckpt_path best (or last, a run, a file)"),
    (("test", "--ckpt_path", "best"), "no training run with a best.ckpt under lightning_logs: train one first"),
]
HEAVY = [
    ((*FIT, "stray"), "stray is no option: options are typed as --name value"),
    ((*FIT, "--trainer.max_epochs", "ten"), "--trainer.max_epochs ten: should be int or null"),
    ((*FIT, "--model.hidden", "x"), "--model.hidden x: should be int"),
    ((*FIT, "--data.train_size", "1.5"), "--data.train_size 1.5: should be int"),
    ((*FIT, "--data.batch_size", "0"), "--data.batch_size 0: should be from 1 to 2,147,483,648"),
    ((*FIT, "--data.val_size", "0"), "--data.val_size 0: at least 1 sample is needed"),
    ((*FIT, "--optimizer.lr", "abc"), "--optimizer.lr abc: should be float"),
    ((*FIT, "--optimizer", "SGD", "--optimizer.momntum", "0.9"), "did you mean --optimizer.momentum?"),
    ((*FIT, "--lr_scheduler", "StepLR"), "--lr_scheduler StepLR needs --lr_scheduler.step_size"),
    ((*FIT, "--optimizer.lr=-1"), "--optimizer.lr -1.0: should be above 0"),
    ((*FIT, "--optimizer=SGD", "--optimizer.momentum=-1"), "--optimizer SGD: Invalid momentum value: -1"),
    ((*FIT, "--test_after_fit", "maybe"), "--test_after_fit maybe: should be bool"),
    ((*FIT, "--trainer.accelerator", "abacus"), "--trainer.accelerator abacus: You selected an invalid"),
    (("fit", "--model", "my.Model"), "--model my.Model: No module named 'my'"),
    (("fit", "--model", "kindling.models.Nets"), "--model kindling.models.Nets: module 'kindling.models' has no"),
    (("fit", "--model", "Net", "--data", "SyntheticTabular"), "Net does not fit SyntheticTabular, which has no "),
]


@pytest.mark.parametrize(("args", "message"), LIGHT + HEAVY)
def test_a_mistake_is_answered_in_one_line(kindling: Kindling, args: tuple[str, ...], message: str) -> None:
    assert message in kindling.fails(*args)


def test_processes_of_torchrun_can_not_draw_a_seed(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "can't agree on one, so give a number" in kindling.fails(*FIT, "--seed_everything", "true")


def test_files_that_are_no_options(kindling: Kindling) -> None:
    for content, message in (
        ("a: [", "wrong.yaml is no YAML, line 1: "),
        ("just words", "wrong.yaml holds no options"),
        ("modle: SimpleNet", "no option --modle, did you mean --model?"),
    ):
        Path("wrong.yaml").write_text(content)
        assert message in kindling.fails(*FIT, "-c", "wrong.yaml")


def test_a_config_file_may_name_classes_as_they_are_typed(kindling: Kindling) -> None:
    for content in (
        "model: SimpleNet\ndata: SyntheticTabular\noptimizer: SGD",
        "model: {class_path: SimpleNet, init_args: {hidden: 8}}\ndata: {class_path: SyntheticTabular}",
    ):
        Path("short.yaml").write_text(content)
        assert "on SyntheticTabular" in kindling("fit", "-c", "short.yaml", "--trainer.max_epochs=1")
    assert "SimpleNet, CrossEntropyLoss, 42 parameters" in kindling.out
    Path("short.yaml").write_text("model: {class_path: SimpelNet}")
    assert "there is no model 'SimpelNet', did you mean SimpleNet" in kindling.fails("fit", "-c", "short.yaml")


def test_what_is_typed_last_wins(kindling: Kindling) -> None:
    assert "batch_size: 17\n" in kindling(*FIT, "--data.batch_size=16", "--data.batch_size=17", "--print_config")


def test_mistakes_help_and_list_need_no_torch() -> None:
    script = (
        "import sys; from kindling.cli import main\n"
        f"for args in {[args for args, _ in LIGHT] + [('--help',), ('list',)]!r}: main(list(args))\n"
        "print([m for m in ('torch', 'lightning', 'jsonargparse', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "args", [("list",), pytest.param(("fit", "--help"), marks=pytest.mark.slow), ("list", "--help")]
)
def test_a_reader_that_goes_away_is_no_error(args: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / "scripts/main.py"), *args]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert result.stderr == ""
    assert result.returncode in (0, 141)  # argparse keeps it to itself


def test_ctrl_c_before_training_is_one_line(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kindling.cli.run.run", interrupt)
    kindling(*FIT, code=130)
    assert kindling.err == "\nkindling: interrupted\n"


def test_help_fits_one_screen(kindling: Kindling) -> None:
    lines = kindling("--help").splitlines()
    assert len(lines) <= 17 + len(COMMANDS) + len(ON_SOURCES)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", ON_SOURCES)
def test_a_command_that_takes_words_says_what_it_does(kindling: Kindling, command: str) -> None:
    out = kindling(command, "--help")
    assert out.startswith(f"usage: python scripts/main.py {command} [-h]")
    assert summary(command) in out
    assert max(map(len, out.splitlines())) <= 100


def test_kindling_is_the_same_program() -> None:
    program = Path(sys.executable).with_name("kindling")
    result = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("Usage: kindling COMMAND")


def test_a_commands_help_lists_every_option(kindling: Kindling) -> None:
    out = kindling("fit", "--help", "all")
    for option in ("--trainer.max_epochs", "--ckpt_path", "--test_after_fit", "--seed_everything", "--optimizer"):
        assert option in out


@pytest.mark.usefixtures("shipped")
def test_a_commands_help_names_what_can_be_chosen_without_torch() -> None:
    needs("SimpleNet", "TabularCSV")
    help = "from kindling.cli import main\nfor args in {}: main(['fit', *args])\n"
    asked = [["--help"], ["--model.help", "SimpleNet"], ["--data.help=TabularCSV"], ["--trainer.help"]]
    script = help.format(asked) + "import sys; print([m for m in ('torch', 'lightning', 'pandas') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rest = result.stdout.split("One hidden layer", 2)[2]
    assert rest.splitlines()[-1] == "[]"
    for described in (
        "  --model.hidden  int, 32\n      Width of the hidden layer.",
        "  --data.gaps  Literal[mean, median, drop], mean\n      What fills a gap",
        "  --trainer.devices  ",
    ):
        assert described in rest
    assert "in_features" not in rest


def test_fit_help_is_two_screens(kindling: Kindling, shipped: None) -> None:
    out = kindling("fit", "--help")
    of_adopters = (MODELS.keys() | DATA.keys()) - EXAMPLES
    assert len(out.splitlines()) <= 70 + 3 * len(of_adopters)
    assert max(map(len, out.splitlines())) <= 80
    for named in (*MODELS, *DATA, *losses(), "--lr", "--epochs", "--ckpt_path", "auto", "--test_after_fit true"):
        assert named in out


def test_a_network_whose_line_is_missing(kindling: Kindling, shipped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("NeuralNetwork", "TabularCSV")
    monkeypatch.delitem(MODELS, "NeuralNetwork")
    monkeypatch.delitem(DATA, "TabularCSV")
    line = kindling.fails("fit", "--model", "NeuralNetwork")
    assert "kindling.models.neural_network has it, but kindling.models does not list it: add the line" in line
    assert (
        '"NeuralNetwork": Entry("kindling.models.neural_network", default_data="NAME"), to src/kindling/models/' in line
    )
    line = kindling.fails("fit", "--model", "SimpleNet", "--data", "TabularCSV")
    assert '"TabularCSV": Entry("kindling.data.tabular_csv"), to src/kindling/data/__init__.py' in line


def test_the_options_of_ones_own_network_are_shown(kindling: Kindling) -> None:
    Path("mine.py").write_text(
        "from lightning.pytorch import LightningModule\n"
        "class Mine(LightningModule):\n"
        "    def __init__(self, depth: int = 3) -> None: super().__init__()\n"
    )
    assert "--model.depth" in kindling("fit", "--model.help", "mine.Mine")


def test_short_forms_stand_for_the_full_names(kindling: Kindling) -> None:
    short = ("--lr=0.5", "--epochs=3", "--batch_size", "16", "--seed", "7", "--model.loss=NLLLoss")
    full = (
        "--optimizer.lr=0.5",
        "--trainer.max_epochs=3",
        "--data.batch_size=16",
        "--seed_everything=7",
        "--loss=NLLLoss",
    )
    assert kindling(*FIT, *short, "--print_config") == kindling(*FIT, *full, "--print_config")
    assert "max_epochs: 4\n" in kindling(*FIT, "--max_epochs", "4", "--print_config")
    Path("short.yaml").write_text("lr: 0.5")
    line = kindling.fails(*FIT, "-c", "short.yaml")
    assert "-c short.yaml: lr can be typed, but in a file it is optimizer.lr, nested as --print_config shows" in line


def test_list_shows_models_data_and_recipes(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    out = kindling("list")
    for name in ("One hidden layer", *MODELS, *DATA, *(f"configs/{file.name}" for file in Path("configs").iterdir())):
        assert name in out
    of_fit, of_sweep = out.partition("Recipes (fit -c FILE)")[2].split("Recipes (sweep -c FILE)")
    assert "configs/simple_net.yaml" in of_fit
    assert "configs/sweep_products.yaml" in of_sweep


def test_print_config_shows_what_would_be_used(kindling: Kindling) -> None:
    out = kindling(*FIT, "--optimizer", "SGD", "--optimizer.lr", "0.5", "--print_config")
    assert "class_path: tiny.simple_net.SimpleNet" in out
    assert "class_path: tiny.synthetic_tabular.SyntheticTabular" in out
    assert "class_path: torch.optim.SGD" in out
    assert "max_epochs: 10" in out
    Path("printed.yaml").write_text(out)
    assert "seed 42" in kindling("fit", "-c", "printed.yaml", "--trainer.max_epochs", "1")


def test_before_installation_one_line_says_what_to_type(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-I", str(ROOT / "scripts/main.py"), "fit", "--model", "SimpleNet"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "kindling: error: No module named 'kindling': type  make train  or  pip install -e .\n"


def test_the_version_is_the_package_s_and_the_changelog_s(kindling: Kindling) -> None:
    assert kindling("--version") == f"kindling {__version__}\n"
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == __version__


def test_a_renamed_option_is_taken_by_its_former_name_too(
    kindling: Kindling, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no option --watch" in kindling.fails(*FIT, "--watch", "val/acc")
    monkeypatch.setitem(RENAMED, "watch", Renamed("monitor", "9.9"))
    line = "{} is now called monitor: version 9.9 no longer takes the former name\n"
    assert "\nmonitor: val/acc\n" in kindling(*FIT, "--watch", "val/acc", "--print_config")
    assert kindling.err == line.format("--watch")
    Path("old.yaml").write_text("watch: val/acc\n")
    assert "\nmonitor: val/acc\n" in kindling(*FIT, "-c", "old.yaml", "--print_config")
    assert kindling.err == line.format("-c old.yaml: watch")
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    del content["config"]["monitor"]
    content["config"]["watch"] = "val/acc"
    torch.save(content, "old.ckpt")
    out = kindling("fit", "--ckpt_path", "old.ckpt", "--epochs", "11", "--print_config")
    assert "\nmonitor: val/acc\n" in out
    assert kindling.err == ""


def test_former_names_end_with_the_version_that_was_said() -> None:
    assert [name for name, renamed in RENAMED.items() if Version(renamed.until) <= Version(__version__)] == []
