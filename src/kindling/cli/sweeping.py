"""The command ``sweep``, from its options to its end."""

import shutil
import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from kindling.cli import commands, process
from kindling.cli.arguments import CLASS_OPTIONS, Config, Request, dotted
from kindling.console import waiting
from kindling.errors import RunError, Stopped, UsageError
from kindling.project import current
from kindling.runs import trust
from kindling.runs.atomic import atomic_write
from kindling.runs.folder import LOGS, claim, locked, sweeps
from kindling.sweep import space, storage
from kindling.sweep.coordinator import Settings, Sweep
from kindling.sweep.study import Definition, pruner_name, sampler_name
from kindling.sweep.workers import Message, cores

CODE = "from kindling.cli.trial import main; main()"  # of the processes that train
CHANGEABLE = ("trials", "jobs", "keep", "test_best", "storage")  # when a sweep goes on
USUAL_SEED = 42
OWN = commands.own_options("sweep")


def run(request: Request, own: dict[str, Any], program: str | None = None, script: str | None = None) -> Path:
    """Carry out the command.

    Args:
        own: The options of ``sweep`` itself.
        program: How the user calls Kindling, for messages; None to tell it from the command line.
        script: The file that carries out a command line; None for the one that is running.

    Returns:
        The folder of the sweep.

    Raises:
        KindlingError: The user has something to mend.
        Stopped: A signal ended it; it can go on.
    """
    _check(own)
    if any(option.key == "print_config" for option in request.options):
        raise UsageError("--print_config: sweep has many configurations: type it with fit")
    program = program or process.program()
    if request.has("ckpt_path"):
        folder, settings, definition = _found(request, own)
    else:
        definition, settings = _defined(request, own), _settings(own)
        folder = claim(_logs(request), own["name"] or "sweep").folder
    hello: Message = {
        "options": definition.options,
        "configs": definition.configs,
        "program": program,
        "project": current().plain(),
        "path": sys.path,
        "argv": [script or sys.argv[0]],
        "config_files": [str(folder / f"config_{n}.yaml") for n in range(len(definition.configs))],
        "devices": _devices(definition),
    }
    sweep = Sweep(folder, settings, hello, CODE, program)
    try:
        for name, config in zip(hello["config_files"], definition.configs, strict=True):
            with atomic_write(Path(name)) as file:
                yaml.safe_dump(config, file, sort_keys=False, allow_unicode=True)
        with locked(folder, "swept"), sweep.workers():
            if not definition.objectives:
                definition = _checked(sweep, definition, own["objectives"])
            sweep.run(definition)
            sweep.conclude(own["test_best"])
    except BaseException as error:
        has_begun = (folder / "sweep.yaml").is_file()
        if not has_begun:
            shutil.rmtree(folder)
        if isinstance(error, KeyboardInterrupt | Stopped):
            which = folder if request.has("trainer.default_root_dir") else "last"
            remedy = f"{program} sweep --ckpt_path {which}  goes on" if has_begun else "before anything was tried"
            print(f"\nInterrupted: {remedy}", flush=True)
            raise Stopped(error.code if isinstance(error, Stopped) else 130) from None
        raise
    return folder


def _check(own: dict[str, Any]) -> None:
    """
    Raises:
        UsageError: An option is out of its range.
    """
    for name in ("trials", "jobs", "seeds"):
        if own[name] < 1:
            raise UsageError(f"--{name} {own[name]}: should be at least 1")
    if own["jobs"] > cores():
        raise UsageError(f"--jobs {own['jobs']}: there are {cores()} CPU cores here, so at most as many jobs")
    if own["storage"]:
        storage.address(own["storage"])


def _defined(request: Request, own: dict[str, Any]) -> Definition:
    """A new sweep, as far as it is known before its first worker has looked at it."""
    if not request.vary:
        raise UsageError("sweep varies nothing: add e.g. --vary.lr '1e-4..1 log' or --vary.model.hidden '[16, 64]'")
    varied = {option: space.read(option, given) for option, given in request.vary.items()}
    for option in varied:
        if request.has(option):
            raise UsageError(f"--{option} is given, and --vary.{option} too: drop one of them")
    configs = _configs(request)
    options = [[o.key, str(o.value)] for o in request.options if o.key not in OWN]
    for name in ("trainer.fast_dev_run", "trainer.barebones"):
        if str(request.value(name)).lower() not in ("none", "false", "0"):
            raise UsageError(f"--{name}: a trial needs scores: leave it out")
    objectives = own["objectives"].split(",") if own["objectives"] else []
    if objectives:
        if request.has("monitor"):
            raise UsageError("--monitor and --objectives: the first objective is what is monitored: drop --monitor")
        options.append(["monitor", objectives[0]])
    pruner = own["pruner"] or ("Median" if len(objectives) < 2 else "Nop")
    if len(objectives) > 1 and pruner_name(pruner) != "Nop":
        raise UsageError(f"--pruner {pruner}: with several objectives no trial can be ended early: drop it")
    seed = str(request.value("seed_everything") or USUAL_SEED)
    if own["seeds"] > 1 and not seed.isdigit():
        raise UsageError(f"--seeds {own['seeds']} begins with the number of --seed_everything, not with {seed}")
    seeds: list[dict[str, str]] = [{}]
    if own["seeds"] > 1:
        seeds = [{"seed_everything": str(int(seed) + n)} for n in range(own["seeds"])]
    folds: list[dict[str, str]] = [{}]
    if request.has("data.folds") and not request.has("data.fold"):
        folds = [{"data.fold": str(n)} for n in range(int(request.value("data.folds")))]
    definition = Definition(
        options=options,
        configs=configs,
        vary=request.vary,
        runs=[a | b for a, b in product(seeds, folds)],
        sampler=sampler_name(own["sampler"] or "TPE"),
        pruner=pruner_name(pruner),
        objectives=[],
        seed=int(seed) if seed.isdigit() else USUAL_SEED,
    )
    choices = all(isinstance(one, space.Choice) for one in varied.values())
    if own["sampler"] is None and choices and len(definition.grid()) <= own["trials"]:
        definition = replace(definition, sampler="Grid")
    if definition.sampler == "Grid":
        definition.grid()  # it may be that a range has no steps
    return definition


