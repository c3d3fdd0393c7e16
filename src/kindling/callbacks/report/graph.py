"""TensorBoard's GRAPHS: the network, layer by layer."""

import copy
import io
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from kindling.callbacks.report.publish import boards


class Graph(Callback):
    """Traces a copy of the network, on the first sample that it is trained on; what is trained stays as it is."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # a resumed run has events of an earlier process, and the graph among them
        self._boards = [b for b in boards(trainer) if len(list(Path(b.log_dir).glob("events.out.*"))) == 1]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        boards, self._boards = self._boards, []
        for board in boards:
            try:
                inputs: Any = pl_module.example_input_array
                if inputs is None:
                    inputs = (batch if isinstance(batch, Tensor) else batch[0])[:1]
                # the trace prints, and warns of what is deprecated: nothing that a user could change
                with isolate_rng(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = copy.deepcopy(pl_module).cpu()
                    model.trainer = trainer  # the trace reads every property, and some ask for it
                    inputs = move_data_to_device(inputs, "cpu")
                    # traced once and not again to compare, for which torch imports a second's worth of modules
                    board.add_graph(torch.jit.trace(model, inputs, check_trace=False), inputs)
            except Exception as error:  # in the network's own forward; a missing picture is no reason to stop
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                print(f"No graph in TensorBoard: {type(pl_module).__name__} can't be traced: {reason}", flush=True)
