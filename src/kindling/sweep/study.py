"""What a sweep has tried so far, kept by Optuna in a database, and what it tries next."""

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from kindling.errors import RunError, UsageError
from kindling.sweep.space import Range, Varied, read, typed
from kindling.sweep.storage import Server, answered, shown

FORMAT = 1  # of what a sweep keeps; another number is another version's
SAMPLERS: dict[str, Any] = {
    "TPE": optuna.samplers.TPESampler,
    "Random": optuna.samplers.RandomSampler,
    "CmaEs": optuna.samplers.CmaEsSampler,
    "GP": optuna.samplers.GPSampler,
    "NSGAII": optuna.samplers.NSGAIISampler,
    "NSGAIII": optuna.samplers.NSGAIIISampler,
}
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "Median": optuna.pruners.MedianPruner,
    "Hyperband": optuna.pruners.HyperbandPruner,
    "SuccessiveHalving": optuna.pruners.SuccessiveHalvingPruner,
    "Wilcoxon": optuna.pruners.WilcoxonPruner,
    "Nop": optuna.pruners.NopPruner,
}
NEEDED = {"CmaEs": "cmaes", "GP": "scipy", "Wilcoxon": "scipy"}  # packages that Optuna leaves to the user


@dataclass(frozen=True)
class Definition:
    """What makes a sweep the one that it is; ``sweep.yaml`` and the database hold it.

    Args:
        options: Of each trial, as typed: pairs of option and value.
        configs: The contents of the ``-c`` files.
        vary: Each varied option with its range or choices, as typed.
        runs: Options that tell the runs of one trial apart, such as one for each seed; one empty entry for one run.
        sampler: A name in ``SAMPLERS``, or Grid.
        pruner: A name in ``PRUNERS``.
        objectives: Names of scores and modes, the monitored score first.
        seed: Of the sampler.
        conditions: For an option that only some classes have: the option that chooses the class, and these classes.
        floats: Options of a range of floats whose ends were typed as whole numbers.
    """

    options: list[list[str]]
    configs: list[dict[str, Any]]
    vary: dict[str, Any]
    runs: list[dict[str, str]]
    sampler: str
    pruner: str
    objectives: list[list[str]]
    seed: int
    conditions: dict[str, list[Any]] = field(default_factory=dict)
    floats: list[str] = field(default_factory=list)
    format: int = FORMAT

    def plain(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))

    def space(self) -> dict[str, Varied]:
        """What is varied, conditions before what depends on them."""
        found = {option: read(option, given) for option, given in self.vary.items()}
        for option in self.floats:
            if isinstance(varied := found[option], Range):
                found[option] = replace(varied, is_whole=False)
        return dict(sorted(found.items(), key=lambda item: item[0] in self.conditions))

    def applies(self, option: str, values: Mapping[str, Any]) -> bool:
        chooser, classes = self.conditions.get(option, ("", ()))
        return not chooser or values[chooser] in classes

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the choices and steps, conditional ones only where they have a say.

        Raises:
            UsageError: A range has no steps.
        """
        points: list[dict[str, Any]] = [{}]
        for option, varied in self.space().items():
            points = [
                point | added
                for point in points
                for added in ([{option: one} for one in varied.grid(option)] if self.applies(option, point) else [{}])
            ]
        return points


@dataclass
class Trial:
    """One combination of options.

    Args:
        values: What is varied, each by its option; a conditional option is left out where it has no say.
        state: waiting, running, complete, pruned or failed.
        scores: By the names of the objectives: of the best epoch, the mean over several runs.
        attrs: What else is known of it: ``runs``, ``spread``, ``epochs``, ``seconds``, ``reason``, ``machine``,
            ``folder``, and ``owner``, which is the ``Server.machine`` that trains it.
    """

    number: int
    values: dict[str, Any]
    state: str
    scores: dict[str, float]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return self.state in ("complete", "pruned", "failed")

    def typed(self) -> dict[str, str]:
        return {option: typed(value) for option, value in self.values.items()}


class Study:
    """
    Args:
        url: Of the database.
        name: Of the sweep in it.
        definition: Of the sweep; one that is there already has to be the same.
        server: Where the database is that of several machines.
        is_begun: Whether the sweep has to be there already.

    Raises:
        RunError: The database can't be read, or holds no sweep or another one of that name.
    """

    def __init__(
        self, url: str, name: str, definition: Definition, server: Server | None = None, is_begun: bool = False
    ) -> None:
        self.definition, self.space, self.server = definition, definition.space(), server
        self._modes = [mode for _, mode in definition.objectives]
        self._names = [name for name, _ in definition.objectives]
        with answered(url), self._turn():
            self._storage = storage = server.storage if server else optuna.storages.RDBStorage(url)
            if is_begun and name not in (study.study_name for study in storage.get_all_studies()):
                raise RunError(f"{shown(url)}: the sweep {name!r} is not there any more: begin another")
            minimize, maximize = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
            directions = [minimize if mode == "min" else maximize for mode in self._modes]
            self._study = optuna.create_study(
                storage=storage, study_name=name, directions=directions, load_if_exists=True, pruner=self._pruner()
            )
            there = self._study.user_attrs.get("definition")
            if there is None:
                self._study.set_user_attr("definition", definition.plain())
        if there is not None and there != definition.plain():
            changed = [key for key, value in definition.plain().items() if there.get(key) != value]
            version = there.get("format") != definition.format
            what = "by another version of Kindling" if version else f"with other {', '.join(changed)}"
            raise RunError(f"{shown(url)}: the sweep {name!r} in it was begun {what}: type another --name")

    def _pruner(self) -> optuna.pruners.BasePruner:
        if self.definition.pruner == "Median" and len(self.definition.runs) > 1:
            return optuna.pruners.MedianPruner(n_warmup_steps=2)  # one run of several may be bad luck
        return PRUNERS[self.definition.pruner]()

    def _turn(self) -> AbstractContextManager[None]:
        """Within it, no other machine changes whose a trial is, or how many there are."""
        return self.server.turn() if self.server else nullcontext()

    def trials(self) -> list[Trial]:
        return [self._trial(one) for one in self._study.get_trials(deepcopy=False)]

    def _trial(self, frozen: FrozenTrial) -> Trial:
        values = {}
        for option, value in frozen.params.items():
            values[option] = self.space[option].meant(value)
        state = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        scores = dict(zip(self._names, frozen.values or (), strict=False))
        name = state.get(frozen.state, "running" if frozen.state == TrialState.RUNNING else "waiting")
        attrs = dict(frozen.user_attrs)
        if len(self.definition.runs) == 1 and frozen.last_step is not None:
            attrs.setdefault("epochs", frozen.last_step)  # so far, or of one that was ended early
        return Trial(frozen.number, values, name, scores, attrs)

    def trial(self, number: int) -> Trial:
        return self._trial(self._frozen(number))

    def front(self, ranked: Sequence[Trial]) -> list[Trial]:
        """Of the trials, best first, those that no other beats: one, unless there are several objectives."""
        complete = [trial for trial in ranked if trial.state == "complete"]
        if len(self._modes) == 1:
            return complete[:1]
        return [trial for trial in complete if not any(self._beats(other, trial) for other in complete)]

    def _signed(self, trial: Trial) -> list[float]:
        """The scores, low ones being good."""
        return [
            trial.scores[name] if mode == "min" else -trial.scores[name]
            for name, mode in zip(self._names, self._modes, strict=True)
        ]

    def _beats(self, one: Trial, other: Trial) -> bool:
        """Whether it is as good in all objectives, and better in one."""
        first, second = self._signed(one), self._signed(other)
        return first != second and all(a <= b for a, b in zip(first, second, strict=True))

    def next(self, limit: int) -> Trial | None:
        """A new trial; None where there are as many as there are to be.

        What is tried depends on the seed, the number of the trial and the finished ones alone, not on whether the
        sweep was interrupted: all values are drawn before any is stored, and then stored at once.
        """
        with self._turn():
            frozen = self._study.get_trials(deepcopy=False)
            if not any(one.state == TrialState.WAITING for one in frozen):
                if len(frozen) >= limit:
                    return None
                drawn = self._draw(frozen, limit)
                self._study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=drawn))
            asked = self._study.ask()
            self._suggest(asked)
            self._own(asked.number)
        return self._trial(self._frozen(asked.number))

    def _own(self, number: int) -> None:
        if self.server:
            self.note(number, owner=self.server.machine)

    def take_up(self, under_way: Collection[int]) -> list[Trial]:
        """Trials that were interrupted, now this machine's: its own from before, and those of machines that have gone.

        They get the values that were not stored yet when they were interrupted.

        Args:
            under_way: Numbers of the trials that this machine trains.

        Returns:
            What was known of them before.
        """
        found = []
        with self._turn():
            for trial in self.trials():
                if trial.state != "running" or trial.number in under_way:
                    continue
                owner = trial.attrs.get("owner")
                if self.server and owner not in (None, self.server.machine):
                    if not self.server.has_gone(owner):
                        continue
                    self.note(trial.number, attempts=0, runs=[])  # nothing of it is on this machine
                self._suggest(self._optuna_trial(trial.number))
                self._own(trial.number)
                found.append(trial)
        return found

    def _draw(self, frozen: Sequence[FrozenTrial], limit: int) -> dict[str, Any]:
        """The system attributes of the next trial, its values among them."""
        if self.definition.sampler == "Grid":
            points = self.definition.grid()
            if limit < len(points):
                order = np.random.default_rng(self.definition.seed).permutation(len(points))
                points = [points[n] for n in order]
            tried = [one.system_attrs["fixed_params"] for one in frozen]
            return {"fixed_params": next(point for point in points if point not in tried)}
        digest = hashlib.sha256(f"{self.definition.seed} {len(frozen)}".encode()).digest()
        with _quiet():
            sampler = SAMPLERS[self.definition.sampler](seed=int.from_bytes(digest[:4], "big"))
            aside = optuna.create_study(sampler=sampler, directions=self._study.directions)
            aside.add_trials(frozen)
            asked = aside.ask()
            self._suggest(asked)
            drawn = aside.get_trials(deepcopy=False)[-1]
        return drawn.system_attrs | {"fixed_params": drawn.params}

    def _suggest(self, asked: optuna.Trial) -> None:
        values: dict[str, Any] = {}
        for option, varied in self.space.items():
            if self.definition.applies(option, values):
                values[option] = varied.suggest(asked, option)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _optuna_trial(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen(number)._trial_id)

    def report(self, number: int, step: int, score: float) -> bool:
        """Keep the score of one epoch, or of one of several runs, and return whether the trial is to end with it."""
        if len(self._modes) > 1 or not math.isfinite(score):
            return False
        trial = self._frozen(number)
        if step not in trial.intermediate_values:
            try:
                self._storage.set_trial_intermediate_value(trial._trial_id, step, score)
            except UpdateFinishedTrialError:  # by another machine
                return True
        return self.is_to_end(number)

    def is_to_end(self, number: int) -> bool:
        """Whether the pruner ends a trial, after the scores that were reported."""
        with _quiet():
            return len(self._modes) == 1 and self._study.pruner.prune(self._study, self._frozen(number))

    def note(self, number: int, **attrs: Any) -> None:
        """Keep what is known of a trial beside its scores, unless another machine has ended it."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        with suppress(UpdateFinishedTrialError):
            for name, value in attrs.items():
                self._storage.set_trial_user_attr(trial_id, name, value)

    def tell(self, number: int, scores: Mapping[str, float] | None, state: str = "complete") -> bool:
        """End a trial; return whether it is still this machine's, and none has taken it over."""
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        values = [scores[name] for name in self._names] if scores and state == "complete" else None
        with self._turn():
            trial = self.trial(number)
            if trial.is_done or (self.server and trial.attrs.get("owner") != self.server.machine):
                return False
            self._study.tell(number, values, states[state])
        return True

    def best_first(self) -> list[Trial]:
        """The trials, best first: complete ones by score, those that no other beats in all objectives before others."""
        trials = self.trials()
        complete = [trial for trial in trials if trial.state == "complete"]
        states = ("complete", "pruned", "running", "waiting", "failed")

        def rank(trial: Trial) -> tuple[Any, ...]:
            if trial.state != "complete":
                return (states.index(trial.state), False, [], trial.number)
            is_beaten = len(self._modes) > 1 and any(self._beats(other, trial) for other in complete)
            return (0, is_beaten, self._signed(trial), trial.number)

        return sorted(trials, key=rank)

    def importances(self) -> dict[str, float]:
        """Share of each option in how the score varies; empty where there are too few trials to tell."""
        sign = 1 if self._modes[0] == "min" else -1  # the evaluator asks what makes the score low
        with _quiet():
            try:
                return optuna.importance.get_param_importances(
                    self._study,
                    evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                    target=lambda trial: sign * trial.values[0],
                )
            except (RuntimeError, ValueError):
                return {}


def sampler_name(given: str) -> str:
    """
    Raises:
        UsageError: There is no such sampler.
    """
    return _known("sampler", given, [*SAMPLERS, "Grid"])


def pruner_name(given: str) -> str:
    """
    Raises:
        UsageError: There is no such pruner.
    """
    return _known("pruner", given, list(PRUNERS))


def _known(kind: str, given: str, names: list[str]) -> str:
    folded = given.lower().removesuffix(kind)
    name = next((name for name in names if name.lower() == folded), None)
    if name is None:
        raise UsageError(f"--{kind} {given}: there are {', '.join(names)}")
    if (package := NEEDED.get(name)) and find_spec(package) is None:
        raise UsageError(f"--{kind} {given} needs {package}: pip install {package}")
    return name


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's warnings: of what is experimental, and of what is meant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
