"""The process that owns a sweep: it asks for trials, has workers train them, and keeps what they say."""

import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from uuid import uuid4

import yaml
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError
from tqdm.auto import tqdm

from kindling.console import waiting
from kindling.errors import RunError, UsageError
from kindling.runs.atomic import atomic_write
from kindling.runs.folder import Run, tensorboard, winner
from kindling.sweep import report
from kindling.sweep.space import Range
from kindling.sweep.storage import Server, reason, shown
from kindling.sweep.study import Definition, Study, Trial
from kindling.sweep.workers import GRACE, LISTEN, Message, Worker, cores

LOOK = 5.0  # seconds between two looks for trials of machines that have gone, while a worker has nothing to do
ATTEMPTS = 2  # of a trial whose process dies, or whose code fails


@dataclass
class Settings:
    """How a sweep is carried out, which does not change what it finds.

    Args:
        trials: How many there are to be in all.
        jobs: Workers on this machine.
        keep: best or all: whose checkpoints are kept.
        storage: Address of a database that several machines share; None for a file in the folder.
        name: Of the sweep, in that database.
        machine: By which the other machines know this one's part of the sweep.
    """

    trials: int
    jobs: int
    keep: str
    storage: str | None
    name: str
    machine: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class Task:
    """A trial that a worker trains: the results of its runs so far."""

    trial: Trial
    done: list[Message] = field(default_factory=list)
    is_pruned: bool = False


