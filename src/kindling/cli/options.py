"""Which options hold: our defaults, then those of the checkpoint's run, then the -c files, then what is typed."""

import inspect
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import get_args

import yaml

from kindling.cli.arguments import CLASS_OPTIONS, Option, Request
from kindling.errors import RunError, UsageError
from kindling.models.base import SupervisedModule
from kindling.project import current
from kindling.registry import import_class
from kindling.runs import trust
from kindling.runs.class_names import canonical_of
from kindling.runs.find import Checkpoint
from kindling.runs.trust import Options
from kindling.training.job import RESTORED
from kindling.training.resume import class_name, flat
from kindling.training.trainer import DEFAULT_EPOCHS

POSITIVE = {
    *("optimizer.lr", "lr_scheduler.max_lr", "model.lr", "min_lr", "max_lr"),
    *(f"lr_scheduler.{span}" for span in ("step_size", "T_max", "T_0", "total_iters")),
    *(f"trainer.{count}" for count in ("max_epochs", "max_steps", "accumulate_grad_batches", "val_check_interval")),
    *("trainer.check_val_every_n_epoch", "trainer.log_every_n_steps"),
}
NOT_NEGATIVE = {
    *("loss.label_smoothing", "lr_scheduler.patience", "lr_scheduler.cooldown"),
    *("trainer.min_epochs", "trainer.min_steps", "trainer.gradient_clip_val", "trainer.num_sanity_val_steps"),
}
UNLIMITED = {"trainer.max_epochs", "trainer.max_steps", "trainer.num_sanity_val_steps"}  # where -1 is no limit
PLAIN = (bool, int, float, str)
STAGES = {"fit": "train", "lr_find": "train", "validate": "val", "test": "test", "predict": "predict"}


def of_run(config: Options, request: Request) -> Options:
    """Options in a checkpoint that hold unless others are given: to train on all, else network and data.

    Raises:
        RunError: The checkpoint is of another network than the one asked for.
    """
    kept = config if request.command == "fit" else {key: config[key] for key in RESTORED if key in config}
    chosen = request.value("model")
    if chosen and "model" in kept and kept["model"]["class_path"] != canonical_of("model", chosen):
        raise RunError(f"the checkpoint holds {class_name(kept['model'])}, not {chosen.rpartition('.')[2]}")
    return kept


def to_restore(config: Options, request: Request, checkpoint: Checkpoint) -> Options:
    """Those of a checkpoint's options that nothing given takes the place of, examined before they are used.

    Raises:
        CheckpointError: They would import, call or write what neither Kindling knows nor the user has named.
    """
    kept = {}
    chosen = {key: canonical_of(key, path) for key in CLASS_OPTIONS if (path := request.value(key))}
    for key, value in config.items():
        is_replaced = value and key in chosen and chosen[key] != value["class_path"]
        if not is_replaced:  # another class than the run's takes none of the run's options for it
            kept[key] = value
    if "trainer" in kept:
        given = {name for name in kept["trainer"] if request.has(f"trainer.{name}", f"trainer.{name}+")}
        kept["trainer"] = {name: value for name, value in kept["trainer"].items() if name not in given}
        then, now = kept["trainer"].get("default_root_dir"), checkpoint.run.root
        if Path(str(then or "")).resolve() != Path(now or "").resolve():  # it was moved, or a stranger says so
            kept["trainer"]["default_root_dir"] = now
    remedy = "type --{option} {path}"
    if checkpoint.run.config_file.is_file():
        remedy += f", or add -c {checkpoint.run.config_file}"
    trust.check_taken(kept, request.named | {*chosen.values()}, checkpoint.file, remedy)
    return kept


def command_line(request: Request, restored: Options) -> list[str]:
    """All options as the parser takes them, later ones winning; each class comes before its options.

    Raises:
        UsageError: No network or no data is chosen, or an option is given of a class that is not.
    """
    if request.wants_help:
        # "--help all" is the parser's own --help
        asked = [option._replace(value=None) if option.key == "help" else option for option in request.options]
        return [token for option in asked for token in option.tokens()]
    defaults = _defaults(request, restored)
    for key in request.given:
        kind = key.partition(".")[0]
        if kind in CLASS_OPTIONS and not (request.has(kind) or restored.get(kind) or kind in defaults):
            raise UsageError(f"--{key} needs --{kind} NAME beside it: add that")
    first = [_as_config(restored)] if restored else []
    first += [f"--{key}={value}" for key, value in defaults.items()]
    first += [_as_config(spelled(config)) for config in request.configs]
    typed = [o for o in request.options if o.key != "ckpt_path"]
    typed = [Option(o.key, canonical_of(o.key, o.value)) if o.key in CLASS_OPTIONS and o.value else o for o in typed]
    typed.sort(key=lambda o: o.key not in CLASS_OPTIONS)
    return first + [token for option in typed for token in option.tokens()]


def _as_config(options: Options) -> str:
    """As if they stood in a ``-c`` file. A text in quotes stays a text, a number without them stays a number."""
    content = yaml.safe_dump(options, default_style='"', default_flow_style=True, width=2**30)
    return f"--config={content}"


def spelled(config: Options) -> Options:
    """Options with each class by the one spelling of its path, by which the parser too takes it for the same class."""
    same = dict(config)
    for key in config.keys() & set(CLASS_OPTIONS):
        if config[key] and (path := config[key].get("class_path")):
            same[key] = config[key] | {"class_path": canonical_of(key, path)}
    return same


