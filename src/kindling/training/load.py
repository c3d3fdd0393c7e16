"""A finished run, read back: the network and the data that a checkpoint stands for."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningDataModule, LightningModule

from kindling.errors import CheckpointError, UsageError
from kindling.models.base import SupervisedModule
from kindling.registry import import_class
from kindling.runs import trust
from kindling.runs.checkpoints import read
from kindling.runs.find import find
from kindling.runs.folder import LOGS, Run
from kindling.tasks import losses


def load(
    run: str | Path, which: Literal["best", "last"] = "best", classes: Collection[type] = ()
) -> tuple[LightningModule, LightningDataModule]:
    """The trained network, in eval mode on the CPU, and the data it was trained on, of one run.

        model, data = kindling.load("lightning_logs/version_0")
        x = data.normalize(torch.tensor([[7.5, 3.0]]))
        model(x).softmax(dim=1)  # (1, num_outputs) probabilities, in the order of model.class_names

    Args:
        run: A run's folder, or a checkpoint file.
        which: ``best`` or ``last``, for a folder.
        classes: Networks, data and losses of your own that the checkpoint may name beside Kindling's and torch's.

    Raises:
        UsageError: ``which`` is neither.
        RunError: There is no such run or checkpoint.
        CheckpointError: The file can't be read, was not written by this project, or names a class that is not known.
    """
    if which not in ("best", "last"):
        raise UsageError(f"kindling.load(..., which={which!r}): there are best and last")
    folder = Run(Path(run))
    inside = folder.best if which == "best" else folder.last
    file = find(
        str(inside if Path(run).is_dir() else run), Path(LOGS), resume=False, model=None, program="kindling"
    ).file
    content = read(file)
    config = {key: content.get("config", {}).get(key) for key in ("model", "data", "loss")}
    if config["model"] is None or config["data"] is None:
        raise CheckpointError(f"{file} was not written by this project: call its own class's load_from_checkpoint")
    named = {f"{one.__module__}.{one.__qualname__}" for one in classes}
    trust.check_taken(config, named, file, "give its class to kindling.load(..., classes=[...])")
    model_class, data_class = (import_class(config[key]["class_path"], key) for key in ("model", "data"))
    try:
        data = data_class(**config["data"].get("init_args", {}))
        restore_data(data, content)
        model = model_class.load_from_checkpoint(file, map_location="cpu", weights_only=True)
        if isinstance(model, SupervisedModule) and config["loss"]:
            model.set_task(model.task.facts, losses.make_loss(config["loss"]))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} does not fit {model_class.__name__} and {data_class.__name__}: {error}"
        ) from error
    return model.eval(), data


def restore_data(data: LightningDataModule, content: dict[str, Any]) -> None:
    """Hand what the training found out about its data back, before the data is read or asked for facts."""
    state = content.get(type(data).__qualname__)  # where Lightning keeps it
    if state is not None:
        data.load_state_dict(state)
