"""Pictures of a hyperparameter sweep: history, importance, slices, parallel coordinates, and the Pareto front."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, combinations
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kindling.console import width_of
from kindling.pictures.style import BLACK, BLUE, SKY, VERMILION, Array, Draw, clip, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

SLICES_PER_ROW, AXES_PER_ROW, PAIRS_PER_ROW = 4, 7, 2
GOLDEN = (math.sqrt(5) - 1) / 2  # whose multiples' fractions lie evenly between 0 and 1
MOST_CHOICES = 8  # so many distinct numbers may be a choice, such as [16, 32, 64]
MOST_TICKS = 12  # on an axis of names
NO_SAY = -0.15  # how far up its axis a trial lies in which the option had no say


class Tried(NamedTuple):
    """One trial of a sweep.

    Args:
        number: From 0.
        values: What was varied, by option; without those that had no say in this trial, as momentum has none in Adam.
        scores: By the objective's name; empty if the trial failed.
        state: ``complete``, ``pruned`` or ``failed``.
    """

    number: int
    values: dict[str, Any]
    scores: dict[str, float]
    state: str


class Scale(NamedTuple):
    """An axis of an option or of a score.

    Args:
        kind: ``linear``, ``log`` or ``names``.
        low: The lowest place shown.
        high: The highest place shown.
        ticks: Place and name of each.
        place: Where a value lies.
        note: What lies beyond the axis.
    """

    kind: str
    low: float
    high: float
    ticks: list[tuple[float, str]]
    place: Callable[[Any], float] = float
    note: str = ""

    def share(self, place: float) -> float:
        """How far up the axis a place is, from 0 to 1; one beyond it is at its end."""
        low, high, place = self.low, self.high, min(max(place, self.low), self.high)
        if low == high:
            return 0.5
        return math.log(place / low) / math.log(high / low) if self.kind == "log" else (place - low) / (high - low)


def pictures(
    trials: Sequence[Tried], modes: Mapping[str, str], log: Collection[str], shares: Mapping[str, float], title: str
) -> dict[str, Draw]:
    """All pictures of a sweep, by the names of their files, ready for ``style.paint``.

    Args:
        trials: In any order.
        modes: ``min`` or ``max`` for each objective. All pictures but the Pareto front are of the first one.
        log: Options that were varied on a log scale.
        shares: The importance of each option for the first objective, 1 in all; empty where it can't be said.
        title: Names the sweep; what a picture shows follows after a colon.
    """
    objective, mode = next(iter(modes.items()))
    drawn: dict[str, Draw] = {
        "history": partial(history, trials, objective, mode, title),
        "importance": partial(importance, shares, objective, title),
        "slices": partial(slices, trials, objective, mode, log, title),
        "parallel_coordinates": partial(parallel_coordinates, trials, objective, mode, log, title),
    }
    if len(modes) > 1:
        drawn["front"] = partial(front, trials, modes, title)
    return drawn


def history(trials: Sequence[Tried], objective: str, mode: str, title: str) -> "Figure":
    """Draw each trial's score over its number, and the best so far."""
    from matplotlib.ticker import MaxNLocator

    scored = _scored(trials, objective)
    if not scored:
        return _sentence(title, _no_score(trials, objective))
    scale = _score_scale(scored, objective, mode)
    figure = new_figure(6.4, 3.8, _heading(title, scored, objective, mode))
    axes = figure.subplots()
    numbers = [trial.number for trial in trials]
    _mark(axes, trials, numbers, np.tile(BLUE, len(trials)), scale, objective, mode)
    complete = sorted((trial.number, trial.scores[objective]) for trial in scored if trial.state == "complete")
    if complete:
        x, scores = zip(*complete, strict=True)
        best = [*accumulate(scores, min if mode == "min" else max)]
        line = [*x, max(numbers)], [*best, best[-1]]  # to the last trial
        axes.step(*line, where="post", color=VERMILION, zorder=1, label="best so far")
    margin = max(0.5, 0.03 * max(numbers))
    axes.set(xlabel="trial", ylabel=_tail(objective, 36), xlim=(min(numbers) - margin, max(numbers) + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)
    _legend(figure)
    return figure


def importance(shares: Mapping[str, float], objective: str, title: str) -> "Figure":
    """Draw how much of the score's variation each option accounts for."""
    ordered = sorted(((share, option) for option, share in shares.items() if share > 0), key=lambda pair: -pair[0])
    if not ordered:
        return _sentence(title, "The importance of options can't be said: too few trials, or equal scores.")
    values = [share for share, _ in ordered]
    heading = f"{title}: importance of each option for {_tail(objective, 36)}"
    figure = new_figure(6.4, 0.28 * len(ordered) + 1, heading)
    axes = figure.subplots()
    bars = axes.barh(range(len(ordered)), values, color=BLUE, height=0.7)
    axes.bar_label(bars, [f"{share:.0%}" if share >= 0.01 else "<1%" for share in values], padding=3)
    axes.set_yticks(range(len(ordered)), [_tail(option, 36) for _, option in ordered])
    top_down = (len(values) - 0.4, -0.6)  # the most important one on top
    axes.set(xlabel="share of the variation", xlim=(0, 1.12 * values[0]), ylim=top_down)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    return figure


def slices(trials: Sequence[Tried], objective: str, mode: str, log: Collection[str], title: str) -> "Figure":
    """Draw the score over the values of each option, a panel per option, darker for later trials."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    scored = _scored(trials, objective)
    if not scored:
        return _sentence(title, _no_score(trials, objective))
    scale = _score_scale(scored, objective, mode)
    scales = _option_scales(trials, log)
    down = math.ceil(len(scales) / SLICES_PER_ROW)
    across = math.ceil(len(scales) / down)
    figure = new_figure(max(4.4, 2.1 * across + 1), 2.3 * down + 0.8, _heading(title, scored, objective, mode))
    grid: Any = figure.subplots(down, across, sharey=True, squeeze=False)
    numbers = [trial.number for trial in trials]
    shades = ScalarMappable(Normalize(min(numbers), max(numbers)), _shades())
    for (option, along), axes in zip(scales.items(), grid.flat, strict=False):
        shown = [trial for trial in trials if option in trial.values]
        x = [along.place(trial.values[option]) for trial in shown]
        if along.kind == "names":  # side by side, in the same way in every picture of the sweep
            x = [place + 0.5 * ((trial.number * GOLDEN + 0.5) % 1 - 0.5) for place, trial in zip(x, shown, strict=True)]
        _mark(axes, shown, x, shades.to_rgba(np.array([trial.number for trial in shown])), scale, objective, mode)
        _dress(axes, "x", along)
        axes.set_xlabel(_tail(option, 28))
        axes.grid(True)
    for axes in grid[:, 0]:
        axes.set_ylabel(_tail(objective, 24))
    for axes in grid.flat[len(scales) :]:  # those left over in the last row
        axes.remove()
    if len(trials) > 1:
        whole = MaxNLocator(5, integer=True)
        figure.colorbar(shades, ax=figure.axes, label="trial", ticks=whole, shrink=min(1, 2 / down))
    _legend(figure)
    return figure


def parallel_coordinates(
    trials: Sequence[Tried], objective: str, mode: str, log: Collection[str], title: str
) -> "Figure":
    """Draw a line per trial through its values to its score: darker for better ones, dotted if pruned, the best in red.

    Many options take several rows, each of which ends with the score.
    """
    from matplotlib.collections import LineCollection

    scored = _scored(trials, objective)
    if not scored:
        return _sentence(title, _no_score(trials, objective))
    score = _score_scale(scored, objective, mode)
    scored = sorted(scored, key=lambda trial: trial.scores[objective], reverse=mode == "min")  # better ones above
    ends = [score.share(trial.scores[objective]) for trial in scored]
    goodness = [1 - end if mode == "min" else end for end in ends]
    colors = _shades()((np.searchsorted(goodness, goodness, "right") / len(goodness)) ** 2)  # a quarter is dark
    dashes = ["solid" if trial.state == "complete" else "dotted" for trial in scored]
    scales = _option_scales(scored, log)
    down = math.ceil(len(scales) / AXES_PER_ROW)
    across = math.ceil(len(scales) / down)
    best = _best(scored, objective, mode)
    figure = new_figure(1.1 * across + 1.4, 2.9 * down + 0.6, _heading(title, scored, objective, mode))
    for row, axes in enumerate(figure.subplots(down, 1, squeeze=False).flat):
        columns = [*scales.items()][row * across : (row + 1) * across]
        paths = [
            [scale.share(scale.place(t.values[option])) if option in t.values else NO_SAY for option, scale in columns]
            + [end]
            for t, end in zip(scored, ends, strict=True)
        ]
        look: Any = {"colors": colors, "linestyles": dashes, "linewidths": 1.4 if len(scored) <= 60 else 0.7}
        axes.add_collection(LineCollection([[*enumerate(path)] for path in paths], **look))
        if best:
            axes.plot(paths[scored.index(best)], color=VERMILION, linewidth=2.6, label=f"trial {best.number}, the best")
        for x, (option, scale) in enumerate(columns):
            _upright(axes, x, option, scale, lacking=any(option not in trial.values for trial in scored))
        _upright(axes, len(columns), objective, score)
        axes.plot([], [], linestyle="", label=score.note)
        if "dotted" in dashes:
            axes.plot([], [], color=BLUE, linestyle="dotted", label="pruned")
        axes.set(xlim=(-0.4, across + 0.7), ylim=(NO_SAY - 0.05, 1.22))
        axes.set_axis_off()
    _legend(figure)
    return figure


def front(trials: Sequence[Tried], modes: Mapping[str, str], title: str) -> "Figure":
    """Draw each pair of objectives, and the Pareto front of all of them: its trials bear their numbers."""
    names = [*modes]
    shown = [trial for trial in _scored(trials, *names) if trial.state == "complete"]
    if not shown:
        return _sentence(title, _no_score(trials, *names))
    points = np.array([[trial.scores[name] for name in names] for trial in shown])
    best = _pareto(points * [1 if mode == "min" else -1 for mode in modes.values()])
    keep = [trial for trial, is_best in zip(shown, best, strict=True) if is_best]
    scales = {name: _score_scale(shown, name, mode, keep) for name, mode in modes.items()}
    pairs = [*combinations(names, 2)]
    down = math.ceil(len(pairs) / PAIRS_PER_ROW)
    across = math.ceil(len(pairs) / down)
    size = (6.4, 4.6) if len(pairs) == 1 else (3.4 * across, 3.1 * down + 0.6)
    figure = new_figure(*size, f"{title}: {len(keep)} of {len(shown)} trials on the Pareto front")
    grid = figure.subplots(down, across, squeeze=False).flat
    for (first, second), axes in zip(pairs, grid, strict=False):
        x, y = (points[:, names.index(name)].clip(scales[name].low, scales[name].high) for name in (first, second))
        axes.scatter(x[~best], y[~best], s=16, color=SKY, linewidths=0, label="other trials")
        order = x[best].argsort(kind="stable")
        line = "-" if len(names) == 2 else ""  # of more than two, the front is no line in the plane of a pair
        steps = "steps-post" if modes[first] == "min" else "steps-pre"  # along what is reached, not between
        look: Any = {"color": VERMILION, "marker": "o", "markersize": 5, "linestyle": line, "drawstyle": steps}
        axes.plot(x[best][order], y[best][order], **look, label="Pareto front, with the trials' numbers")
        # on the better side, where no trial is
        right, up = (1 if modes[name] == "max" else -1 for name in (first, second))
        beside: Any = {"xytext": (3 * right, 3 * up), "textcoords": "offset points"}
        beside |= {"ha": "left" if right > 0 else "right", "va": "bottom" if up > 0 else "top"}
        named: list[Array] = []
        for n in order:
            trial = keep[n]
            place = np.array([scales[name].share(trial.scores[name]) for name in (first, second)])
            if all(abs(place - other).max() > 0.06 for other in named):  # further off than a number is wide
                axes.annotate(str(trial.number), (x[best][n], y[best][n]), **beside)
                named.append(place)
        for name, which in ((first, "x"), (second, "y")):
            _dress(axes, which, scales[name])
            if note := scales[name].note:
                axes.plot([], [], linestyle="", label=f"{_tail(name, 24)}: {note}")
        axes.set(xlabel=_tail(first, 36), ylabel=_tail(second, 36))
        axes.grid(True)
    for axes in grid:  # the one left over in the last row
        axes.remove()
    _legend(figure)
    return figure


# What trials are


def _scored(trials: Sequence[Tried], *objectives: str) -> list[Tried]:
    """Those that have every score, and no NaN or infinite one, by number."""
    finite = [t for t in trials if all(math.isfinite(t.scores.get(name, math.nan)) for name in objectives)]
    return sorted(finite, key=lambda trial: trial.number)


def _best(trials: Sequence[Tried], objective: str, mode: str) -> Tried | None:
    """The best of those that were neither pruned nor failed; the first of equal ones."""
    complete = [trial for trial in trials if trial.state == "complete"]
    sign = 1 if mode == "min" else -1
    return min(complete, key=lambda trial: (sign * trial.scores[objective], trial.number), default=None)


def _pareto(costs: Array) -> Array:
    """Which of the points (N, K), whose every number should be low, no other one beats in all: (N,) bool."""
    lower, low = (costs[:, None] < costs).any(axis=2), (costs[:, None] <= costs).all(axis=2)
    return np.asarray(~(lower & low).any(axis=0))


def _heading(title: str, scored: Sequence[Tried], objective: str, mode: str) -> str:
    best = _best(scored, objective, mode)
    said = f"best {_short(best.scores[objective], 5)} in trial {best.number}" if best else "no trial is complete"
    return f"{title}: {_tail(objective, 36)}, {said}"


def _no_score(trials: Sequence[Tried], *names: str) -> str:
    counts = Counter(trial.state for trial in trials).items()
    said = ", ".join(f"{count} {state}" for state, count in counts) or "none was run"
    return f"None of {len(trials)} trials has a score for {' and '.join(names)}: {said}."


# Axes


def _option_scales(trials: Sequence[Tried], log: Collection[str]) -> dict[str, Scale]:
    """One per option, in the order in which trials bring them."""
    values: dict[str, list[Any]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        for option, value in trial.values.items():
            values.setdefault(option, []).append(value)
    return {option: _option_scale(given, option in log) for option, given in values.items()}


def _option_scale(values: Sequence[Any], log: bool) -> Scale:
    if all(_is_number(value) for value in values):
        whole = all(isinstance(value, int) for value in values)
        low, high = float(min(values)), float(max(values))
        if log and low > 0:
            return Scale("log", low, high, _log_ticks(low, high))
        distinct = len(set(values))
        if distinct > MOST_CHOICES or len(values) < 2 * distinct:
            ticks = _linear_ticks(low, high, whole=whole)
            crowded = sum(len(text) for _, text in ticks) > 14  # of a panel of the slices
            return Scale("linear", low, high, ticks[:: 1 + crowded])
    named = {_name(value): value for value in values}
    places = {name: n for n, name in enumerate(sorted(named, key=lambda name: _order(named[name])))}
    every = math.ceil(len(places) / MOST_TICKS)
    ticks = [(float(n), _tail(name, 14)) for name, n in places.items() if n % every == 0]
    return Scale("names", 0, len(places) - 1, ticks, lambda value: places[_name(value)])


def _score_scale(scored: Sequence[Tried], objective: str, mode: str, keep: Iterable[Tried] = ()) -> Scale:
    """Of scores: log where losses span decades, and without the few that would press all others into a line.

    Args:
        scored: With finite scores.
        keep: Trials that must not lie beyond the axis; the best one never does.
    """
    sign = 1 if mode == "min" else -1
    scores = sorted(
        (float(trial.scores[objective]) for trial in scored), key=lambda score: sign * score
    )  # the best first
    quarter, three_quarters = scores[(len(scores) - 1) // 4], scores[3 * (len(scores) - 1) // 4]
    log = mode == "min" and scores[0] > 0 and three_quarters / scores[0] > 100
    along: Callable[[float], float] = math.log10 if log else float
    fence = sign * along(three_quarters) + 3 * abs(along(three_quarters) - along(quarter))
    kept = [score for score in scores if sign * along(score) <= fence] + [trial.scores[objective] for trial in keep]
    low, high, note = min(kept), max(kept), ""
    width = along(high) - along(low)
    beyond = [score for score in scores if not low <= score <= high]
    if beyond and abs(along(scores[-1]) - along(scores[0])) > 5 * width > 0:  # a fifth of the height is too little
        note = f"{len(beyond)} beyond the axis, as far as {_short(scores[-1], 3)}"
    else:
        low, high = min(scores), max(scores)
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high, most=6)
    return Scale("log" if log else "linear", low, high, ticks, note=note)


def _linear_ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[tuple[float, str]]:
    from matplotlib.ticker import MaxNLocator

    if low == high:
        return [(low, _short(low))]
    places = [
        float(place) for place in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    ]
    digits = max(6, math.ceil(math.log10(max(map(abs, places)) / (places[1] - places[0]))) + 2)
    places = [place for place in places if low <= place <= high] or [low]
    texts = [_short(place, digits) for place in places]
    if not any("e" in text for text in texts):
        decimals = max(len(text.partition(".")[2]) for text in texts)
        texts = [f"{place:.{decimals}f}" for place in places]
    return [*zip(places, texts, strict=True)]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Decades, or some; within a single decade 1, 2 and 5, or else both ends."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [10.0**n for n in decades if low <= 10.0**n * (1 + 1e-9) and 10.0**n <= high * (1 + 1e-9)]
    places = places[:: math.ceil(len(places) / 5)] if places else []
    if len(places) < 2:
        places = [step * 10.0**n for n in decades for step in (1, 2, 5) if low <= step * 10.0**n <= high]
    if len(places) < 2:
        places = sorted({low, high})
    return [(place, _short(place, 3)) for place in places]


def _dress(axes: "Axes", which: str, scale: Scale) -> None:
    """Give one of the axes its kind, its ends with a margin, and its ticks."""
    low, high = scale.low, scale.high
    if scale.kind == "log":
        margin = (high / low) ** 0.06 if high > low else 2
        axes.set(**{f"{which}scale": "log", f"{which}lim": (low / margin, high * margin)})
        axes.minorticks_off()
    else:
        margin = 0.5 if scale.kind == "names" else 0.06 * (high - low) or 0.06 * abs(high) or 1
        axes.set(**{f"{which}lim": (low - margin, high + margin)})
    places, names = zip(*scale.ticks, strict=True)
    crowded = which == "x" and scale.kind != "linear" and len(names) * max(map(width_of, names)) > 24
    getattr(axes, f"set_{which}ticks")(places, names, rotation=90 if crowded else 0)


def _upright(axes: "Axes", x: int, name: str, scale: Scale, lacking: bool = False) -> None:
    """Draw one axis of parallel coordinates, from 0 to 1."""
    axes.plot([x, x], [0, 1], color=BLACK, linewidth=0.8)
    group, dot, last = name.rpartition(".")
    heading = f"{_tail(group + dot, 16)}\n{_tail(last, 16)}" if group else _tail(name, 16)
    axes.text(x, 1.05, heading, ha="center", va="bottom", fontsize=8)
    ticks = [(scale.share(place), text) for place, text in scale.ticks]
    if lacking:
        axes.plot([x, x], [NO_SAY, 0], color=BLACK, linewidth=0.8, linestyle=":")
        ticks.append((NO_SAY, "n/a"))
    back = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
    for place, text in ticks:
        axes.plot([x, x + 0.04], [place, place], color=BLACK, linewidth=0.8)
        axes.text(x + 0.06, place, text, va="center", fontsize=8, bbox=back, in_layout=False, zorder=3)


# Marks


def _shades() -> "LinearSegmentedColormap":
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", ["#C9E2F3", SKY, BLUE, "#002A45"])


def _mark(
    axes: "Axes", trials: Sequence[Tried], x: Sequence[float], colors: Array, scale: Scale, objective: str, mode: str
) -> None:
    """Draw trials at their scores: pruned ones hollow, those beyond the axis and failed ones at its worse end."""
    end, outward = (0.98, "^") if mode == "min" else (0.02, "v")
    at_end: Any = {"transform": axes.get_xaxis_transform(), "zorder": 3}
    groups: dict[str, list[int]] = {}
    for n, trial in enumerate(trials):
        score = trial.scores.get(objective, math.nan)
        if not math.isfinite(score):
            group = "failed" if trial.state == "failed" else "without a score"
        else:
            group = trial.state if scale.low <= score <= scale.high else scale.note
        groups.setdefault(group, []).append(n)
    for group, members in sorted(groups.items()):
        places, scores = [x[n] for n in members], [trials[n].scores.get(objective, math.nan) for n in members]
        look: Any = {"s": 18 if len(trials) <= 100 else 9, "linewidths": 0}
        if group == scale.note:
            look, scores = {"s": 24, "marker": outward, **at_end}, [end] * len(members)
        elif group in ("failed", "without a score"):
            look, scores = {"s": 60, "marker": "|", **at_end}, [end] * len(members)
        for where, shades in ((places, colors[members]), ([], BLUE)):  # the second is for the legend
            if group == "pruned":
                look |= {"facecolors": "none", "edgecolors": shades, "linewidths": 1}
            else:
                look["color"] = BLACK if look.get("marker") == "|" else shades
            axes.scatter(where, scores[: len(where)], label="" if where else group, **look)
    _dress(axes, "y", scale)


def _legend(figure: "Figure") -> None:
    """Below all panels, with one entry for what several of them show."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = sorted(entries, key=len)
    inches = [0.075 * width_of(label) + 0.6 for label in labels]
    for columns in range(len(labels), 0, -1):
        if sum(max(column) for column in np.array_split(inches, columns)) < figure.get_size_inches()[0]:
            break
    figure.legend([entries[label] for label in labels], labels, loc="outside lower center", ncols=columns)


def _sentence(title: str, text: str) -> "Figure":
    """A picture that says why there is none."""
    figure = new_figure(6.4, 1.4, title)
    axes = figure.subplots()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()
    return figure


# Words


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _name(value: Any) -> str:
    return _short(value) if _is_number(value) else " ".join(str(value).split())


def _order(value: Any) -> tuple[Any, ...]:
    """Numbers by size, then all others by their letters and the numbers in them: resnet18 before resnet101."""
    if _is_number(value):
        return 0, value
    parts = re.split(r"(\d+)", _name(value))
    return 1, [int(part) if n % 2 else part for n, part in enumerate(parts)]


def _short(number: float, digits: int = 6) -> str:
    """1e-4 as people type it, neither 0.0001 nor 1e-04."""
    text = f"{number:.{digits - 1}e}" if 0 < abs(number) < 1e-3 else f"{number:.{digits}g}"
    return re.sub(r"\.?0*e(-?)\+?0*", r"e\1", text) if "." in text else re.sub(r"e(-?)\+?0*", r"e\1", text)


def _tail(text: str, limit: int) -> str:
    """The end of a long text, which tells more of an option or a class than its start; from a whole name on."""
    line = " ".join(text.split())
    if width_of(line) <= limit:
        return line
    end = clip(line[::-1], limit)[-2::-1]  # without the "…"
    cut, _, names = end.partition(".")
    return "…" + (names if (not cut or cut.isidentifier()) and len(names) > 3 else end)
