"""``fit --data.folds 5``: a cross-validation, one run for each fold, one after the other in one folder."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from kindling.cli import options
from kindling.cli.arguments import Option, Request
from kindling.cli.commands.fit import resumable, say_next
from kindling.console import say
from kindling.errors import RunError, UsageError
from kindling.runs import find, trust
from kindling.runs.find import Checkpoint
from kindling.runs.folder import LOGS, USUAL_NAME, Run, claim, locked
from kindling.runs.trust import Options
from kindling.training import evaluate, folds
from kindling.training.fit import check_name, write_config
from kindling.training.fit import fit as train
from kindling.training.job import Job, say_choice

Prepare = Callable[[Request, Checkpoint | None], AbstractContextManager[tuple[Job, dict[str, Any]]]]
NEEDED = {"fast_dev_run": False, "enable_checkpointing": True, "limit_val_batches": True}  # options of the Trainer


def fit(request: Request, checkpoint: Checkpoint | None, prepare: Prepare) -> None:
    """Train the folds that have not ended, one after the other, then compare all and predict with each.

    Args:
        checkpoint: The folder of folds to resume; None for a new one.
        prepare: Makes a job of the options of one run.
    """
    limits = {name: request.value(f"trainer.{name}") for name in find.LIMITS}
    together, number, anew, is_over = None, 0, request, False
    with ExitStack() as stack:
        gc.freeze()  # what there is already need not be searched for garbage after each fold
        stack.callback(gc.unfreeze)
        if checkpoint is not None:
            together = checkpoint.run
            config, number = _options_of(together, request)
            anew = replace(request, configs=(options.to_restore(config, request, checkpoint), *request.configs))
            is_over = find.has_ended(together, limits)
            stack.enter_context(locked(together.folder))
            say_choice(checkpoint)
        for fold in count():
            if together:
                if fold == number:
                    break
                run = _run(together, fold)
                if run.to_resume_from and not is_over and find.has_ended(run, limits):
                    say(f"Fold {fold}, of 0 to {number - 1}, has ended: {run}")
                    continue
            start = find.resume_point(run) if together and run.to_resume_from else None
            with prepare(_with(request if start else anew, "data.fold", fold), start) as (job, own):
                _check(job)
                if together is None:
                    number = job.options["data"]["init_args"]["folds"]
                    logs = Path(job.options["trainer"]["default_root_dir"] or "") / LOGS
                    together = stack.enter_context(_claimed(logs, own["name"] or USUAL_NAME))
                    stack.enter_context(locked(together.folder))
                    run = _run(together, fold)
                check_name(together, own["name"])
                if str(request.value("seed_everything")).lower() == "true":  # drawn once for all
                    drawn = job.options["seed_everything"]
                    request, anew = (_with(one, "seed_everything", drawn) for one in (request, anew))
                together.unfinished.touch()
                write_config(together, _of_all(job.options), job.program)
                if start is None and run.folder.is_dir():
                    rmtree(run.folder)  # of a training that was killed before it began
                say(f"Fold {fold}, of 0 to {number - 1}")
                with resumable(job, together):
                    train(job, own["test_after_fit"], own["histograms"], folder=run.folder)
            folds.best_row(run)  # without which there will be nothing to compare
            del job
            gc.collect()  # data and network, which know each other, before the next are made
        assert together
        _finish(together, number, prepare)


def _finish(together: Run, number: int, prepare: Prepare) -> None:
    """Compare the runs, and write what each says of the rows that it was validated with."""
    runs, predictions, config = [_run(together, fold) for fold in range(number)], [], together.config()
    for fold, run in enumerate(runs):
        one = _with(
            Request("predict", (Option("trainer.limit_predict_batches", "null"),), (config,)), "data.fold", fold
        )
        with prepare(one, find.at(run.best)) as (job, _), resumable(job, together):
            if fold == 0:
                folds.compare(together, runs, job.model, job.monitor)
            predictions.append(evaluate.predict_fold(job))
        if fold < number - 1:
            del job
            gc.collect()
    folds.join(predictions).write(together.folder)
    together.unfinished.unlink()
    say_next(job, together.members[0])


def _options_of(together: Run, request: Request) -> tuple[Options, int]:
    """The options of all folds, and how many there are.

    Raises:
        UsageError: One fold is named.
        RunError: Their number is not in ``config.yaml``, or it is of another network than the one asked for.
    """
    if request.has("data.fold"):
        fold = request.value("data.fold")
        raise UsageError(
            f"--data.fold {fold}: {together} has all folds: leave it out, or resume {together.name}/fold_{fold}"
        )
    config = options.of_run(trust.check_form(together.config(), together.config_file), request)
    number = ((config.get("data") or {}).get("init_args") or {}).get("folds")
    if type(number) is not int:
        raise RunError(f"{together.config_file} does not say how many folds there are: mend it, or train anew")
    return config, number


def _run(together: Run, fold: int) -> Run:
    return Run(together.folder / f"fold_{fold}")


def _of_all(options: Options) -> Options:
    data = options["data"]
    return options | {"data": data | {"init_args": data["init_args"] | {"fold": None}}}


def _with(request: Request, key: str, value: object) -> Request:
    return replace(request, options=(*request.options, Option(key, str(value))))


@contextmanager
def _claimed(logs: Path, name: str) -> Iterator[Run]:
    """A new folder for all folds, which is removed where the training of the first never began."""
    together = claim(logs, name)
    try:
        yield together
    except BaseException:
        if not together.members:
            rmtree(together.folder)
        raise


def _check(job: Job) -> None:
    """
    Raises:
        UsageError: The folds would leave no scores to compare, or would be trained by several processes.
    """
    typed = f"--data.folds {job.options['data']['init_args']['folds']}"
    for name, is_on in NEEDED.items():
        given = job.options["trainer"][name]
        if given is not None and bool(given) != is_on:
            what = f"{typed}: --trainer.{name} {str(given).lower()} leaves no scores to compare the folds by"
            raise UsageError(f"{what}: drop one of the two, or name a fold with --data.fold")
    machine: dict[str, Any] = {name: job.trainer_options.get(name, "auto") for name in ("accelerator", "devices")}
    machine |= {"num_nodes": job.trainer_options.get("num_nodes", 1)}
    for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"):
        machine[name] = False
    with suppress(MisconfigurationException, RuntimeError, TypeError, ValueError):  # of which the training will tell
        processes = Trainer(**machine).world_size
        if processes > 1:
            remedy = "add --trainer.devices 1, or train each fold with --data.fold"
            raise UsageError(f"{typed} without --data.fold under {processes} processes: {remedy}")
