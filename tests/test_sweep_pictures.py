"""Pictures of a hyperparameter sweep."""

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from kindling.pictures import style, sweep
from kindling.pictures.sweep import Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTLIER = 3.3e9


def trial(number: int, score: float | None = None, state: str = "complete", **values: Any) -> Tried:
    return Tried(number, values or {"lr": 0.1}, {} if score is None else {"val/loss": score}, state)


def losses(*scores: float) -> list[Tried]:
    return [trial(n, score, lr=10.0**-n) for n, score in enumerate(scores)]


def texts(labels: Sequence[Any]) -> list[str]:
    return [label.get_text() for label in labels]


def legend(figure: "Figure") -> list[str]:
    return texts(figure.legends[0].get_texts())


def marks(axes: "Axes") -> dict[str, list[list[float]]]:
    """Places of the trials, by what the legend calls them."""
    drawn: list[Any] = [each for each in axes.collections if hasattr(each, "get_offsets")]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)  # each kind of mark is followed by its entry in the legend
    return {entry.get_label(): points.get_offsets().tolist() for points, entry in pairs}


def lines(axes: "Axes") -> dict[str, list[list[float]]]:
    """By their labels, those that have one."""
    return {str(line.get_label()): line.get_xydata().tolist() for line in axes.lines if line.get_label()[0] != "_"}  # type: ignore[index,union-attr]


# History


def test_history_marks_trials_by_their_end_and_the_best_so_far() -> None:
    trials = [trial(0, 0.5), trial(1, 0.7), trial(3, 0.1, "pruned"), trial(2, 0.3), trial(4, None, "failed")]
    trials.append(trial(5, math.nan))
    figure = sweep.history(trials, "val/loss", "min", "sweep_3")
    (axes,) = figure.axes
    assert marks(axes) == {
        "complete": [[0, 0.5], [1, 0.7], [2, 0.3]],
        "pruned": [[3, 0.1]],
        "failed": [[4, 0.98]],  # of the height, where the worst losses are
        "without a score": [[5, 0.98]],
    }
    assert lines(axes) == {"best so far": [[0, 0.5], [1, 0.5], [2, 0.3], [5, 0.3]]}
    assert figure.get_suptitle() == "sweep_3: val/loss, best 0.3 in trial 2"
    highest = sweep.history(trials, "val/loss", "max", "sweep_3")
    assert lines(highest.axes[0])["best so far"] == [[0, 0.5], [1, 0.7], [2, 0.7], [5, 0.7]]
    assert marks(highest.axes[0])["failed"] == [[4, 0.02]]


def test_an_enormous_outlier_is_said_and_does_not_hide_the_others() -> None:
    trials = losses(0.2, 0.5, OUTLIER, 0.3, 0.4)
    figure = sweep.history(trials, "val/loss", "min", "sweep_3")
    (axes,) = figure.axes
    assert marks(axes)["1 beyond the axis, as far as 3.3e9"] == [[2, 0.98]]
    assert axes.get_ylim() == pytest.approx((0.182, 0.518))
    assert axes.get_yscale() == "linear"
    assert legend(figure)[-1] == "1 beyond the axis, as far as 3.3e9"
    assert sweep.slices(trials, "val/loss", "min", (), "").axes[0].get_ylim() == pytest.approx((0.182, 0.518))
    assert sweep.history(trials, "val/loss", "max", "").axes[0].get_ylim()[1] > OUTLIER  # here it is the best one
    accuracies = sweep.history(losses(0.93, 0.95, 0.1, 0.94, 0.92), "val/loss", "max", "")
    assert "1 beyond the axis, as far as 0.1" in legend(accuracies)
    few = sweep.history(losses(0.2, 0.9), "val/loss", "min", "")
    assert legend(few) == ["complete", "best so far"]


def test_losses_that_span_decades_have_a_log_axis_and_equal_scores_a_linear_one() -> None:
    (axes,) = sweep.history(losses(1e-4, 1e-3, 1e-2, 0.1, 1), "val/loss", "min", "").axes
    assert axes.get_yscale() == "log"
    assert texts(axes.get_yticklabels()) == ["1e-4", "0.001", "0.01", "0.1", "1"]
    (axes,) = sweep.history(losses(0.5, 0.5, 0.5), "val/loss", "min", "").axes
    assert axes.get_yscale() == "linear"
    assert texts(axes.get_yticklabels()) == ["0.5"]


# Importance


def test_importance_is_sorted_and_too_little_to_show_is_said() -> None:
    shares = {"a.lr": 0.2, "b": 0.796, "c": 0.004, "d": 0.0}
    (axes,) = sweep.importance(shares, "val/loss", "sweep_3").axes
    assert texts(axes.get_yticklabels()) == ["b", "a.lr", "c"]
    assert texts(axes.texts) == ["80%", "20%", "<1%"]
    assert axes.yaxis_inverted()
    for nothing in ({}, {"a": 0.0}, {"a": math.nan}):
        (axes,) = sweep.importance(nothing, "val/loss", "sweep_3").axes
        assert texts(axes.texts) == ["The importance of options can't be said: too few trials, or equal scores."]


