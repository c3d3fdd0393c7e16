"""Lightning's Trainer, with the two further commands that the command line has."""

from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning import pytorch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.tuner import Tuner

from kindling.callbacks.report import publish
from kindling.data.base import DataModule
from kindling.errors import RunError, UsageError
from kindling.export import write as export
from kindling.models.base import SupervisedModule
from kindling.pictures import lr_search, style
from kindling.runs import checkpoints, find
from kindling.runs.folder import LOGS


class Unprofiled(PassThroughProfiler):
    """Measures nothing. Lightning's own does so in 149 generators a step, one for each callback at each hook."""

    nothing: AbstractContextManager[Any] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        return self.nothing


class Trainer(pytorch.Trainer):
    """Commands are methods here, as ``fit`` and ``test`` are: LightningCLI takes their options from the signatures."""

    def lr_find(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        min_lr: float = 1e-5,
        max_lr: float = 1.0,
        num_training: int = 100,
    ) -> tuple[float, Path]:
        """Find a learning rate: the one at which the loss falls fastest while the rate rises step by step.

        Args:
            model: The network.
            datamodule: The data.
            min_lr: Rate of the first step.
            max_lr: Rate of the last step.
            num_training: Steps; the search ends earlier where the loss grows to four times its lowest.

        Returns:
            The learning rate, and the picture of the search.

        Raises:
            UsageError: The options leave nothing to search.
            RunError: The loss fell nowhere, or was not finite.
        """
        if not 0 < min_lr < max_lr:
            raise UsageError(f"--min_lr {min_lr} --max_lr {max_lr}: the first has to be above 0 and below the second")
        if num_training < 20:
            raise UsageError(f"--num_training {num_training}: at least 20 steps are needed to see a slope")
        limit, self.fit_loop.max_epochs = self.fit_loop.max_epochs, -1  # the steps are counted instead
        try:
            finder: Any = Tuner(self).lr_find(
                model, datamodule=datamodule, min_lr=min_lr, max_lr=max_lr, num_training=num_training, update_attr=False
            )
        finally:
            self.fit_loop.max_epochs = limit
        if finder is None:
            raise UsageError("--trainer.fast_dev_run true leaves no steps to search a learning rate with")
        found = lr_search.steepest(finder.results["lr"], finder.results["loss"])
        if found is None:
            raise RunError("the loss fell at no learning rate, so there is none to suggest: try another --min_lr")
        picture = Path(self.default_root_dir) / LOGS / "lr_find.png"
        if self.is_global_zero:
            curve = partial(lr_search.draw, finder.results["lr"], finder.results["loss"], found, type(model).__name__)
            publish.save(picture, style.paint(curve))
        return found, picture

    def export(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | Path | None = None,
        format: Literal["weights", "onnx", "pt2"] = "weights",
    ) -> None:
        """Write the trained network into a file that can be used elsewhere, checked in a process of its own.

        Args:
            model: The network.
            datamodule: The data, whose test samples it is checked on.
            ckpt_path: Checkpoint with the weights.
            format: weights (state_dict and safetensors), onnx, or pt2 (torch.export).

        Raises:
            UsageError: The network or the data is of a kind that can't be exported, or a package is missing.
            RunError: The file, loaded anew, gives other predictions.
        """
        if not isinstance(model, SupervisedModule) or not isinstance(datamodule, DataModule) or ckpt_path is None:
            raise UsageError(f"export takes a SupervisedModule and its DataModule, and {type(model).__name__} is none")
        export.check_installed(format)
        content = self.strategy.checkpoint_io.load_checkpoint(ckpt_path, weights_only=True)
        checkpoints.check_fit(content["state_dict"], model, Path(ckpt_path))
        model.load_state_dict(content["state_dict"])
        datamodule.prepare_data()
        datamodule.setup("test")
        checkpoint = find.at(Path(ckpt_path))
        folder = checkpoint.run.folder / "export"
        try:
            export.export(format, model.eval(), datamodule, checkpoint, content, folder)
        finally:
            with suppress(OSError):
                folder.rmdir()  # where nothing came of it
