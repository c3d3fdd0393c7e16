from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.training.job import Job


def validate(job: "Job") -> None:
    """Score on the validation set: validate --ckpt_path best."""
    from kindling.training import evaluate

    evaluate.evaluate(job)