# Slices


def test_slices_have_an_axis_as_each_option_needs_it() -> None:
    values: list[dict[str, Any]] = [
        *(
            {"lr": 10.0 ** (n % 3 - 4), "batch_size": (64, 16, 128)[n % 3], "hidden": 8 + n, "flag": n % 2 == 0}
            for n in range(12)
        ),
        {"lr": 0.3, "batch_size": None, "hidden": 40, "flag": True, "widths": [128, 64]},
        {"lr": 0.3, "batch_size": 32, "hidden": 40, "flag": True, "widths": [64]},
    ]
    trials = [trial(n, n / 100, **each) for n, each in enumerate(values)]
    figure = sweep.slices(trials, "val/loss", "min", {"lr"}, "sweep_3")
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(panels) == ["lr", "batch_size", "hidden", "flag", "widths", ""]  # the last is the colours' bar
    assert {name: axes.get_xscale() for name, axes in panels.items()} == dict.fromkeys(panels, "linear") | {"lr": "log"}
    ticks = {name: texts(axes.get_xticklabels()) for name, axes in panels.items()}
    assert ticks["lr"] == ["1e-4", "0.001", "0.01", "0.1"]
    assert ticks["batch_size"] == ["16", "32", "64", "128", "None"]
    assert ticks["hidden"] == ["10", "20", "30", "40"]
    assert ticks["flag"] == ["False", "True"]
    assert ticks["widths"] == ["[64]", "[128, 64]"]
    assert [y for _, y in marks(panels["widths"])["complete"]] == [0.12, 0.13]  # no others have this option
    assert [round(x) for x, _ in marks(panels["batch_size"])["complete"]][:4] == [2, 0, 3, 2]
    assert marks(panels["hidden"])["complete"][0] == [8, 0]
    shade = panels["hidden"].collections[0].get_facecolor()
    assert shade[0].sum() > shade[-1].sum()  # type: ignore[union-attr]


def test_of_many_options_four_are_in_a_row_and_long_names_are_shortened() -> None:
    names = [f"model.encoder.init_args.width_of_layer_{n}" for n in range(11)]
    trials = [
        trial(k, 0.1 * k, **dict.fromkeys(names, f"torch.optim.lr_scheduler.{c}Scheduler")) for k, c in enumerate("abc")
    ]
    figure = sweep.slices(trials, "val/loss", "min", (), "sweep_3")
    *panels, _ = figure.axes
    assert len({axes.get_subplotspec().colspan.start for axes in panels}) == 4  # type: ignore[union-attr]
    assert len({axes.get_subplotspec().rowspan.start for axes in panels}) == 3  # type: ignore[union-attr]
    assert panels[0].get_xlabel() == "…init_args.width_of_layer_0"
    assert texts(panels[0].get_xticklabels()) == ["…aScheduler", "…bScheduler", "…cScheduler"]
    assert panels[0].get_xticklabels()[0].get_rotation() == 90


# Parallel coordinates


def test_parallel_coordinates_have_a_line_per_trial_to_its_score() -> None:
    trials = [
        trial(0, 0.9, optimizer="SGD", momentum=0.5, lr=1e-4),
        trial(1, 0.3, optimizer="Adam", lr=1e-2),
        trial(2, 0.1, optimizer="SGD", momentum=0.9, lr=1e-3, state="pruned"),
        trial(3, None, optimizer="SGD", momentum=0.7, lr=1e-2, state="failed"),
    ]
    figure = sweep.parallel_coordinates(trials, "val/loss", "min", {"lr"}, "sweep_3")
    (axes,) = figure.axes
    drawn: Any = axes.collections[0]
    paths = [path.vertices[:, 1].tolist() for path in drawn.get_paths()]
    assert paths == [  # optimizer, momentum, lr and the score, better ones above worse ones
        pytest.approx([1, 0, 0, 1]),
        pytest.approx([0, sweep.NO_SAY, 1, 0.25]),
        pytest.approx([1, 1, 0.5, 0]),
    ]
    assert drawn.get_linestyles()[2] != drawn.get_linestyles()[1] == drawn.get_linestyles()[0]  # pruned
    shades = drawn.get_colors()
    assert shades[0].sum() > shades[1].sum() > shades[2].sum()
    best = lines(axes)["trial 1, the best"]
    assert [y for _, y in best] == pytest.approx(paths[1])
    assert [text for text in texts(axes.texts) if text in ("optimizer", "momentum", "lr", "val/loss", "n/a")] == [
        *("optimizer", "momentum", "n/a", "lr", "val/loss")
    ]
    assert legend(figure) == ["pruned", "trial 1, the best"]


