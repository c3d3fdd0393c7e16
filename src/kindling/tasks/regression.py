"""One number or several."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric

from kindling.errors import DataError
from kindling.facts import Facts
from kindling.pictures.style import Draw
from kindling.tasks import figures
from kindling.tasks.base import Task, worst_first
from kindling.tasks.losses import NUMBER_LOSSES
from kindling.tasks.scores import R2


class Regression(Task):
    """T numbers: targets and predictions in their own units.

    Targets are (B,) float32 for one number, else (B, T). Predictions are (B, T), or with GaussianNLLLoss (B, 2 T): the
    numbers, then the standard deviation that the network gives to each.

    Raises:
        DataError: PoissonNLLLoss, which is for counts, and a target below 0.
    """

    losses = NUMBER_LOSSES
    usual_loss = "MSELoss"

    def __init__(self, facts: Facts, loss: nn.Module | None = None, default: str | None = None) -> None:
        self.several = bool(facts.targets)
        self.meaning = "several numbers" if self.several else "a number"
        self.size = len(facts.targets) or 1  # T
        super().__init__(facts, loss, default)
        if (facts.target_mean, facts.target_std) != (0.0, 1.0):  # what the data states
            self.baseline = "always the mean of training"
            if self.loss_name != "PoissonNLLLoss" and type(self).compute_loss is Regression.compute_loss:
                self.loss_unit = "standard units"
        if self.loss_name == "PoissonNLLLoss" and (low := torch.tensor(facts.target_min).min()) < 0:
            raise DataError(f"PoissonNLLLoss counts, and {facts.target} is as low as {low:g}: choose another")

    @property
    def with_std(self) -> bool:
        return self.loss_name == "GaussianNLLLoss"

    @property
    def num_outputs(self) -> int:
        return (2 if self.with_std else 1) * self.size

    def compute_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        if not self.several:
            y = y[:, None]
        numbers, *spread = outputs.split(self.size, dim=1)  # (B, T) each
        if self.loss_name == "PoissonNLLLoss":
            log_rate = self._log_counts(numbers)
            loss: Tensor = self.loss(log_rate if self.loss.log_input else log_rate.exp(), y)
        else:
            # standardized: the loss is near 1 at the start whatever the unit, so learning rates carry over
            mean, std = self._units(y)
            loss = self.loss(numbers, (y - mean) / std, *(_variance(s) for s in spread))
        return loss

    def predict(self, outputs: Tensor) -> Tensor:
        numbers, *spread = outputs.split(self.size, dim=1)
        if self.loss_name == "PoissonNLLLoss":
            return self._log_counts(numbers).exp()
        mean, std = self._units(outputs)
        return torch.cat([numbers * std + mean, *(_variance(s).sqrt() * std for s in spread)], dim=1)

    def _units(self, like: Tensor) -> tuple[Any, Any]:
        """Mean and standard deviation of the targets: numbers, or (T,) each."""
        mean, std = self.facts.target_mean, self.facts.target_std
        return (like.new_tensor(mean), like.new_tensor(std)) if self.several else (mean, std)

    def _log_counts(self, outputs: Tensor) -> Tensor:
        """Outputs as logarithms of multiples of the mean: a network that begins near 0 then begins near the truth."""
        mean = torch.tensor(self.facts.target_mean, dtype=torch.float64)
        log = mean.where(mean != 0, 1.0).log()
        return outputs + (log.to(outputs) if self.several else log.item())

    def metrics(self, stage: str) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"mae": MeanAbsoluteError(num_outputs=self.size)}
        if stage != "train":
            metrics["rmse"] = MeanSquaredError(squared=False, num_outputs=self.size)
            metrics["r2"] = R2(self._units, multioutput="raw_values" if self.several else "uniform_average")
        return metrics

    def metric_inputs(self, predictions: Tensor) -> Tensor:
        """Without standard deviations, in the form of the targets."""
        return predictions[:, : self.size] if self.several else predictions[:, 0]

    def baseline_predictions(self, targets: Tensor) -> Tensor:
        return targets.new_tensor(self.facts.target_mean).expand(len(targets), self.size)

    def prediction_columns(self, predictions: Tensor) -> dict[str, Sequence[Any]]:
        names = [f"({name})" for name in self.facts.targets] or [""]
        columns = [kind + name for kind in ("prediction", "std") for name in names]
        return dict(zip(columns, predictions.T.tolist(), strict=False))  # mostly without standard deviations

    def target_texts(self, values: Tensor) -> list[Any]:
        return super().target_texts(values if values.ndim == 1 else self.metric_inputs(values))

    def mistakes(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Sequence[Any]]]:
        """How wrong one is: the absolute error; of several numbers the mean, each in its standard deviations."""
        error = (self.metric_inputs(predictions) - targets).abs()
        if self.several:
            error = (error / self._units(error)[1]).mean(dim=1)
        rows = worst_first(error, error != 0)
        return rows, self.prediction_columns(predictions[rows]) | {"error": error[rows].tolist()}

    def figures(self, predictions: Tensor, targets: Tensor, subject: str) -> dict[str, Draw]:
        return figures.of_numbers(predictions, targets, self.facts, subject)


def _variance(outputs: Tensor) -> Tensor:
    return softplus(outputs) + 1e-6  # in units of the target's own
