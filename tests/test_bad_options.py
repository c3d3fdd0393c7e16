"""Options: bad input of the command line, and of YAML files."""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import Kindling
from errors_page import Case
from lightning.pytorch.callbacks import device_stats_monitor
from lightning_utilities.core.imports import RequirementCache
from torchvision import models

FIT = ("fit", "--model", "SimpleNet")
SEARCH = ("lr_find", "--model", "SimpleNet")
BY_FILE = (*FIT, "-c", "my.yaml")


def file(content: str | bytes) -> Callable[[], object]:
    """Writes my.yaml."""
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda: Path("my.yaml").write_bytes(raw)


def fit(what: str, typed: str, says: str) -> Case:
    return Case(what, (*FIT, *typed.split()), says)


def yaml(what: str, content: str | bytes, says: str) -> Case:
    shown = f": `{content}`" if content and isinstance(content, str) else ""
    return Case(f"a file: {what}{shown}", BY_FILE, says, file(content))


NAMES = [
    Case(
        "an option that doesn't exist",
        (*FIT, "--lerning_rate", "0.1"),
        "no option --lerning_rate: fit --help lists them",
    ),
    Case("an option abbreviated", (*FIT, "--trainer.max_epoch", "1"), "did you mean --trainer.max_epochs or --trainer"),
    fit("an option of another command", "--min_lr 0.1", "--min_lr is an option of lr_find, not of fit"),
    Case("likewise", (*SEARCH, "--test_after_fit", "true"), "is an option of fit, not of lr_find"),
    Case("likewise", ("test", "--ckpt_path", "best", "--format", "onnx"), "is an option of export, not of test"),
    Case(
        "likewise", ("validate", "--ckpt_path", "best", "--num_training", "9"), "an option of lr_find, not of validate"
    ),
    Case("likewise", ("export", "--ckpt_path", "best", "--histograms", "true"), "is an option of fit, not of export"),
    fit("an option without its value", "--data.batch_size", "--data.batch_size needs a value"),
    fit("likewise", "--optimizer", "--optimizer needs a value"),
    fit("likewise", "--ckpt_path", "--ckpt_path needs a value"),
    fit("likewise", "-c", "--config needs a value"),
    fit("an empty value", "--ckpt_path=", "--ckpt_path needs a value"),
    fit(
        "an option of an option",
        "--trainer.max_epochs.foo 3",
        "no option --trainer.max_epochs.foo: it is --trainer.max",
    ),
    fit("the trainer by a name", "--trainer fast", "its options are typed as --trainer.NAME VALUE"),
    fit("a word that is no option", "stray", "stray is no option: options are typed as --name value"),
    fit("one dash", "-model SimpleNet", "-model is no option: options are typed as --name value"),
    Case("no command", ("--model", "SimpleNet", "fit"), "--model comes after the command"),
    Case("a command that doesn't exist", ("fti", "--model", "SimpleNet"), "did you mean fit?"),
    Case("no network", ("fit",), "fit needs a network: add --model NAME"),
    Case("null for the network", ("fit", "--model", "null"), "there is no model 'null'"),
    Case("a network that doesn't exist", ("fit", "--model", "SimpelNet"), "did you mean SimpleNet"),
    Case("a class that is no network", ("fit", "--model", "torch.nn.Linear"), "a class made from LightningModule"),
    Case("a pipe for a file", BY_FILE, "is a pipe or a device: name a file", lambda: os.mkfifo("my.yaml")),
    Case("half of a dict", ("fit", "--model", "{class_path:"), "--model is no YAML, line 1"),
    Case("a network's file", ("fit", "--model", "./my_net.py"), "a class is named by module.Class, not by its file"),
    fit("likewise, the data's", "--data my_data.py", "--data my_data.py: a class is named by module.Class"),
    fit("likewise, an optimizer's", "--optimizer lib/x.py", "--optimizer lib/x.py: a class is named by module.Class"),
    Case(
        "an option among several that doesn't exist",
        (*FIT, "--trainer", "{max_epoch: 1}"),
        "no option --trainer.max_epoch, did you mean --trainer.max_epochs",
    ),
    fit("no data", "--data null", "change --data"),
    fit("an optimizer that doesn't exist", "--optimizer Adm", "did you mean Adam or RAdam?"),
    fit("likewise, by its path", "--optimizer torch.optim.Foo", "module 'torch.optim' has no attribute 'Foo'"),
    fit("a class that is no optimizer", "--optimizer torch.nn.Linear", "should be a class made from Optimizer"),
    fit("an optimizer for other networks", "--optimizer SparseAdam", "does not support dense gradients"),
    fit("likewise", "--optimizer Muon", "Muon only supports 2D parameters"),
    fit("a scheduler that doesn't exist", "--lr_scheduler StepLr", "did you mean StepLR?"),
    fit("a scheduler without what it needs", "--lr_scheduler StepLR", "needs --lr_scheduler.step_size"),
    fit("a loss that doesn't exist", "--loss CrosEntropyLoss", "did you mean CrossEntropyLoss"),
    fit("a loss for other data", "--loss PoissonNLLLoss", "is not for label, which is one of two classes"),
    fit(
        "a loss's option that doesn't exist",
        "--loss NLLLoss --loss.p 1",
        "no option --loss.p: there are weight, ",
    ),
    fit("a loss's option, and no loss", "--loss.weight [1,2]", "needs --loss NAME beside it"),
    fit(
        "an optimizer's option that doesn't exist",
        "--optimizer SGD --optimizer.momntum 0.9",
        "did you mean --optimizer.mom",
    ),
    fit("an option of the network that the data fills in", "--model.in_features 3", "the data knows it"),
    fit("likewise", "--model.num_outputs 3", "--model.num_outputs can't be set by hand"),
    Case("an option for the list", ("list", "--trainer.max_epochs", "3"), "list takes no options"),
    Case("likewise, one that doesn't exist", ("list", "--foo"), "list takes no options"),
    Case("a word for the list", ("list", "SimpleNet"), "SimpleNet is no option"),
    fit(
        "a mistake beside --print_config", "--print_config --trainer.max_epochs x", "--trainer.max_epochs x: should be"
    ),
]
VALUES = [
    fit("a word for a whole number", "--trainer.max_epochs ten", "--trainer.max_epochs ten: should be int or null"),
    fit("a fraction for a whole number", "--model.hidden 1.5", "--model.hidden 1.5: should be int"),
    fit("a word for a number", "--optimizer.lr fast", "--optimizer.lr fast: should be float"),
    fit("a word for true or false", "--data.standardize maybe", "--data.standardize maybe: should be bool"),
    fit("a number for a list", "--data.samples 3", "--data.samples 3: should be list"),
    fit("a list of the wrong form", "--data.samples [[1,2,3]]", "is not one price and one rating"),
    fit("a sample that is no number", "--data.samples [[.nan,3]]", "[nan, 3.0] should be two numbers, neither beyond"),
    fit("a sample beyond what float32 holds", "--data.samples [[1e39,3]]", "[1e+39, 3.0] should be two numbers"),
    fit("no samples", "--data.samples []", "holds no product to predict: name some"),
    fit("null for a whole number", "--model.hidden null", "--model.hidden null: should be int"),
    fit("likewise", "--data.batch_size null", "--data.batch_size null: should be int"),
    fit("null for a number", "--optimizer.lr null", "--optimizer.lr null: should be float"),
    fit("a width of 0", "--model.hidden 0", "--model.hidden 0: "),
    fit("a width below 0", "--model.hidden -3", "--model.hidden -3: "),
    fit("a learning rate of 0", "--optimizer.lr 0", "--optimizer.lr 0.0: should be above 0"),
    fit("a learning rate below 0", "--optimizer.lr -0.1", "--optimizer.lr -0.1: should be above 0"),
    fit("a learning rate that is no number", "--optimizer.lr .nan", "--optimizer.lr nan: should be a finite number"),
    fit("likewise", "--optimizer.lr nan", "--optimizer.lr nan: should be float"),
    fit("an infinite learning rate", "--optimizer.lr 1e400", "--optimizer.lr inf: should be a finite number"),
    fit("a momentum below 0", "--optimizer SGD --optimizer.momentum -1", "Invalid momentum value: -1"),
    fit("a momentum that is no number", "--optimizer SGD --optimizer.momentum .nan", "should be a finite number"),
    fit("a decay below 0", "--optimizer SGD --optimizer.weight_decay -1", "Invalid weight_decay value: -1"),
    fit("a decay that is no number", "--optimizer.weight_decay .nan", "should be a finite number"),
    fit("too few betas", "--optimizer.betas [0.9]", "--optimizer.betas"),
    fit("options that an optimizer needs together", "--optimizer SGD --optimizer.nesterov true", "requires a momentum"),
    fit(
        "a scheduler's step of 0", "--lr_scheduler StepLR --lr_scheduler.step_size 0", "step_size 0: should be above 0"
    ),
    fit(
        "a scheduler's factor that is no number",
        "--lr_scheduler StepLR --lr_scheduler.step_size 1 --lr_scheduler.gamma .nan",
        "--lr_scheduler.gamma nan: should be a finite number",
    ),
    fit("a span of 0", "--lr_scheduler CosineAnnealingLR --lr_scheduler.T_max 0", "T_max 0: should be above 0"),
    fit("a highest rate of 0", "--lr_scheduler OneCycleLR --lr_scheduler.max_lr 0", "max_lr 0.0: should be above 0"),
    fit("likewise, below 0", "--lr_scheduler OneCycleLR --lr_scheduler.max_lr -1", "max_lr -1.0: should be above 0"),
    fit("likewise, no number", "--lr_scheduler OneCycleLR --lr_scheduler.max_lr .nan", "should be a finite number"),
    fit(
        "a metric that nobody logs",
        "--lr_scheduler ReduceLROnPlateau --lr_scheduler.monitor val/x",
        "val/x which is not",
    ),
    fit(
        "a loss's option out of its range",
        "--loss NLLLoss --loss.reduction x",
        "--loss NLLLoss: x is",
    ),
    fit("likewise", "--loss CrossEntropyLoss --loss.label_smoothing 3", "between 0.0 and 1.0. Got: 3"),
    fit("likewise", "--loss CrossEntropyLoss --loss.label_smoothing -1", "should be 0 or above"),
    fit("likewise", "--loss MultiMarginLoss --loss.p 3", "only p == 1 and p == 2 supported"),
    fit(
        "weights for other classes",
        "--loss NLLLoss --loss.weight [1,2,3]",
        "all 2 classes or no classes",
    ),
    fit("more samples than can be counted", "--data.train_size 9223372036854775808", "at most 1,000,000,000,000"),
    fit("a batch of 0", "--data.batch_size 0", "--data.batch_size 0: should be from 1 to 2,147,483,648"),
    fit("a batch below 0", "--data.batch_size -4", "--data.batch_size -4: should be from 1 to 2,147,483,648"),
    fit("a batch larger than the data", "--data.batch_size 10000", "there are only 800 training samples"),
    Case("likewise", (*SEARCH, "--data.batch_size", "10000"), "there are only 800 training samples"),
    fit("a seed below 0", "--seed_everything -1", "--seed_everything -1: should be from 0 to 4294967295"),
    fit("a seed too large", f"--seed_everything {2**40}", "should be from 0 to 4294967295"),
    fit("a seed that is a fraction", "--seed_everything 2.5", "--seed_everything 2.5: should be"),
    fit("a seed that is a word", "--seed_everything abc", "--seed_everything abc: should be"),
    fit("folds of data that has none", "--data.folds 5", "no option --data.folds"),
    fit("likewise, of the data", "--data.seed -1", "--data.seed -1: should be from 0 to 4294967295"),
    fit("a checkpoint every 0 steps", "--checkpoint_every 0", "--checkpoint_every 0: should be PositiveInt or null"),
    Case("a lowest rate of 0", (*SEARCH, "--min_lr", "0"), "--min_lr 0.0: should be above 0"),
    Case("a lowest rate that is no number", (*SEARCH, "--min_lr", ".nan"), "--min_lr nan: should be a finite number"),
    Case("an infinite highest rate", (*SEARCH, "--max_lr", ".inf"), "--max_lr inf: should be a finite number"),
    Case("rates the wrong way round", (*SEARCH, "--min_lr", "2"), "has to be above 0 and below the second"),
    Case("too few steps to search", (*SEARCH, "--num_training", "3"), "at least 20 steps are needed"),
    Case("a search in one step", (*SEARCH, "--trainer.fast_dev_run", "true"), "leaves no steps to search"),
    Case(
        "a search within a search",
        (*SEARCH, "--trainer.callbacks+=LearningRateFinder"),
        "Trainer is already configured",
    ),
    Case("a search from a checkpoint", (*SEARCH, "--ckpt_path", "best"), "leave out --ckpt_path"),
]
TRAINER = [
    fit("no epochs", "--trainer.max_epochs 0", "should be above 0, or -1 for no limit"),
    fit("epochs below 0", "--trainer.max_epochs -5", "--trainer.max_epochs -5: should be above 0"),
    fit("no steps", "--trainer.max_steps 0", "--trainer.max_steps 0: should be above 0"),
    fit("steps below 0", "--trainer.max_steps -2", "--trainer.max_steps -2: should be above 0"),
    fit("a time that is none", "--trainer.max_time soon", "Expected a string in the format DD:HH:MM:SS"),
    fit("likewise, below 0", "--trainer.max_time.seconds -1", "should be above 0, as days:hours:minutes:seconds"),
    fit("a root that is no folder", "--trainer.default_root_dir s3://a/b", "runs lie in a folder: name one"),
    fit("no time", "--trainer.max_time 00:00:00:00", "should be above 0, as days:hours:minutes:seconds"),
    fit("epochs at least, below 0", "--trainer.min_epochs -3", "--trainer.min_epochs -3: should be 0 or above"),
    fit("steps over 0 batches", "--trainer.accumulate_grad_batches 0", "should be above 0"),
    fit("a clip below 0", "--trainer.gradient_clip_val -1", "--trainer.gradient_clip_val -1: should be 0 or above"),
    fit("a clip that is no number", "--trainer.gradient_clip_val .nan", "should be a finite number"),
    fit("validation every 0 batches", "--trainer.val_check_interval 0", "should be above 0"),
    fit("likewise, more than there are", "--trainer.val_check_interval 1000", "number of the training batches (25)"),
    fit("validation every 0 epochs", "--trainer.check_val_every_n_epoch 0", "should be above 0"),
    fit("a row every 0 steps", "--trainer.log_every_n_steps 0", "--trainer.log_every_n_steps 0: should be above 0"),
    fit("likewise, below 0", "--trainer.log_every_n_steps -1", "--trainer.log_every_n_steps -1: should be above 0"),
    fit("a precision that doesn't exist", "--trainer.precision 12", "'bf16-mixed'"),
    fit("a strategy that doesn't exist", "--trainer.strategy foo", "invalid strategy name"),
    fit("no training batches", "--trainer.limit_train_batches 0", "should be above 0"),
    fit("training batches below 0", "--trainer.limit_train_batches -1", "should be above 0"),
    fit("more than all batches", "--trainer.limit_train_batches 2.5", "it has to be in [0.0, 1.0] or an int"),
    fit("batches that are no number", "--trainer.limit_train_batches .nan", "should be a finite number"),
    fit("a part of less than one batch", "--trainer.limit_train_batches 0.001", "Try at least"),
    fit("no devices", "--trainer.accelerator cpu --trainer.devices 0", "is not a valid input using cpu accelerator"),
    fit("devices below 0", "--trainer.accelerator cpu --trainer.devices -1", "should be an int > 0"),
    fit("devices that are a word", "--trainer.accelerator cpu --trainer.devices abc", "should be an int > 0"),
    fit("no machines", "--trainer.num_nodes 0", "`num_nodes` must be a positive integer"),
    fit("nothing logged", "--trainer.barebones true", "no score is logged then"),
    fit("processes for notebooks", "--trainer.strategy ddp_spawn", "--trainer.strategy ddp_spawn: its processes, made"),
    fit("likewise", "--trainer.strategy ddp_fork --trainer.devices 2 --trainer.accelerator cpu", "ddp_fork: its proc"),
    fit("checkpoints written later", "--trainer.plugins+=AsyncCheckpointIO", "AsyncCheckpointIO: a checkpoint has to"),
    fit("a backbone that isn't there", "--trainer.callbacks+=BackboneFinetuning", "has no attribute 'backbone'"),
    fit("a search for a network without a rate", "--trainer.callbacks+=LearningRateFinder", "one of these fields"),
    fit("a callback that doesn't exist", "--trainer.callbacks+=Foo", "should be a class, by its import path"),
    fit("likewise", "--trainer.callbacks+=EarlyStoping", "by its import path, did you mean EarlyStopping?"),
    fit("likewise, a logger", "--trainer.logger CVSLogger", "by its import path, did you mean CSVLogger?"),
    fit(
        "a callback's option that doesn't exist",
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monito=x",
        "no option --trainer.callbacks.monito, did you mean --trainer.callbacks.monitor?",
    ),
    Case(
        "an option of an optimizer that is not chosen",
        ("fit", "--model", "TripletNet", "--optimizer.lr", "0.1"),
        "--optimizer.lr needs --optimizer NAME beside it: add that",
    ),
    fit("likewise, of a scheduler", "--optimizer SGD --lr_scheduler.gamma 0.5", "needs --lr_scheduler NAME beside it"),
    fit(
        "a callback's metric that nobody logs",
        "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val/foo",
        "Early stopping conditioned on metric `val/foo` which is not available",
    ),
    *(
        fit(f"a test after {why}", f"--test_after_fit true --trainer.{option}", "leaves nothing to test")
        for why, option in (
            ("one batch", "fast_dev_run true"),
            ("nothing was kept", "enable_checkpointing false"),
            ("nothing was validated", "limit_val_batches 0"),
            ("which nothing is tested", "limit_test_batches 0"),
        )
    ),
]
FILES = [
    yaml("an option that nobody reads", "foo: 3", "-c my.yaml: no option --foo"),
    yaml("likewise, the trainer's", "trainer: {max_epoch: 3}", "-c my.yaml: no option --trainer.max_epoch, did you"),
    yaml("likewise, the data's", "data: {class_path: SyntheticTabular, init_args: {sise: 3}}", "no option --data.sise"),
    yaml("likewise, the optimizer's", "optimizer: {class_path: SGD, init_args: {lrr: 3}}", "mean --optimizer.lr?"),
    yaml("likewise, the network's", "model: {class_path: SimpleNet, init_args: {hiden: 3}}", "mean --model.hidden?"),
    yaml("an option at the wrong place", "model: {class_path: SimpleNet, hidden: 3}", "its options under init_args"),
    yaml("likewise", "model: {hidden: 3}", "-c my.yaml: model is a name, or has a class_path"),
    yaml("options as they are typed", "trainer.max_epochs: 3", "in YAML it is nested, as --print_config shows"),
    yaml("options under a command", "fit: {trainer: {max_epochs: 3}}", "-c my.yaml: no option --fit"),
    yaml("what can only be typed", "print_config: true", "--print_config can't stand in a file: type it"),
    yaml("a size", "model: {class_path: SimpleNet, init_args: {in_features: 3}}", "the data knows it"),
    yaml("no options for the trainer", "trainer:", "-c my.yaml: trainer holds no options"),
    yaml("a number for the trainer", "trainer: 3", "-c my.yaml: trainer holds no options"),
    yaml("a number for the network", "model: 3", "-c my.yaml: model is a name"),
    yaml("a number for the checkpoint", "ckpt_path: 3", "--ckpt_path 3: no such file or run"),
    yaml("a learning rate of 0", "optimizer: {class_path: SGD, init_args: {lr: 0}}", "should be above 0"),
    yaml("a learning rate that is no number", "optimizer: {class_path: SGD, init_args: {lr: .nan}}", "a finite number"),
    yaml("a word for a number", "trainer: {max_epochs: ten}", "--trainer.max_epochs ten: should be int or null"),
    yaml("no YAML", "a: 1\nb: [\n", "-c my.yaml is no YAML, line 3"),
    yaml("a tab", "trainer:\n\tmax_epochs: 3\n", "-c my.yaml is no YAML, line 2: found character '\\t'"),
    yaml("an option twice", "trainer:\n  max_epochs: 3\n  max_epochs: 4\n", "line 3: a second max_epochs"),
    yaml("empty", "", "-c my.yaml holds no options"),
    yaml("a list", "- trainer", "-c my.yaml holds no options"),
    yaml("no text", b"\x89PNG\xff", "-c my.yaml is no text file"),
    Case("a file: that is a folder", BY_FILE, "-c my.yaml: Is a directory", Path("my.yaml").mkdir),
    Case("a file: that isn't there", BY_FILE, "-c my.yaml: No such file or directory"),
]


