from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kindling.training.job import Job


def export(job: "Job", format: Literal["weights", "onnx", "pt2"] = "weights") -> None:
    """Write files for elsewhere: export --ckpt_path best --format onnx.

    Args:
        format: weights (state_dict and safetensors), onnx, or pt2 (torch.export).
    """
    from kindling.training import evaluate

    evaluate.export(job, format)
