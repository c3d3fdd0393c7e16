"""The process of a sweep that trains: one run after the other, as it is told by lines of JSON (``sweep.workers``)."""

import inspect
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from kindling import project
from kindling.cli import process
from kindling.cli.arguments import CLASS_OPTIONS, Option, Request
from kindling.errors import Diverged, KindlingError, UsageError
from kindling.runs import find
from kindling.runs.folder import Run
from kindling.startup import quick_imports
from kindling.sweep.workers import Message

MEASURED = {"ms_per_sample": "min", "parameters": "min"}  # objectives that are no logged scores


def main() -> None:
    """The program."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what is printed goes to the log
    messages = os.fdopen(os.dup(0), encoding="utf-8")
    # Windows lets nobody look at a pipe that a thread reads from, and libraries look at standard input as they load
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    told: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_listen, args=(messages, told), daemon=True).start()

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    hello = told.get()
    sys.path[:] = hello["path"]
    project.use(**hello["project"])
    code = process.exit_code(lambda: _serve(hello, told.get, answer))
    sys.stdout.flush()
    os._exit(code)


def _listen(messages: TextIO, told: "SimpleQueue[Message]") -> None:
    """Read what there is to do. The end of it is that of the process which says so, and so of this one."""
    for line in messages:
        told.put(json.loads(line))
    for end in process.ENDED_TOO:
        end()
    os._exit(1)


def _serve(hello: Message, told: Callable[[], Message], answer: Callable[..., None]) -> int:
    with quick_imports():
        import torch

        if hello["threads"]:
            torch.set_num_threads(hello["threads"])
        _choose_gpu(hello["number"], hello["devices"])
        from kindling.cli.run import run  # noqa: F401
    base = Base(hello)
    answer(ready=True)
    while True:
        message = told()
        commands: dict[str, Callable[[Message], Message]] = {
            "check": base.check,
            "train": partial(base.train, told, answer),
            "test": base.test,
            "draw": draw,
        }
        command = commands[message["do"]]
        try:
            answer(done=command(message))
        except KindlingError as error:
            answer(failed=" ".join(str(error).split()), again=False, diverged=isinstance(error, Diverged))
        except Exception as error:
            from traceback import print_exc

            print_exc()
            answer(failed=f"{type(error).__name__}: {' '.join(str(error).split())}", again=True, diverged=False)


def _choose_gpu(number: int, devices: int) -> None:
    """Give this process its own GPUs, if there are any, before CUDA looks for them."""
    import torch

    count = torch.cuda.device_count()
    if count > devices:
        there = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = there.split(",") if there else [str(gpu) for gpu in range(count)]
        own = [names[(number * devices + n) % count] for n in range(devices)]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(own)


class Pruned(Exception):  # noqa: N818
    """The trial was ended early."""


class Base:
    """What all trials of the sweep have in common, and what can be done with one."""

    def __init__(self, hello: Message) -> None:
        self.options = [Option(key, value) for key, value in hello["options"]]
        self.configs = tuple(hello["configs"])
        self.program, self.argv, self.config_files = hello["program"], hello["argv"], hello["config_files"]

    def _request(self, values: dict[str, str], command: str = "fit") -> Request:
        options = [*self.options, *(Option(key, value) for key, value in values.items())]
        return Request(command, tuple(options), self.configs)

    def _run(
        self,
        values: dict[str, str],
        then: Callable[[Any], object],
        checkpoint: find.Checkpoint | None = None,
        command: str = "fit",
    ) -> None:
        from kindling.cli.run import run

        request, before = self._request(values, command), dict(os.environ)
        # for the other processes of a training on several devices, which Lightning starts by this command line
        sys.argv = [self.argv[0], command, *(token for option in request.options for token in option.tokens())]
        sys.argv += [f"-c={file}" for file in self.config_files]
        sys.argv += [f"--ckpt_path={checkpoint.file}"] if checkpoint else []
        try:
            run(request, checkpoint, self.program, then)
        finally:
            os.environ.clear()  # of what tells Lightning that these processes have been started
            os.environ.update(before)

    def check(self, message: Message) -> Message:
        """Whether every option that is varied exists and takes the ends of its range, and all of its choices.

        Returns:
            ``conditions``, ``floats`` and ``objectives``, as a sweep's ``Definition`` has them.

        Raises:
            KindlingError: They don't.
        """
        vary: dict[str, list[str]] = message["vary"]
        conditions = self._conditions(vary)
        floats = []
        for option, values in vary.items():
            chosen = message["runs"][0] | self._first(vary, conditions, option)
            for value in values:
                self._parse(f"{option} {message['shown'][option]}", chosen | {option: value})
            if option in message["whole"] and self._is_float(option, values[0], chosen):
                floats.append(option)
        found: Message = {}
        for end in (0, -1):
            chosen = message["runs"][0] | {option: ends[end] for option, ends in vary.items()}
            for option, (kind, classes) in conditions.items():
                if chosen[kind] not in classes:
                    del chosen[option]
            self._run(chosen, lambda job: found.update(self._objectives(job, message["objectives"])))
        return {"conditions": conditions, "floats": floats, **found}

    def _conditions(self, vary: dict[str, list[str]]) -> dict[str, tuple[str, list[str]]]:
        from kindling.registry import import_class, nearest

        found = {}
        for option in vary:
            kind, _, name = option.partition(".")
            if not name or kind not in vary or kind not in CLASS_OPTIONS:
                continue
            known = {path: inspect.signature(import_class(path, f"--{kind}")).parameters for path in vary[kind]}
            takes = [path for path, parameters in known.items() if name.partition(".")[0] in parameters]
            if not takes:
                names = [one for parameters in known.values() for one in parameters]
                of = ", ".join(path.rpartition(".")[2] for path in vary[kind])
                raise UsageError(
                    f"no option --vary.{option}: none of {of} has it{nearest(name, names, f'--vary.{kind}.')}"
                )
            if len(takes) < len(vary[kind]):
                found[option] = (kind, takes)
        return found

    def _first(self, vary: Any, conditions: Any, option: str) -> dict[str, str]:
        """Values for the classes that are varied, such that the option has a say."""
        chosen = {kind: vary[kind][0] for kind in CLASS_OPTIONS if kind in vary and kind != option}
        return chosen | ({conditions[option][0]: conditions[option][1][0]} if option in conditions else {})

    def _parse(self, shown: str, values: dict[str, str]) -> None:
        import argparse

        from kindling.cli.parser_errors import explain
        from kindling.cli.run import parsed

        try:
            parsed(self._request(values))
        except argparse.ArgumentError as error:
            raise UsageError(f"--vary.{shown}: {explain(str(error))}") from error
        except UsageError as error:
            raise UsageError(f"--vary.{shown}: {error}") from error

    def _is_float(self, option: str, low: str, chosen: dict[str, str]) -> bool:
        """Whether the option takes fractions, and not just anything."""

        def takes(value: str) -> bool:
            try:
                self._parse(option, chosen | {option: value})
            except KindlingError:
                return False
            return True

        return takes(str(float(low) + 0.5)) and not takes("no number")

    def _objectives(self, job: Any, wanted: Sequence[str]) -> Message:
        from kindling.training.parts import find_monitor

        modes = []
        for name in wanted or [job.monitor.score]:
            mode = MEASURED.get(name)
            if mode is None:
                is_monitor = name == job.monitor.score
                mode = job.monitor.mode if is_monitor else find_monitor(job.model, name, None).mode
            modes.append([name, mode])
        return {"objectives": modes}

    def train(self, told: Callable[[], Message], answer: Callable[..., None], message: Message) -> Message:
        """Train one run, from its checkpoint if it was interrupted."""
        from kindling.runs import checkpoints

        run = Run(Path(message["folder"]))
        checkpoint = find.resume_point(run) if run.last.is_file() else None
        if checkpoint is not None and not run.previous.is_file():
            content = checkpoints.read(run.last)
            if {name for name, _ in message["objectives"]} <= (content["best"] or {}).keys():
                # it had ended before its result was kept
                return self._result(content["best"], content, time.time(), message)
            checkpoint = None
        if checkpoint is None:
            shutil.rmtree(run.folder, ignore_errors=True)
        result: Message = {}
        begun = time.time()

        def train(job: Any) -> None:
            from kindling.callbacks.resume.checkpoints import BestAndLast
            from kindling.training.fit import fit

            objective = message["objectives"][0][0]
            own = job.trainer_options.get("callbacks") or []
            own = own if isinstance(own, list) else [own]
            job.trainer_options["callbacks"] = [*own, _reporter(objective, told, answer)]
            try:
                fit(job, folder=run.folder, is_drawn=False)
            except Pruned:
                result["is_pruned"] = True
                return
            keeper = BestAndLast.of(job.trainer)
            if keeper is None or keeper.best is None:
                raise UsageError(f"--monitor {objective}: it was never logged, or never finite")
            more = {}
            for name, _ in message["objectives"]:
                if name in MEASURED:
                    more[name] = _measure(name, job)
            result.update(self._result(keeper.best | more, {"epoch": job.trainer.current_epoch}, begun, message))

        self._run(message["values"], train, checkpoint)
        return result

    def _result(self, best: dict[str, float], content: Message, begun: float, message: Message) -> Message:
        scores = {name: best[name] for name, _ in message["objectives"]}
        return {"scores": scores, "epochs": content["epoch"], "seconds": round(time.time() - begun, 2)}

    def test(self, message: Message) -> Message:
        """The scores of a run's best network on the test set."""
        from kindling.training.evaluate import evaluate

        scores: Message = {}
        checkpoint = find.at(Path(message["file"]))
        self._run(message["values"], lambda job: scores.update(evaluate(job)), checkpoint, "test")
        return scores


