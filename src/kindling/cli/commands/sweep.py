from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kindling.cli.arguments import Request


def sweep(
    request: "Request",
    trials: int = 30,
    jobs: int = 1,
    sampler: str | None = None,
    pruner: str | None = None,
    objectives: str | None = None,
    seeds: int = 1,
    keep: Literal["best", "all"] = "best",
    storage: str | None = None,
    name: str | None = None,
    test_best: bool = False,
) -> None:
    """Search the best options: sweep --model SimpleNet --vary.lr 0.01..1.

    Args:
        trials: How many combinations of options to try.
        jobs: How many to try at the same time, each in a process of its own.
        sampler: TPE, Random, CmaEs, GP, NSGAII, NSGAIII, or Grid for all combinations.
        pruner: Median, Hyperband, SuccessiveHalving, Wilcoxon, or Nop to end no trial early.
        objectives: Scores to trade off, e.g. val/acc,ms_per_sample; the monitored score unless given.
        seeds: Train each combination with so many seeds; its score is the mean.
        keep: Whose checkpoints to keep, of the best trial or of all.
        storage: A database that several machines share, postgresql://...
        name: What to call the sweep: cars for lightning_logs/cars_0.
        test_best: Score the best on the test set at the end.
    """
    given = dict(locals())
    from kindling.cli import sweeping

    sweeping.run(request, {name: value for name, value in given.items() if name != "request"})
