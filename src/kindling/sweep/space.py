"""What a sweep varies: options, each with a range or with choices, as they are typed."""

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kindling.errors import UsageError

if TYPE_CHECKING:
    from optuna import Trial

NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
RANGE = re.compile(rf"\s*{NUMBER}\s*\.\.\s*{NUMBER}(?:\s+(log)|\s+step\s+{NUMBER})?\s*")
FORMS = "write a range, 1e-4..1 log, 8..128 or 0..1 step 0.1, or choices, [16, 32, 64]"
# options by which trials could not be compared any more, and what the sweep sets itself
NOT_VARIED = {
    "seed_everything": "the best of several seeds is luck: for a mean over seeds there is --seeds 5",
    "data.seed": "trials that are validated on other samples can't be compared",
    "data.split": "trials that are validated on other samples can't be compared",
    "data.folds": "trials that are validated on other samples can't be compared",
    "data.fold": "for a mean over all folds there is --data.folds 5",
    "monitor": "all trials have to be compared by one score",
    "mode": "all trials have to be compared by one score",
    "ckpt_path": "a trial begins with new weights",
    "name": "it names the whole sweep",
    "trainer.default_root_dir": "trials lie in the folder of the sweep",
    "trainer.logger": "it is one for the whole sweep",
    "trainer.fast_dev_run": "a trial needs scores",
    "checkpoint_every": "it changes no score",
}


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole ones where ``is_whole``."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_whole: bool = False

    def ends(self) -> list[Any]:
        return [int(end) if self.is_whole else end for end in (self.low, self.high)]

    def grid(self, option: str) -> list[Any]:
        """
        Raises:
            UsageError: It has no steps.
        """
        if self.step is None and not (self.is_whole and not self.log):
            raise UsageError(f"--sampler Grid: --vary.{option} needs a step, or choices: 0..1 step 0.1, [0.1, 1]")
        step = self.step or 1
        points = [self.low + n * step for n in range(round((self.high - self.low) / step) + 1)]
        return [int(point) if self.is_whole else point for point in points]

    def suggest(self, trial: "Trial", option: str) -> Any:
        if self.is_whole:
            return trial.suggest_int(option, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return trial.suggest_float(option, self.low, self.high, log=self.log, step=self.step)

    def meant(self, stored: Any) -> Any:
        return stored


@dataclass(frozen=True)
class Choice:
    """Some values: numbers, texts, or lists and classes with their options, as YAML has them."""

    values: tuple[Any, ...]

    def ends(self) -> list[Any]:
        return list(self.values)

    def grid(self, option: str) -> list[Any]:
        return [_storable(value) for value in self.values]

    def suggest(self, trial: "Trial", option: str) -> Any:
        return trial.suggest_categorical(option, self.grid(option))

    def meant(self, stored: Any) -> Any:
        return next(value for value in self.values if _storable(value) == stored)


Varied = Range | Choice


def read(option: str, given: Any) -> Varied:
    """
    Args:
        option: Dotted, as it is typed.
        given: A range as a text, or a list of choices.

    Raises:
        UsageError: It is neither, or leaves nothing to vary.
    """
    shown = f"--vary.{option} {given}"
    if why := NOT_VARIED.get(option):
        raise UsageError(f"--vary.{option}: {why}")
    if isinstance(given, list):
        values = tuple(_number(value) for value in given)
        stored = [json.dumps(value, sort_keys=True) for value in values]
        if len(values) < 2:
            raise UsageError(f"{shown}: one choice is nothing to vary: type  --{option} VALUE")
        if twice := next((one for one in stored if stored.count(one) > 1), ""):
            raise UsageError(f"{shown}: {twice} stands there twice")
        return Choice(values)
    found = RANGE.fullmatch(str(given))
    if not found:
        raise UsageError(f"{shown}: {FORMS}")
    low, high = float(found[1]), float(found[2])
    log, step = found[3] is not None, float(found[4]) if found[4] else None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{shown}: the ends of a range are finite numbers")
    if low >= high:
        raise UsageError(f"{shown}: the range is empty: the first number has to be below the second")
    if log and low <= 0:
        raise UsageError(f"{shown}: a logarithmic range begins above 0, e.g. {high / 1e4:g}..{high:g} log")
    if step is not None and not 0 < step <= high - low:
        raise UsageError(f"{shown}: the step has to be above 0, and within the range")
    if step is not None:  # as Optuna wants it: the last step is the end
        high = low + math.floor((high - low) / step + 1e-9) * step
    is_whole = all(re.fullmatch(r"[-+]?\d+", text) for text in (found[1], found[2], found[4] or "1"))
    return Range(low, high, log, step, is_whole)


def typed(value: Any) -> str:
    """A value as it is typed after an option."""
    return value if isinstance(value, str) else json.dumps(value)


def _storable(value: Any) -> Any:
    """As Optuna can keep a choice."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def _number(value: Any) -> Any:
    """A text such as 1e-4, which YAML takes for one, as the number that was meant."""
    return float(value) if isinstance(value, str) and re.fullmatch(NUMBER, value) else value
