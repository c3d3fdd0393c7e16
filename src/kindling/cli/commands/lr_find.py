from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.training.job import Job


def lr_find(job: "Job", min_lr: float = 1e-5, max_lr: float = 1.0, num_training: int = 100) -> None:
    """Suggest a learning rate: lr_find --model SimpleNet.

    It is the one at which the loss falls fastest while the rate rises step by step.

    Args:
        min_lr: Rate of the first step.
        max_lr: Rate of the last step.
        num_training: Steps; the search ends earlier where the loss grows to four times its lowest.
    """
    from kindling.console import say
    from kindling.training import evaluate

    found, picture = evaluate.lr_find(job, min_lr, max_lr, num_training)
    picture = picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture
    say(f"Learning rate {found:.2g}, where the loss falls fastest -> {picture}")
    say(f"Next: {job.program} fit --model {type(job.model).__name__} --optimizer.lr {found:.2g}")