@pytest.mark.parametrize(
    "name",
    ["PL_TRAINER__MAX_EPOCHS", "PL_FIT__TRAINER__MAX_EPOCHS", "PL_MODEL__HIDDEN", "PL_TRAINER_DEVICES", "KINDLING_LR"],
)
def test_an_option_in_the_environment(kindling: Kindling, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "3")
    kindling.answers("Options", Case(f"the environment sets {name}=3", FIT, f"{name} is set, but options are not read"))


def test_lightnings_own_variables_are_left_alone(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "PL_RUN_STANDALONE_TESTS", "PL_DEEPSPEED_CONFIG_PATH"):
        monkeypatch.setenv(name, "1")
    kindling(*FIT, "--print_config")


@pytest.mark.parametrize("case", NAMES + VALUES + TRAINER + FILES, ids=lambda case: case.what)
def test_bad_options(kindling: Kindling, case: Case) -> None:
    kindling.answers("Options", case)


def backbone(what: str, typed: str, says: str, prepare: Callable[[], object] = lambda: None) -> Case:
    return Case(what, ("fit", "--model", "Backbone", "--data", "FashionMNIST", *typed.split()), says, prepare)


def weights_of(name: str, part: str | None = None, file: str = "my.pth") -> Callable[[], object]:
    """Writes weights of one of torchvision's networks; ``part`` of them is NaN."""

    def write() -> None:
        state = models.get_model(name).state_dict()
        state |= {part: state[part] * torch.nan} if part else {}
        torch.save(state, file)

    return write


