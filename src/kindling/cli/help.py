"""What ``--help`` prints. It is read off the source files, so that it is there at once, without torch."""

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from textwrap import wrap as wrap_text
from typing import Any, get_args

from kindling import registry
from kindling.cli import commands
from kindling.cli.arguments import SHORT, Request
from kindling.project import current
from kindling.registry import TRAINER, Entry

WIDTH, COLUMN = 80, 26  # of the screen, and where the descriptions begin
wrap = partial(wrap_text, width=WIDTH, break_on_hyphens=False)
PROGRAM = """\
Usage: {program} COMMAND [OPTIONS]

{commands}

Options are typed, or kept in YAML files (-c FILE); what is typed wins.

  --model NAME            the network; --model.OPTION VALUE for its options
  --data NAME             the dataset, if not the usual one; --data.OPTION VALUE
  --loss NAME             any of torch.nn that fits the data; likewise
  --optimizer NAME        any of torch.optim; --optimizer.lr 0.01 and the like
  --lr_scheduler NAME     any of torch.optim.lr_scheduler; likewise
  --trainer.OPTION VALUE  any of Lightning's Trainer: max_epochs, devices, ...
  --ckpt_path WHICH       best, last, a run (version_3) or a file; fit resumes
                          it (auto: an unfinished run, or starts a new one)
  --test_after_fit true   fit: test the best checkpoint at the end
  --seed_everything N     42 unless given; true draws one, false sets none
  --print_config          print all options as YAML and stop
{program} fit --help shows the names and short forms.
"""
TRAINING = {
    "--epochs N": "epochs to train; 10 unless given",
    "--lr RATE": "learning rate; a network says its usual one",
    "--optimizer NAME": "any of torch.optim, with --optimizer.OPTION VALUE",
    "--lr_scheduler NAME": "any of torch.optim.lr_scheduler, likewise",
    "--monitor NAME": "the score that the best epoch is best at, e.g. val/acc",
    "--checkpoint_every N": "steps from one checkpoint within an epoch to the next",
}
COMMON = {
    "--batch_size N": "samples per batch and process",
    "--seed N": "42 unless given; true draws one, false sets none",
    "-c FILE": "options in YAML; what is typed wins",
    "--trainer.accelerator X": "auto unless given; cpu, gpu, mps, ...",
    "--trainer.devices N": "how many devices; a process is started for each",
    "--print_config": "print all options as YAML, and stop",
}
WHICH = {
    "best": "of the newest run, or of the newest of --model NAME",
    "last": "likewise, its last epoch",
    "version_3": "a run: its best checkpoint, and for fit its last",
    "FILE": "a checkpoint file",
}
RESUMED = {
    "last": "of the newest unfinished run, which resumes in its folder",
    "auto": "likewise; where all have ended, a new run begins",
}
LOSSES = {
    "two or more classes": "CLASS_LOSSES",
    "two classes": "BINARY_LOSSES",
    "tags": "TAG_LOSSES",
    "numbers": "NUMBER_LOSSES",
}


def of_program(program: str) -> str:
    """All commands, on one screen."""
    listed = "\n".join(f"  {name:10} {commands.summary(name)}" for name in (*commands.COMMANDS, *commands.ON_SOURCES))
    return PROGRAM.format(program=program, commands=listed)


def answer(request: Request, program: str) -> str | None:
    """What was asked for; None where only the parser knows it: all options, or those of a class that is not listed."""
    key, name = next((key.rpartition(".")[0], value) for key, value in request.options if f".{key}".endswith(".help"))
    if not key and name:
        return None  # --help all
    if not key:
        return of_program(program) if request.command == "list" else _of_command(request.command, program)
    if key == "trainer":
        return _of_class("trainer", TRAINER, "Trainer")
    for listed, entry in current().entries(key).items():
        if name == f"{entry.module}.{listed}":
            return _of_class(key, entry, listed)
    return None


def _of_command(command: str, program: str) -> str:
    trains = command in ("fit", "lr_find")
    typed = f"{command} --model NAME" if trains else f"{command} --ckpt_path WHICH"
    lines = [f"Usage: {program} {typed} [OPTIONS]", "", *(inspect.getdoc(commands.function(command)) or "").split("\n")]
    if "Args:" in lines:
        lines = lines[: lines.index("Args:") - 1]
    lines += ["", "Networks: --model NAME (--model.help NAME shows its options)", *_listed(current().models)]
    lines += ["", "Datasets: --data NAME (--data.help NAME shows its options)", *_listed(current().data)]
    if trains:
        tables = registry.losses_by_kind()
        named = {kind: ", ".join(tables[table]) for kind, table in LOSSES.items()}
        lines += ["", "Losses of torch.nn: --loss NAME, with --loss.OPTION VALUE, for", *_rows(named)]
    own = {f"--{name} {kind}": text for name, kind, text in _own_options(command)}
    lines += ["", "Options", *_rows((TRAINING if trains else {}) | COMMON | own)]
    if command != "lr_find":
        lines += ["", "Checkpoints: --ckpt_path WHICH", *_rows(WHICH | (RESUMED if command == "fit" else {}))]
    full = [
        f"{' and '.join(f'--{s}' for s in SHORT if SHORT[s] == name)} for --{name}"
        for name in dict.fromkeys(SHORT.values())
    ]
    lines += ["", *wrap(f"Short forms, which can be typed but don't stand in files: {', '.join(full)}.")]
    lines += ["", f"{command} --trainer.help lists the Trainer's options, {command} --help all every option."]
    return "\n".join(lines) + "\n"


def _own_options(command: str) -> Iterator[tuple[str, str, str]]:
    """Name, type and description of the options that only this command has."""
    function = commands.function(command)
    for name, text in registry.described(inspect.getdoc(function) or "").items():
        kind: Any = inspect.signature(function).parameters[name].annotation
        kinds = get_args(kind) or (kind,)  # float | None
        yield name, {bool: "true", int: "N", float: "X"}.get(kinds[0]) or "NAME", text


def _of_class(option: str, entry: Entry, name: str) -> str:
    lines = [line for part in registry.description(entry, name).split("\n\n") for line in [*wrap(part), ""]]
    for argument in registry.described_options(option, entry, name):
        usual = "needed" if argument.default is None else argument.default
        lines.append(f"  --{option}.{argument.name}  {argument.type}, {usual}".replace("'", ""))
        lines += wrap(argument.text, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines).replace("``", "") + "\n"


def _listed(entries: Mapping[str, Entry]) -> list[str]:
    return _rows({name: registry.summary(entry, name) for name, entry in entries.items()})


def _rows(described: Mapping[str, str]) -> list[str]:
    indent = " " * COLUMN
    return [
        line
        for name, text in described.items()
        for line in wrap(f"{f'  {name} ':{COLUMN}}{text}", subsequent_indent=indent)
    ]
