"""What a sweep has found: ``sweep.csv``, ``best.yaml``, and lines for the screen."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kindling.console import aligned
from kindling.runs import csv_files
from kindling.runs.atomic import atomic_write
from kindling.runs.folder import Run
from kindling.sweep.study import Definition, Study, Trial

SHOWN = 10  # trials in the table at the end
WIDEST = 20  # letters of a cell


def write(folder: Path, study: Study, trials: Sequence[Trial]) -> None:
    """``sweep.csv``: one row per trial, the best first."""
    names = [name for name, _ in study.definition.objectives]
    several = len(study.definition.runs) > 1
    columns: dict[str, list[Any]] = {"trial": [t.number for t in trials], "state": [t.state for t in trials]}
    columns |= {name: [t.scores.get(name, "") for t in trials] for name in names}
    if several:
        columns["spread"] = [t.attrs.get("spread", "") for t in trials]
    columns |= {option: [short(option, t.values.get(option, "")) for t in trials] for option in study.space}
    columns |= {
        name: [t.attrs.get(name, "") for t in trials] for name in ("epochs", "seconds", "machine", "run", "reason")
    }
    csv_files.write(folder / "sweep.csv", columns)


def write_best(folder: Path, run: Run, best: Trial, program: str) -> None:
    """``best.yaml``: the options of the best trial, for ``fit -c``."""
    options = run.config()
    options["trainer"]["default_root_dir"] = None
    for name in ("folds", "fold"):  # all samples are for training and validation again
        ((options.get("data") or {}).get("init_args") or {}).pop(name, None)
    with atomic_write(folder / "best.yaml") as file:
        scores = ", ".join(f"{name} {score:.6g}" for name, score in best.scores.items())
        file.write(f"# trial {best.number}: {scores}\n# {program} fit -c {folder / 'best.yaml'}\n")
        file.write(yaml.safe_dump(options, sort_keys=False, allow_unicode=True))


def line(trial: Trial, definition: Definition) -> str:
    """A trial in one line."""
    values = "  ".join(f"{option} {cell(short(option, value))}" for option, value in trial.values.items())
    took = f"  {trial.attrs['seconds']:.1f} s" if "seconds" in trial.attrs else ""
    what = scores(trial, definition) if trial.scores else ""
    if trial.state != "complete":
        reason = f": {trial.attrs['reason']}" if trial.attrs.get("reason") else ""
        what = f"{trial.state}{reason}" + (f" after epoch {trial.attrs['epochs']}" if "epochs" in trial.attrs else "")
    return f"trial {trial.number}  {what}  {values}{took}"


def scores(trial: Trial, definition: Definition) -> str:
    spread = f" ± {trial.attrs['spread']:.2g}" if "spread" in trial.attrs else ""
    return "  ".join(
        f"{name} {trial.scores[name]:.6g}{spread if n == 0 else ''}"
        for n, (name, _) in enumerate(definition.objectives)
    )


def table(study: Study, ranked: Sequence[Trial]) -> list[str]:
    """The best trials, with what was varied."""
    definition, trials = study.definition, [t for t in ranked if t.state == "complete"][:SHOWN]
    columns = {"trial": [str(t.number) for t in trials]}
    columns |= {name: [f"{t.scores[name]:.6g}" for t in trials] for name, _ in definition.objectives}
    if len(definition.runs) > 1:
        columns["spread"] = [f"{t.attrs['spread']:.2g}" for t in trials]
    columns |= {o: [cell(short(o, t.values[o])) if o in t.values else "-" for t in trials] for o in study.space}
    columns["epochs"] = [str(t.attrs.get("epochs", "")) for t in trials]
    columns["seconds"] = [f"{t.attrs.get('seconds', 0):.1f}" for t in trials]
    return aligned([list(columns), *map(list, zip(*columns.values(), strict=True))])


def short(option: str, value: Any) -> Any:
    """A class by its name alone."""
    is_class = "." not in option and isinstance(value, str) and "." in value
    return value.rpartition(".")[2] if is_class else value


def cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def mean_and_spread(runs: Sequence[Mapping[str, float]], names: Sequence[str]) -> tuple[dict[str, float], float]:
    """Means over several runs, and the standard deviation of the first score."""
    means = {name: statistics.fmean(run[name] for run in runs) for name in names}
    first = [run[names[0]] for run in runs]
    return means, statistics.stdev(first) if len(first) > 1 else 0.0