def _defaults(request: Request, restored: Options) -> Options:
    """Options that depend on the others and that nobody gave."""
    chosen = {key: request.value(key) for key in CLASS_OPTIONS}
    model = chosen["model"] or restored.get("model", {}).get("class_path")
    if model is None:
        raise UsageError("the checkpoint does not say which network it is of: add --model and --data")
    model_class = import_class(model, "--model")
    if chosen["data"] not in (None, "null"):
        import_class(chosen["data"], "--data")  # the parser knows by its name alone only what is imported
    defaults: Options = {}
    if "data" not in restored and chosen["data"] is None:
        known = current()
        data = next((e.default_data for e in known.models.values() if e.module == model_class.__module__), None)
        if data is not None and data not in known.data:
            raise UsageError(f"{model}: its usual data {data!r} is not in DATA: add a line there, or type --data NAME")
        if data is not None:
            defaults["data"] = f"{known.data[data].module}.{data}"
        elif issubclass(model_class, SupervisedModule):
            there = ", ".join(known.data)
            raise UsageError(f"there is no usual data for {model_class.__name__}: add --data NAME: there are {there}")
    monitor = request.value("monitor") or getattr(model_class, "monitor", None) or "val/loss"
    epochs = request.value("trainer.max_epochs") or restored.get("trainer", {}).get("max_epochs") or DEFAULT_EPOCHS
    filled = {  # what is required, or of little use as torch has it
        ("loss", "KLDivLoss", "reduction"): "batchmean",  # the divergence; torch's mean is a fraction of it
        ("optimizer", "LBFGS", "line_search_fn"): "strong_wolfe",  # diverges without, on batches
        ("lr_scheduler", "CosineAnnealingLR", "T_max"): epochs,
        ("lr_scheduler", "PolynomialLR", "total_iters"): epochs,
        ("lr_scheduler", "ReduceLROnPlateau", "monitor"): monitor,
    }
    if request.value("loss.weight") == "balanced" and not (chosen["loss"] or restored.get("loss")):
        defaults["loss"] = "torch.nn.CrossEntropyLoss"  # the usual one of classes
    for (kind, name, option), value in filled.items():
        if class_name({"class_path": chosen[kind]}) == name and not request.has(f"{kind}.{option}"):
            defaults |= {kind: chosen[kind], f"{kind}.{option}": value}
    usual = getattr(model_class, "configure_optimizers", None) is SupervisedModule.configure_optimizers
    if usual and not restored.get("optimizer") and chosen["optimizer"] is None:
        defaults |= {"optimizer": "torch.optim.Adam", "optimizer.lr": model_class.default_lr}
        validates = str(request.value("trainer.limit_val_batches")) not in ("0", "0.0")
        if chosen["lr_scheduler"] is None and validates:
            defaults["lr_scheduler"] = "lightning.pytorch.cli.ReduceLROnPlateau"
            plateau = {"monitor": monitor, **model_class.plateau}
            defaults |= {f"lr_scheduler.{key}": value for key, value in plateau.items()}
    if "trainer" not in restored and not request.has(*(f"trainer.max_{unit}" for unit in ("epochs", "steps", "time"))):
        defaults["trainer.max_epochs"] = DEFAULT_EPOCHS
    return defaults


def check(options: Options, command: str) -> None:
    """What neither torch nor Lightning say of single options, or say too late, or by a traceback.

    Raises:
        UsageError: A value is missing, a number is out of its range, or what is asked for is switched off.
    """
    for key in CLASS_OPTIONS:
        if options[key]:
            _check_nulls(key, options[key])
    stage = STAGES.get(command)
    _check_numbers(flat(options), POSITIVE | {f"trainer.limit_{stage}_batches"})
    trainer = options["trainer"]
    if command in ("validate", "test", "predict") and trainer["fast_dev_run"]:
        instead = f"--trainer.limit_{stage}_batches 1"
        raise UsageError(f"--trainer.fast_dev_run: {command} would show and keep nothing: type {instead} in its place")
    if "://" in str(trainer["default_root_dir"]):
        raise UsageError(f"--trainer.default_root_dir {trainer['default_root_dir']}: runs lie in a folder: name one")
    needed = {
        "fast_dev_run": False,
        "enable_checkpointing": True,
        "limit_val_batches": True,
        "limit_test_batches": True,
    }
    for name, is_on in needed.items() if options.get("test_after_fit") else ():
        if trainer[name] is not None and bool(trainer[name]) != is_on:
            raise UsageError(f"--test_after_fit true: --trainer.{name} leaves nothing to test, so drop one of the two")


def _check_nulls(key: str, spec: Options) -> None:
    """The parser takes null for any argument of a class."""
    for name, parameter in inspect.signature(import_class(spec["class_path"], f"--{key}")).parameters.items():
        kinds = get_args(parameter.annotation) or (parameter.annotation,)
        if spec.get("init_args", {}).get(name, "") is None and kinds[0] in PLAIN and NoneType not in kinds:
            raise UsageError(f"--{key}.{name} null: should be {kinds[0].__name__}")


def _check_numbers(options: Options, positive: set[str]) -> None:
    for key, value in options.items():
        typed = f"--{key} {value}"
        if key == "trainer.max_time" and ("-" in str(value) or not str(value).strip("0:")):
            raise UsageError(f"{typed}: should be above 0, as days:hours:minutes:seconds")
        if isinstance(value, str) or (value == -1 and key in UNLIMITED):
            continue
        if key in ("seed_everything", "data.seed") and not 0 <= value < 2**32:
            raise UsageError(f"{typed}: should be from 0 to {2**32 - 1}")
        if (key in positive and value <= 0) or (key in NOT_NEGATIVE and value < 0):
            or_else = ", or -1 for no limit" if key in UNLIMITED else ""
            raise UsageError(f"{typed}: should be {'above 0' if key in positive else '0 or above'}{or_else}")
        # a network or data of the user's own may have a use for infinity
        if not (isfinite(value) or key.startswith(("model.", "data."))):
            raise UsageError(f"{typed}: should be a finite number")
