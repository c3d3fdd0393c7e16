"""An example of a LightningModule of its own kind, for losses that compare samples with each other.

Such losses take pairs (CosineEmbeddingLoss, MarginRankingLoss), triplets (TripletMarginLoss,
TripletMarginWithDistanceLoss) or sequences (CTCLoss). The network says how a batch becomes these (``training_step``),
what is logged, and what ``predict`` returns; runs, checkpoints, resuming and the rest come from the command line.
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from kindling.errors import DataError


class TripletNet(LightningModule):
    """Embeds images so that those of one class lie together (TripletMarginLoss).

    Each image of a batch is an anchor, with a random image of its class as positive and one of another class as
    negative. Validation and test ask whether an image lies nearest the centre of its own class, the mean of the last
    training epoch's embeddings.

    Args:
        in_features: Numbers per image, after flattening.
        num_outputs: Classes.
        hidden: Width of the hidden layer.
        dimensions: Of the embedding, which is scaled to length 1.
        margin: By how much a negative should lie farther than a positive.
        lr: Learning rate of Adam.

    Raises:
        DataError: The data has no classes.
    """

    monitor = "val/loss"
    centres: Tensor
    sums: Tensor

    def __init__(
        self,
        in_features: int = 784,
        num_outputs: int = 10,
        hidden: int = 256,
        dimensions: int = 32,
        margin: float = 0.3,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        if num_outputs < 2:
            raise DataError("TripletNet tells classes apart, and the target is a number: choose another --model")
        self.save_hyperparameters(logger=False)
        self.lr = lr
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, dimensions))
        self.loss = nn.TripletMarginLoss(margin=margin)
        self.register_buffer("centres", torch.zeros(num_outputs, dimensions))  # goes into the checkpoint
        self.register_buffer("sums", torch.zeros(num_outputs, dimensions), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.net(x))  # (B, ...) -> (B, dimensions)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor | None:
        x, y = batch
        embedded = self(x)
        self.sums.index_add_(0, y, embedded.detach().to(self.sums.dtype))  # of mixed precision
        return self._log("train", embedded, y)

    def on_train_epoch_start(self) -> None:
        self.sums.zero_()

    def on_validation_epoch_start(self) -> None:
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            sums: Any = self.all_gather(self.sums)  # (classes, dimensions), of several processes with one in front
            self.centres.copy_(nn.functional.normalize(sums.reshape(-1, *self.sums.shape).sum(dim=0)))

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._score("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._score("test", batch)

    def predict_step(self, batch: tuple[Tensor, ...]) -> Tensor:
        # (B, classes): shares that fall with the distance to each class's centre
        return (-torch.cdist(self(batch[0]), self.centres).square()).softmax(dim=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def _score(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        x, y = batch
        embedded = self(x)
        self._log(stage, embedded, y)
        nearest = (embedded @ self.centres.T).argmax(dim=1)  # (B,)
        self.log(f"{stage}/acc", (nearest == y).float().mean(), batch_size=len(y), logger=False, sync_dist=True)

    def _log(self, stage: str, embedded: Tensor, y: Tensor) -> Tensor | None:
        triplets = draw(y)
        if len(triplets[0]) == 0:
            return None  # no image with another of its class and one of another: nothing to learn from
        loss: Any = self.loss(*(embedded[chosen] for chosen in triplets))
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True, batch_size=len(y), logger=False, sync_dist=True)
        return loss


def draw(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of anchors, and for each of another image of its class and of one of another class, each (T,) int64.

    Args:
        y: Labels (B,).
    """
    same = y[:, None] == y  # (B, B)
    alike = same & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    anchors = (alike.any(dim=1) & (~same).any(dim=1)).nonzero()[:, 0]
    if len(anchors) == 0:
        return anchors, anchors, anchors
    positives, negatives = (choice[anchors].float().multinomial(1)[:, 0] for choice in (alike, ~same))
    return anchors, positives, negatives