def test_many_options_take_several_rows_each_with_the_score() -> None:
    names = [f"model.option_{n}" for n in range(20)]
    values = [{name: (7 * k + n) % 11 for n, name in enumerate(names)} for k in range(500)]
    trials = [Tried(k, each, {"val/loss": 0.1 * k}, "complete") for k, each in enumerate(values)]
    figure = sweep.parallel_coordinates(trials, "val/loss", "max", (), "sweep_3")
    assert len(figure.axes) == 3
    assert figure.get_size_inches()[0] < 10
    for axes in figure.axes:
        drawn: Any = axes.collections[0]
        assert len(drawn.get_paths()) == 500
        assert "trial 499, the best" in lines(axes)
        assert "val/loss" in texts(axes.texts)
    assert "model.\noption_19" in texts(figure.axes[2].texts)


# The Pareto front


def of_two(points: Sequence[tuple[float, float]]) -> list[Tried]:
    return [Tried(n, {"lr": n}, {"acc": acc, "ms": ms}, "complete") for n, (acc, ms) in enumerate(points)]


def test_the_front_of_two_objectives_is_a_line_with_numbers() -> None:
    trials = of_two([(0.9, 5), (0.8, 1), (0.85, 6), (0.9, 7), (0.95, 20), (0.7, 1), (0.95, 20)])
    figure = sweep.front(trials, {"acc": "max", "ms": "min"}, "sweep_3")
    (axes,) = figure.axes
    assert lines(axes)["Pareto front, with the trials' numbers"] == [[0.8, 1], [0.9, 5], [0.95, 20], [0.95, 20]]
    assert axes.collections[0].get_offsets().tolist() == [[0.85, 6], [0.9, 7], [0.7, 1]]  # type: ignore[union-attr]
    assert texts(axes.texts) == ["1", "0", "4"]  # 6 lies where 4 does
    assert figure.get_suptitle() == "sweep_3: 4 of 7 trials on the Pareto front"


def test_outliers_beyond_the_axis_are_said_but_never_hide_the_front() -> None:
    usual = [(0.8 + n / 100, 5 + n / 10) for n in range(8)]
    figure = sweep.front(of_two([*usual, (0.5, 1e6)]), {"acc": "max", "ms": "min"}, "sweep_3")
    assert "ms: 1 beyond the axis, as far as 1e6" in legend(figure)
    assert figure.axes[0].get_ylim()[1] < 10
    figure = sweep.front(of_two([*usual, (0.99, 1e6)]), {"acc": "max", "ms": "min"}, "sweep_3")
    assert figure.axes[0].get_ylim()[1] > 1e6


def test_three_objectives_are_drawn_in_pairs() -> None:
    scores = [(1, 9, 9), (9, 1, 9), (9, 9, 1), (9, 9, 9)]
    trials = [Tried(n, {"lr": n}, dict(zip("abc", each, strict=True)), "complete") for n, each in enumerate(scores)]
    figure = sweep.front(trials, dict.fromkeys("abc", "min"), "sweep_3")
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert figure.get_suptitle() == "sweep_3: 3 of 4 trials on the Pareto front"
    assert figure.axes[0].lines[0].get_linestyle() == "None"


# All of them


@pytest.mark.parametrize("trials", [[], [trial(0, None, "failed")], [trial(0, math.nan)]])
def test_without_a_score_each_picture_says_so(trials: list[Tried]) -> None:
    modes = {"val/loss": "min", "ms": "min"}
    drawn = {name: draw() for name, draw in sweep.pictures(trials, modes, (), {}, "sweep_3").items()}
    state = f"1 {trials[0].state}" if trials else "none was run"
    said = f"None of {len(trials)} trials has a score for val/loss"
    for name in ("history", "slices", "parallel_coordinates"):
        assert texts(drawn[name].axes[0].texts) == [f"{said}: {state}."]
    assert texts(drawn["front"].axes[0].texts) == [f"{said} and ms: {state}."]


ODD = (
    None,
    True,
    math.inf,
    10**40,
    -5,
    0.1,
    "",
    "选项" * 20,
    "a.b\n$x_{1$",
    [1, "a"],
    {"class_path": "torch.optim.SGD"},
)
SCORES = (0.5, 0.1, 0.1 + 1e-16, 0, -1.0, 1e-45, 3e38, -3e38, math.nan, math.inf)


@pytest.mark.pictures
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_odd_values_and_scores_are_painted(seed: int) -> None:
    """Each warning of matplotlib is an error."""
    draw_from = random.Random(seed)
    names = [f"{n}.选项" * draw_from.choice([1, 9]) for n in range(3)]
    modes = {"准确率": draw_from.choice(["min", "max"]), "ms": "min"}
    trials = [
        Tried(
            number,
            {name: draw_from.choice(ODD) for name in names if draw_from.random() < 0.8 or name == names[0]},
            {name: draw_from.choice(SCORES) for name in modes if draw_from.random() < 0.9},
            draw_from.choice(["complete", "complete", "pruned", "failed"]),
        )
        for number in range((2, 1, 3, 5, 12, 40)[seed % 6])
    ]
    for draw in sweep.pictures(trials, modes, set(names[:1]), dict.fromkeys(names, 1 / 3), "sweep_3").values():
        assert style.paint(draw).std() > 0