BACKBONE = [
    backbone("a network that torchvision doesn't have", "--model.name resnet19", "did you mean resnet18 or resnet"),
    backbone("one of its networks for boxes", "--model.name ssd300_vgg16", "is one of torchvision's for detection"),
    backbone("images too small for a network", "--model.name alexnet", "28x28 pixels are too small for it: give"),
    backbone("likewise, one of patches", "--model.name vit_b_16", "can't be made for images of 28x28 pixels"),
    backbone(
        "frozen layers that know nothing", "--model.freeze 2", "needs layers that are trained: add --model.weights"
    ),
    backbone("a number of epochs below 0", "--model.freeze -1", "--model.freeze -1: should be 0 or above"),
    backbone("a share above 1", "--model.body_lr 2", "--model.body_lr 2.0: should be above 0, and at most 1"),
    backbone("weights that nobody published", "--model.weights DEFAUT", "did you mean DEFAULT?"),
    backbone("a file of weights that isn't there", "--model.weights my.pth", "there is no such file"),
    backbone("a file that holds no weights", "--model.weights my.yaml", "is damaged, or holds no", file("a: 1")),
    backbone(
        "weights of another network",
        "--model.weights my.pth",
        'does not fit resnet18: Missing key(s) in state_dict: "conv1.weight", "bn1.weight"',
        weights_of("squeezenet1_1"),
    ),
    backbone(
        "weights with NaN",
        "--model.weights my.pth --model.name squeezenet1_1",
        "has NaN or infinite numbers in features.0.bias",
        weights_of("squeezenet1_1", "features.0.bias"),
    ),
]


