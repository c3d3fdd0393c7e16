"""What several processes hold, brought together in the first."""

from typing import Any

import torch.distributed as dist
from lightning.pytorch import Trainer


def gather(trainer: Trainer, held: Any) -> list[Any]:
    """What each process holds, in their order; nothing in any process but the first. All have to call it."""
    if trainer.world_size == 1:
        return [held]
    processes: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    dist.gather_object(held, processes)
    return processes or []