def _configs(request: Request) -> list[Config]:
    """The contents of the ``-c`` files, without the options of ``sweep`` itself."""
    return [{key: value for key, value in one.items() if key not in OWN} for one in request.configs]


def _settings(own: dict[str, Any]) -> Settings:
    return Settings(own["trials"], own["jobs"], own["keep"], own["storage"], own["name"] or "sweep")


def _logs(request: Request) -> Path:
    return Path(str(request.value("trainer.default_root_dir") or "")) / LOGS


def _devices(definition: Definition) -> int:
    given = next((value for key, value in definition.options if key == "trainer.devices"), "1")
    return int(given) if given.isdigit() else 1


def _checked(sweep: Sweep, definition: Definition, objectives: str | None) -> Definition:
    """What the network, the data and the parser know about what is varied.

    Raises:
        UsageError: They refuse it.
    """
    varied = definition.space()
    told: Message = {
        "do": "check",
        "vary": {option: [space.typed(end) for end in one.ends()] for option, one in varied.items()},
        "shown": {option: space.typed(given) for option, given in definition.vary.items()},
        "whole": [o for o, one in varied.items() if isinstance(one, space.Range) and one.is_whole and one.step is None],
        "objectives": objectives.split(",") if objectives else [],
        "runs": definition.runs,
    }
    with waiting("Importing torch and Lightning, and checking what is varied"):
        answer = sweep.ask(told)
    return replace(
        definition,
        conditions=answer["conditions"],
        floats=answer["floats"],
        objectives=answer["objectives"],
    )


def _found(request: Request, own: dict[str, Any]) -> tuple[Path, Settings, Definition]:
    """The sweep that ``--ckpt_path`` means.

    Raises:
        RunError: There is none, or its files can't be read.
        UsageError: Something is typed that makes another sweep of it.
    """
    wanted = str(request.value("ckpt_path"))
    there = sweeps(_logs(request))
    folders = [Path(wanted), _logs(request) / wanted]
    folder = next((one for one in folders if (one / "sweep.yaml").is_file()), None)
    if wanted in ("last", "auto"):
        folder = there[0] if there else None
    if folder is None:
        names = ", ".join(one.name for one in there) or "none"
        raise RunError(f"--ckpt_path {wanted}: there is no such sweep under {_logs(request)} (there: {names})")
    file = folder / "sweep.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        definition = Definition(**content.pop("definition"))
        settings = Settings(**content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, AttributeError, KeyError) as error:
        raise RunError(f"{file} can't be read ({' '.join(str(error).split())}): begin another sweep") from error
    if settings.storage and "***" in settings.storage and not own["storage"]:
        raise UsageError(f"{folder} is kept in {settings.storage}: type --storage again, with its password for the ***")
    same = {key for key, value in definition.options if request.value(key) == value}
    changed = [option.key for option in request.options if option.key not in {*CHANGEABLE, "ckpt_path", *same}]
    changed += [f"vary.{option}" for option, given in request.vary.items() if definition.vary.get(option) != given]
    changed += [next(iter(one)) for one in _configs(request) if one and one not in definition.configs]
    if changed:
        raise UsageError(f"--{changed[0]}: a sweep goes on as it was begun: leave it out, or begin another")
    for name in filter(request.has, {*CHANGEABLE} - {"test_best"}):
        setattr(settings, name, own[name])
    _check_trusted(definition, request.named, file)
    return folder, settings, definition


def _check_trusted(definition: Definition, named: Collection[str], file: Path) -> None:
    """
    Raises:
        CheckpointError: The file names what only the user may name.
    """
    values: dict[str, list[Any]] = defaultdict(list)  # all that an option can be
    typed = [(key, yaml.safe_load(value)) for key, value in definition.options]
    varied = [(key, given) for key, given in definition.vary.items() if isinstance(given, list)]
    for key, value in [*(pair for config in definition.configs for pair in dotted(config)), *typed, *varied]:
        values[key] += value if isinstance(value, list) else [value]
    options: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, several in values.items():
        kind, _, name = key.partition(".")
        if name:
            options[kind][name] = several
    found: list[dict[str, Any]] = [{"trainer": options["trainer"]}]
    for kind in CLASS_OPTIONS:
        for one in filter(None, values[kind]):
            spec = {"init_args": {}} | (one if isinstance(one, dict) else {"class_path": one})
            found.append({kind: spec | {"init_args": options[kind] | spec["init_args"]}})
    for one in found:
        trust.check_taken(one, named, file, "type --{option} {path}")