def draw(message: Message) -> Message:
    """The pictures of the sweep, as files and for TensorBoard; the answer also has what was said of them."""
    from torch.utils.tensorboard import SummaryWriter

    from kindling.callbacks.report.publish import board_tag, save
    from kindling.pictures import style, sweep

    folder = Path(message["folder"])
    trials = [sweep.Tried(**trial) for trial in message["trials"]]
    pictures = sweep.pictures(trials, dict(message["modes"]), message["log"], message["shares"], str(folder))
    for old in folder.glob("events.out.*"):
        old.unlink()
    with SummaryWriter(str(folder)) as board, redirect_stdout(StringIO()) as said:
        for name, picture in pictures.items():
            pixels = style.paint(picture)
            save(folder / f"{name}.png", pixels)
            board.add_image(board_tag(f"sweep/{name}"), pixels, 0, dataformats="HWC")
    return {"files": [f"{name}.png" for name in pictures], "said": said.getvalue().splitlines()}


def _reporter(monitor: str, told: Callable[[], Message], answer: Callable[..., None]) -> Any:
    from lightning.pytorch import LightningModule, Trainer

    from kindling.callbacks.after_epoch import EpochListener, Row

    class Reporter(EpochListener):
        """Tells the score of each epoch but the last, and ends the training where it is told to."""

        is_over = False

        def after_epoch(self, trainer: Trainer, pl_module: LightningModule, row: Row) -> None:
            if trainer.world_size > 1 or monitor not in row:
                return
            if int(row["epoch"]) != trainer.max_epochs:
                answer(epoch=int(row["epoch"]), score=row[monitor])
                self.is_over = told()["do"] == "end"

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if self.is_over:  # the epoch before has just been kept
                raise Pruned

    return Reporter()


def _measure(name: str, job: Any) -> float:
    """An objective of the trained network that is no score of its predictions."""
    import torch

    model = job.model
    if name == "parameters":
        return float(sum(p.numel() for p in model.parameters()))
    x = next(iter(job.data.val_dataloader()))[0]
    device = job.trainer.strategy.root_device
    model = model.to(device).eval()
    x = job.data.normalize(x.to(device))

    def seconds() -> float:
        begun = time.perf_counter()
        model(x)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        return time.perf_counter() - begun

    with torch.inference_mode():
        times = [seconds() for _ in range(25)][5:]
    return round(1000 * statistics.median(times) / len(x), 6)
