from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kindling.training.job import Job


def predict(job: "Job") -> None:
    """Write predictions.csv: predict --ckpt_path best."""
    from kindling.training import evaluate

    evaluate.predict(job)