@pytest.mark.first_by_default
@pytest.mark.parametrize("case", BACKBONE, ids=lambda case: case.what)
def test_bad_options_of_a_published_network(kindling: Kindling, case: Case) -> None:
    kindling.answers("Options", case)


@pytest.mark.parametrize(
    ("package", "option", "says"),
    [
        ("comet_ml", "logger CometLogger", "--trainer.logger CometLogger: Requirement 'comet"),
        (
            "rich",
            "callbacks+=RichProgressBar",
            "--trainer.callbacks RichProgressBar: `RichProgressBar` requires `rich`",
        ),
        ("rich", "callbacks+=RichModelSummary", "--trainer.callbacks RichModelSummary: `RichModelSummary` requires"),
        ("torch_xla", "accelerator tpu", "--trainer.accelerator tpu: Requirement 'torch_xla"),
        ("torch_xla", "strategy xla", "--trainer.strategy xla: Requirement 'torch_xla"),
        ("torch_xla", "profiler xla", "--trainer.profiler xla needs torch_xla"),
        ("transformer_engine", "precision transformer-engine", "--trainer.precision transformer-engine: Requirement"),
    ],
)
def test_a_package_that_is_missing(kindling: Kindling, package: str, option: str, says: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    kindling.answers("Options", fit(f"no {package}", f"--trainer.{option}", says))


@pytest.mark.parametrize(("extra", "name"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_a_logger_whose_extra_is_missing(
    kindling: Kindling, monkeypatch: pytest.MonkeyPatch, extra: str, name: str
) -> None:
    module = import_module(f"lightning.pytorch.loggers.{extra}")
    monkeypatch.setattr(module, f"_{extra.upper()}_AVAILABLE", RequirementCache(f"{extra}>=999"))
    for option in ("--trainer.logger", "--trainer.logger+"):
        error = kindling.fails(*FIT, f"{option}={name}")
        assert f"--trainer.logger {name} needs {extra}: pip install -e '.[{extra}]'" in error


def test_a_callback_whose_package_is_missing(kindling: Kindling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_stats_monitor, "_PSUTIL_AVAILABLE", RequirementCache("psutil>=999"))
    error = kindling.fails(*FIT, "--trainer.callbacks+=DeviceStatsMonitor")
    assert "`DeviceStatsMonitor` cannot log CPU stats as `psutil` is not installed" in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_an_accelerator_that_is_not_there(kindling: Kindling) -> None:
    for devices in ("1", "99"):
        case = fit(
            "a GPU that isn't there",
            f"--trainer.accelerator gpu --trainer.devices {devices}",
            "No supported gpu backend found",
        )
        kindling.answers("Options", case)


@pytest.mark.parametrize(
    ("command", "option", "says"),
    [
        ("test", "--trainer.limit_test_batches 0", "should be above 0"),
        ("validate", "--trainer.limit_val_batches 0", "should be above 0"),
        ("predict", "--trainer.limit_predict_batches 0", "should be above 0"),
        ("test", "--trainer.fast_dev_run true", "type --trainer.limit_test_batches 1 in its place"),
        ("predict", "--trainer.fast_dev_run 2", "type --trainer.limit_predict_batches 1 in its place"),
        ("predict", "--data.samples [[1]]", "is not one price and one rating"),
        ("validate", "--trainer.fast_dev_run maybe", "--trainer.fast_dev_run maybe: should be int or bool"),
        ("export", "--format jpeg", "--format jpeg: should be 'weights', 'onnx', 'pt2'"),
        ("fit", "--model SimpleNN", "no training run of SimpleNN"),
        ("fit", "--optimizer SGD --trainer.max_epochs 20", "its state is in the checkpoint"),
        ("fit", "--optimizer.amsgrad true --trainer.max_epochs 20", "--optimizer.amsgrad true: the checkpoint lacks"),
    ],
)
def test_bad_options_for_a_checkpoint(kindling: Kindling, run: Path, command: str, option: str, says: str) -> None:
    what = f"{command}, with {option.split()[0]}"
    kindling.answers("Options", Case(what, (command, "--ckpt_path", "best", *option.split()), says))


def test_numbers_as_people_write_them_in_yaml(kindling: Kindling) -> None:
    Path("my.yaml").write_text('trainer: {max_epochs: "1"}\noptimizer: {class_path: SGD, init_args: {lr: 1e-3}}')
    out = kindling(*BY_FILE, "--print_config")
    assert "max_epochs: 1\n" in out
    assert "lr: 0.001\n" in out
