"""What a network says, in the words of its data."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Answer = dict[str, Any]


def answers_for(task: dict[str, Any]) -> Callable[[NDArray[np.float32]], list[Answer]]:
    """How the predictions (N, ...) of a task become answers, one for each sample."""
    kind, names = task["kind"], task["class_names"]

    def of_classes(predictions: NDArray[np.float32]) -> list[Answer]:
        labels = predictions.argmax(axis=1).tolist()
        return [
            {"prediction": names[label], "probabilities": dict(zip(names, row, strict=True))}
            for label, row in zip(labels, predictions.tolist(), strict=True)
        ]

    def of_tags(predictions: NDArray[np.float32]) -> list[Answer]:
        rows = [dict(zip(names, row, strict=True)) for row in predictions.tolist()]
        return [
            {"prediction": [name for name in row if row[name] > task["threshold"]], "probabilities": row}
            for row in rows
        ]

    def of_numbers(predictions: NDArray[np.float32]) -> list[Answer]:
        targets, count = task["targets"], len(task["targets"]) or 1

        def named(values: list[float]) -> Any:
            return dict(zip(targets, values, strict=True)) if targets else values[0]

        return [
            {"prediction": named(row[:count])} | ({"std": named(row[count:])} if task["with_std"] else {})
            for row in predictions.tolist()
        ]

    def raw(predictions: NDArray[np.float32]) -> list[Answer]:
        return [{"prediction": one} for one in predictions.tolist()]

    known = {"binary": of_classes, "multiclass": of_classes, "multilabel": of_tags, "regression": of_numbers}
    usual = known.get(kind, raw)
    return lambda predictions: (usual if predictions.ndim == 2 else raw)(predictions)  # else e.g. one of each pixel


def schema(task: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of one answer."""
    number = {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    names, targets = task["class_names"], task["targets"]
    probabilities = {"type": "object", "properties": dict.fromkeys(names, share), "required": names}
    several = (
        {"type": "object", "properties": dict.fromkeys(targets, number), "required": targets} if targets else number
    )
    properties: dict[str, Any] = {
        "binary": {"prediction": {"type": "string", "enum": names}, "probabilities": probabilities},
        "multilabel": {
            "prediction": {"type": "array", "items": {"type": "string", "enum": names}},
            "probabilities": probabilities,
        },
        "regression": {"prediction": several} | ({"std": several} if task["with_std"] else {}),
    }.get(task["kind"].replace("multiclass", "binary"), {"prediction": {}})
    return {"type": "object", "title": "Answer", "properties": properties, "required": list(properties)}