class Sweep:
    """
    Args:
        folder: Of the sweep.
        hello: What each worker is told first.
        code: What each worker runs.
        program: How the user calls Kindling.
    """

    def __init__(self, folder: Path, settings: Settings, hello: Message, code: str, program: str) -> None:
        self.folder, self.settings, self.program = folder, settings, program
        self._hello, self._code = hello, code
        self._inbox: Queue[tuple[Worker, Message | None]] = Queue()
        self._workers: list[Worker] = []
        self._tasks: dict[Worker, Task] = {}
        self._asked: Message | None = None
        self._to_show: list[int] = []  # trials that have ended, but are not yet in sweep.csv and on the screen
        self._deaths = 0  # of processes one after the other that have trained nothing
        self._server: Server | None = None
        self.study: Study

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Within it, the workers are there, and the other machines of the sweep know of this one."""
        if self.settings.storage:
            self._server = Server(self.settings.storage, self.settings.name, self.settings.machine)
        count = cores()
        self._hello |= {"threads": max(1, count // self.settings.jobs) if self.settings.jobs > 1 else 0}
        try:
            for number in range(self.settings.jobs):
                self._start(number)
            with self._kept():
                yield
        except BaseException:
            for worker in self._workers:
                worker.terminate()  # it saves what it trains
                worker.tell({"do": "go"})  # it may wait for the answer to an epoch, and so not see the signal
            raise
        finally:
            for worker in self._workers:
                worker.end(GRACE)
            if self._server:
                self._server.close()

    def _start(self, number: int) -> Worker:
        hello = self._hello | {"number": number}
        worker = Worker(number, self._code, hello, self.folder / f"worker_{number}.log", self._inbox)
        self._workers.append(worker)
        return worker

    def ask(self, message: Message) -> Message:
        """What the first worker answers; while no trial is under way.

        Raises:
            UsageError: It refuses.
        """
        self._asked = message
        self._workers[0].tell(message)
        while True:
            try:
                worker, answer = self._inbox.get(timeout=LISTEN)
            except Empty:
                continue
            if answer is None:
                self._replace(worker)
            elif "failed" in answer:
                raise UsageError(answer["failed"])
            elif "done" in answer:
                self._asked = None
                return answer["done"]

    def run(self, definition: Definition) -> None:
        """Train what is left of the trials.

        Raises:
            RunError: The database can't be used, or not any more.
        """
        is_begun = (self.folder / "sweep.yaml").is_file()
        self.study = Study(self.url, self.settings.name, definition, self._server, is_begun)
        self._write_settings()
        self._announce()
        for one in self.study.trials():
            if self._is_others(one):  # it has been taken over while this machine's part was interrupted
                self._remove(one.number)
        self._bar = tqdm(
            total=self.settings.trials,
            initial=sum(trial.is_done for trial in self.study.trials()),
            unit="trial",
            leave=False,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        with self._bar:
            interrupted = self._take_up()
            idle = list(self._workers)
            while True:
                while idle and (trial := self._next(interrupted)):
                    self._tasks[worker := idle.pop(0)] = Task(trial, trial.attrs.get("runs", []))
                    self._send(worker)
                self._show()
                if not self._tasks:
                    break
                try:
                    worker, answer = self._inbox.get(timeout=LOOK if idle and self._server else LISTEN)
                except Empty:
                    continue
                if answer is None:
                    self._replace(worker)
                elif "epoch" in answer:
                    self._epoch(worker, answer)
                elif "failed" in answer:
                    self._failed(worker, answer["failed"], answer["again"], answer["diverged"])
                elif "done" in answer:
                    self._run_done(worker, answer["done"])
                idle = [worker for worker in self._workers if worker not in self._tasks]

    def _announce(self) -> None:
        definition, trials = self.study.definition, self.settings.trials
        if definition.sampler == "Grid":
            self.settings.trials = trials = min(trials, len(definition.grid()))
        done = sum(trial.is_done for trial in self.study.trials())
        runs = f" of {len(definition.runs)} runs each" if len(definition.runs) > 1 else ""
        parts = [
            f"{', '.join(self.study.space)}: {trials} trials{runs}",
            f"sampler {definition.sampler}, pruner {definition.pruner}",
            " and ".join(f"{name} ({mode})" for name, mode in definition.objectives),
            f"{self.settings.jobs} {'job' if self.settings.jobs == 1 else 'jobs'}, seed {definition.seed}",
        ]
        goes_on = f"Going on after {done} trials; " if done else ""
        print(f"{goes_on}{'; '.join(parts)} -> {self.folder}", flush=True)

    def _take_up(self) -> list[Trial]:
        """Trials that were interrupted, here or on a machine that has gone, and are to be trained on."""
        running = self.study.take_up({task.trial.number for task in self._tasks.values()})
        for trial in running:
            if self._is_others(trial):
                gone = f"{trial.attrs.get('machine')} has gone"
                self._print(f"trial {trial.number}: {gone}; it is trained here from its beginning")
            self._note_place(trial.number)
        if len(self.study.definition.runs) == 1:
            for trial in running:
                if self.study.is_to_end(trial.number):  # it was killed before this was kept
                    self._told(trial, None, "pruned")
        return [trial for trial in map(self.study.trial, [t.number for t in running]) if not trial.is_done]

    def _replace(self, worker: Worker) -> None:
        """Another process for one that has died; what that was doing is done once more.

        Raises:
            RunError: Processes die before they can do anything, or a question ends each that gets it.
        """
        replacement = self._start(worker.number)
        self._workers[self._workers.index(worker)] = replacement
        self._workers.pop()
        ending = f"{worker.ending()}, see {worker.log}"
        task = self._tasks.pop(worker, None)
        if task is not None:
            self._tasks[replacement] = task
            if worker.is_ready:
                self._failed(replacement, ending, again=True, diverged=False)
            else:
                self._send(replacement)
        elif self._asked is not None and worker.number == 0:
            replacement.tell(self._asked)
        self._deaths = 0 if task is not None and worker.is_ready else self._deaths + 1
        if self._deaths > ATTEMPTS:
            raise RunError(ending)

    @property
    def url(self) -> str:
        return self.settings.storage or f"sqlite:///{self.folder.resolve() / 'study.db'}"

    def _write_settings(self) -> None:
        kept = dict(vars(self.settings))
        if kept["storage"]:
            kept["storage"] = shown(kept["storage"])
        with atomic_write(self.folder / "sweep.yaml") as file:
            file.write(f"# {self.program} sweep --ckpt_path {self.folder}  goes on with it\n")
            yaml.safe_dump(
                {**kept, "definition": self.study.definition.plain()}, file, sort_keys=False, allow_unicode=True
            )

    def _next(self, interrupted: list[Trial]) -> Trial | None:
        if not interrupted and self._server:
            interrupted += self._take_up()
        if interrupted:
            return interrupted.pop(0)
        trial = self.study.next(self.settings.trials)
        if trial is not None:
            self._note_place(trial.number)
        return trial

    def _note_place(self, number: int) -> None:
        run = _run_name(number, self.study.definition.runs, 0)
        self.study.note(number, machine=platform.node(), folder=str(self.folder.resolve()), run=run)

    def _is_others(self, trial: Trial) -> bool:
        """Whether another machine of the sweep trained it last."""
        return trial.attrs.get("owner", self.settings.machine) != self.settings.machine

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """
        Raises:
            RunError: The database has gone.
        """
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise RunError(
                f"{shown(self.url)} can't be used any more ({reason(error)}); what was trained is kept: "
                f"go on with {self.program} sweep --ckpt_path {self.folder}"
            ) from error

    def _send(self, worker: Worker) -> None:
        task = self._tasks[worker]
        runs = self.study.definition.runs
        worker.tell(
            {
                "do": "train",
                "folder": str(self.folder / _run_name(task.trial.number, runs, len(task.done))),
                "values": task.trial.typed() | runs[len(task.done)],
                "objectives": self.study.definition.objectives,
            }
        )

    def _epoch(self, worker: Worker, answer: Message) -> None:
        task = self._tasks[worker]
        task.trial.attrs["attempts"] = 0  # it gets further each time
        if len(self.study.definition.runs) == 1:
            task.is_pruned = self.study.report(task.trial.number, answer["epoch"], answer["score"])
        worker.tell({"do": "end" if task.is_pruned else "go"})

    def _run_done(self, worker: Worker, result: Message) -> None:
        task, definition = self._tasks[worker], self.study.definition
        number, runs = task.trial.number, definition.runs
        if result.get("is_pruned"):
            self._told(self._tasks.pop(worker).trial, None, "pruned")
            return
        task.done.append(result)
        names, count = [name for name, _ in definition.objectives], len(task.done)
        means, spread = report.mean_and_spread([run["scores"] for run in task.done], names)
        if len(runs) > 1:
            self.study.note(number, runs=task.done, spread=spread)
            if count < len(runs):
                task.is_pruned = self.study.report(number, count, means[names[0]])
                if not task.is_pruned:
                    self._send(worker)
                    return
        sign = 1 if definition.objectives[0][1] == "min" else -1
        best = min(range(count), key=lambda n: sign * task.done[n]["scores"][names[0]])
        self.study.note(
            number,
            epochs=max(run["epochs"] for run in task.done),
            seconds=round(sum(run["seconds"] for run in task.done), 2),
            run=_run_name(number, runs, best),
        )
        self._told(self._tasks.pop(worker).trial, means, "pruned" if task.is_pruned else "complete")

    def _failed(self, worker: Worker, reason: str, again: bool, diverged: bool) -> None:
        task = self._tasks[worker]
        attempts = task.trial.attrs["attempts"] = task.trial.attrs.get("attempts", 0) + 1
        self.study.note(task.trial.number, attempts=attempts)
        if again and attempts < ATTEMPTS:
            self._print(f"trial {task.trial.number}: {reason}: once more, from its last checkpoint")
            self._send(worker)
            return
        self.study.note(task.trial.number, reason=reason)
        # one that diverged tells the sampler to look elsewhere, as a trial does that was ended early
        self._told(self._tasks.pop(worker).trial, None, "pruned" if diverged else "failed")

    def _print(self, line: str) -> None:
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def _told(self, trial: Trial, scores: dict[str, float] | None, state: str) -> None:
        if not self.study.tell(trial.number, scores, state):
            self._print(f"trial {trial.number}: another machine has taken it over meanwhile")
            self._remove(trial.number)
            return
        self._to_show.append(trial.number)

    def _show(self) -> None:
        """Say what has come of the trials that have ended; the next ones are under way by now."""
        while self._to_show:
            self._show_one(self._to_show.pop(0))

    def _show_one(self, number: int) -> None:
        trial, ranked = self.study.trial(number), self.study.best_first()
        report.write(self.folder, self.study, ranked)
        self._remove_checkpoints(ranked)
        best, done = ranked[0], sum(one.is_done for one in ranked)
        self._bar.update(done - self._bar.n)
        if best.state == "complete":
            self._bar.set_postfix_str(f"best {report.scores(best, self.study.definition)}, trial {best.number}")
        is_best = trial.state == "complete" and trial.number == best.number
        if self._bar.disable or is_best or trial.state == "failed":
            shown = f"{done}/{self.settings.trials}  {report.line(trial, self.study.definition)}"
            self._print(shown + ("  best so far" if is_best else ""))

    def _remove(self, number: int) -> None:
        shutil.rmtree(self.folder / f"trial_{number}", ignore_errors=True)

    def _remove_checkpoints(self, ranked: list[Trial]) -> None:
        """Those of trials that are not among the best."""
        if self.settings.keep == "all":
            return
        kept, here = {trial.number for trial in self.study.front(ranked)}, str(self.folder.resolve())
        for trial in ranked:
            if trial.is_done and trial.number not in kept and trial.attrs.get("folder") == here:
                for folder in self.folder.glob(f"trial_{trial.number}/**/checkpoints"):
                    shutil.rmtree(folder)

    def conclude(self, test_best: bool) -> None:
        """Show what was found, and test the best if that was asked for.

        Raises:
            RunError: No trial has a score.
        """
        study, ranked = self.study, self.study.best_first()
        report.write(self.folder, study, ranked)
        self._remove_checkpoints(ranked)
        best = ranked[0] if ranked else None
        going_on = [trial for trial in ranked if not trial.is_done]
        if going_on:
            machines = ", ".join(sorted({trial.attrs.get("machine", "") for trial in going_on}))
            print(
                f"Other machines ({machines}) still train {len(going_on)} of {len(ranked)} trials; "
                f"afterwards {self.program} sweep --ckpt_path {self.folder} shows the best of all",
                flush=True,
            )
        if best is None or best.state != "complete":
            if going_on:
                return
            reasons = (t.attrs["reason"] for t in ranked if "reason" in t.attrs)
            reason = next(reasons, "all were ended early: see --pruner")
            raise RunError(f"no trial of {self.folder} has a score; of the first: {reason}")
        for line in report.table(study, ranked):
            print(line)
        names = ["sweep.csv", *self._draw(ranked)]
        run = None if self._is_others(best) else winner(self.folder)
        if run is not None:
            report.write_best(self.folder, run, best, self.program)
            names.insert(0, "best.yaml")
            if test_best and not going_on:
                self._test(best, run)
        own = f"{sum(not self._is_others(trial) for trial in ranked)} of {len(ranked)} trials"
        print(f"In {self.folder}: {', '.join(names)}, {own if self._server else f'trial_0 to trial_{len(ranked) - 1}'}")
        if run is None:
            where = f"{best.attrs['machine']}, in {best.attrs['folder']}/{best.attrs['run']}"
            print(f"The best, trial {best.number}, was trained on {where}; its options are in sweep.csv", flush=True)
            return
        steps = [f"fit -c {self.folder}/best.yaml --trainer.max_epochs N", f"test --ckpt_path {self.folder.name}"]
        curves = tensorboard(self.folder.parent)
        print(f"Next: {self.program} {'  |  '.join(steps)}  |  {curves}", flush=True)

    def _draw(self, ranked: list[Trial]) -> list[str]:
        """Names of the pictures, which the first worker draws."""
        study = self.study
        done = sorted((trial for trial in ranked if trial.is_done), key=lambda trial: trial.number)
        tried = [
            {
                "number": trial.number,
                "values": {option: report.short(option, value) for option, value in trial.values.items()},
                "scores": trial.scores,
                "state": trial.state,
            }
            for trial in done
        ]
        log = [option for option, varied in study.space.items() if isinstance(varied, Range) and varied.log]
        message: Message = {
            "do": "draw",
            "folder": str(self.folder),
            "trials": tried,
            "modes": study.definition.objectives,
            "log": log,
            "shares": study.importances(),
        }
        with waiting("Drawing"):
            answer = self.ask(message)
        for line in answer["said"]:
            print(line)
        return answer["files"]

    def _test(self, best: Trial, run: Run) -> None:
        options = best.typed() | self.study.definition.runs[0]
        scores = self.ask({"do": "test", "file": str(run.best), "values": options})
        print(f"Test of {run}: " + "  ".join(f"{name} {score:.6g}" for name, score in scores.items()))


def _run_name(number: int, runs: list[dict[str, str]], index: int) -> str:
    """Folder of one run of a trial, in that of the sweep."""
    if len(runs) == 1:
        return f"trial_{number}"
    words = {"seed_everything": "seed", "data.fold": "fold"}
    parts = [f"{words[key]}_{value}" for key, value in runs[index].items() if key in words]
    return f"trial_{number}/{'_'.join(parts)}"
