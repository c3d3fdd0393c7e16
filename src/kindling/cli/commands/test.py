from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.training.job import Job


def test(job: "Job") -> None:
    """Score on the test set: test --ckpt_path best."""
    from kindling.training import evaluate

    evaluate.evaluate(job)
