"""TensorBoard's GRAPHS: the network, layer by layer."""

import copy
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from kindling.callbacks.report.publish import boards


class Graph(Callback):
    """Traces a copy of the network, on the first sample that it is trained on; what is trained stays as it is."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # resumed, the run has an earlier process's events, and the graph among them
        new = [board for board in boards(trainer) if len(list(Path(board.log_dir).glob("events.out.*"))) == 1]
        self._boards = new if trainer.is_global_zero else []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        drawn, self._boards = self._boards, []
        for board in drawn:
            try:
                inputs = _first_sample(pl_module, batch)
                # the trace and its own prints and warnings of what is deprecated concern nobody here
                with isolate_rng(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = copy.deepcopy(pl_module).cpu()
                    model.trainer = trainer  # the trace reads every property, and some ask for it
                    board.add_graph(model, inputs)
            except Exception as error:  # of somebody else's forward; a picture less is no reason to stop
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                print(f"No graph in TensorBoard: {type(pl_module).__name__} can't be traced: {reason}", flush=True)


def _first_sample(pl_module: LightningModule, batch: Any) -> Any:
    """What ``forward`` takes, on the CPU."""
    example: Any = pl_module.example_input_array
    if example is None:
        x = batch[0] if isinstance(batch, list | tuple) else batch
        if not isinstance(x, Tensor):
            raise TypeError("its batches hold no tensor in the first place, so set example_input_array")
        example = x[:1]
    return example.cpu() if isinstance(example, Tensor) else tuple(part.cpu() for part in example)
