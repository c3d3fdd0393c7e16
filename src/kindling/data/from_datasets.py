"""Datasets or tensors of one's own, from Python: no class to write and no size to name."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from kindling.console import say
from kindling.data.base import DataModule
from kindling.data.loading import Batch, InMemory, MapDataset, stacked, take
from kindling.errors import DataError, UsageError
from kindling.facts import Facts

VAL_SHARE = 0.15
SETS = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}


class FromDatasets(DataModule):
    """Any four datasets, or tensors. Each set is a tuple of tensors or arrays ``(x, y)``, or a map-style ``Dataset``.

    Sizes and classes are read off the training samples: whole numbers are labels of classes, floats are numbers to
    predict, one (N,) or several (N, T). Where a ``Dataset`` has no ``targets``, as those of torchvision do, all its
    samples are read once for this; with ``class_names`` only the first.

    Vectors in tensors, x (N, F), are standardised by mean and standard deviation of the training rows, as networks
    learn slowly from others; pixels in uint8 are divided by 255. All else reaches the network as it is, as a
    ``Dataset`` has transforms of its own.

    Args:
        train: Needed to train; a checkpoint remembers what else was learned from it. It can be a stream, an
            ``IterableDataset``.
        val: If None, 15 % of the training samples are set aside, with the random changes that their ``Dataset`` makes.
        test: Test samples.
        predict: Samples to predict; x alone will do. If None, the test samples.
        class_names: In label order, or the names of the tags; if None, ``train.classes``, or 0, 1, ...
        task: ``multilabel`` if y is (N, T), 1 where a sample has a tag and 0 where not.
        batch_size: Samples per batch.
        num_workers: Processes that read the samples of a ``Dataset`` ahead of time.
        seed: Of the choice of validation samples, independent of the run's seed.

    Raises:
        DataError: The samples or targets are of no such form.
        UsageError: The samples that a command needs were not given.
    """

    def __init__(
        self,
        train: Any = None,
        val: Any = None,
        test: Any = None,
        predict: Any = None,
        class_names: Sequence[str] | None = None,
        task: Literal["", "multilabel"] = "",
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.train_set, self.val_set, self.test_set = _dataset(train), _dataset(val), _dataset(test)
        self.predict_set = self.test_set if predict is None else _dataset(predict)
        self.class_names, self.task = tuple(class_names or getattr(train, "classes", None) or ()), task
        self._facts: Facts | None = None  # of the training samples, or from a checkpoint if one was loaded
        self._mean, self._std = torch.zeros(()), torch.ones(())
        for name in ("val", "test", "predict"):
            if isinstance(getattr(self, f"{name}_set"), IterableDataset):
                raise DataError(f"the {name} samples are a stream, which only train= can be: give a map-style Dataset")
        if isinstance(self.train_set, IterableDataset):
            if self.val_set is None:
                raise DataError("no validation samples can be set aside from a stream: give them, (train, val)")
            return
        if self.train_set is not None and self.val_set is None:
            order = torch.randperm(len(self.train_set), generator=torch.Generator().manual_seed(seed))
            size = max(1, round(VAL_SHARE * len(order)))
            self.train_set, self.val_set = (_part(self.train_set, part) for part in (order[size:], order[:size]))
        if self.train_set is not None and not len(self.train_set):
            raise DataError("there are no training samples, or only one: give more")

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = self._learn()
        return self._facts

    def _learn(self) -> Facts:
        if self.train_set is None:
            raise UsageError("FromDatasets knows no sizes: give it train=, or the state of a checkpoint")
        first, *targets = (column[0] for column in take(self.train_set, [0]))
        if len(targets) != 1:
            raise DataError(f"a training sample has {1 + len(targets)} parts: each has to be (x, y)")
        if isinstance(self.train_set, InMemory) and first.ndim == 1 and first.dtype != torch.uint8:
            self._mean, self._std = _mean_and_std(self.train_set.tensors[0])
        image = first.ndim == 3
        return Facts(
            in_features=first.numel(),
            in_channels=first.shape[0] if image else None,
            image_size=first.shape[1] if image and first.shape[1] == first.shape[2] else None,
            feature_names=("x0", "x1") if first.shape == (2,) else (),  # names the axes of the decision boundary
            **self._about_targets(self._usable(targets[0][None])),
        )

    def _about_targets(self, first: Tensor) -> dict[str, Any]:
        """Keywords of ``Facts``; ``first`` is the first sample's target (1, ...)."""
        if first.ndim > 2 or (first.ndim == 2 and not first.is_floating_point() and self.task != "multilabel"):
            raise DataError(
                f"targets of the shape (N, {', '.join(map(str, first.shape[1:]))}): give labels (N,), numbers (N,) or "
                "(N, T) as floats, or tags (N, T) of 0 and 1 with task='multilabel'"
            )
        if self.task == "multilabel":
            names = self.class_names or tuple(map(str, range(first.shape[-1])))
            return {"class_names": names, "task": self.task, "target": "tags"}
        if not first.is_floating_point():
            return {"class_names": self.class_names or self._classes()}
        y = self._usable(_targets(self.train_set))
        mean, std = _mean_and_std(y)
        several = {"targets": tuple(f"y{n}" for n in range(y.shape[1]))} if y.ndim == 2 else {}
        found = {"target_mean": mean, "target_std": std, "target_min": y.amin(dim=0)}
        numbers = {k: tuple(v.tolist()) if several else v.item() for k, v in found.items()}
        return {"target": "y", **several, **numbers}

    def _classes(self) -> tuple[str, ...]:
        y = _targets(self.train_set)
        if y.min() < 0 or y.max() == 0:
            raise DataError(f"labels from {y.min()} to {y.max()}: at least two classes are needed, numbered 0, 1, ...")
        return tuple(map(str, range(int(y.max()) + 1)))

    def _usable(self, y: Tensor) -> Tensor:
        y = y.squeeze(1) if y.ndim == 2 and y.shape[1] == 1 and self.task != "multilabel" else y  # one number each
        return y.float() if y.is_floating_point() and self.task != "multilabel" else y.long()

    def state_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return {"facts": asdict(self.facts), "mean": self._mean.tolist(), "std": self._std.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Raises:
            DataError: The samples given here are of another size than those that the checkpoint was trained on.
        """
        self._facts = Facts(**state_dict["facts"])
        self._mean, self._std = torch.tensor(state_dict["mean"]), torch.tensor(state_dict["std"])
        for name in SETS.values():
            dataset, trained = getattr(self, f"{name}_set"), self._facts.in_features
            if dataset is not None and (size := take(dataset, [0])[0].numel()) != trained:
                raise DataError(f"the {name} samples have {size} numbers each, but the network takes {trained}")

    def setup(self, stage: str) -> None:
        name = SETS[stage]
        if getattr(self, f"{name}_set") is None:
            raise UsageError(f"FromDatasets was given no {name} samples: give it {name}=")

    def normalize(self, x: Tensor) -> Tensor:
        return x.float() / 255 if x.dtype == torch.uint8 else (x.float() - self._mean.to(x)) / self._std.to(x)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        x, *targets = super().on_after_batch_transfer(batch, dataloader_idx)
        return x, *map(self._usable, targets)


def _dataset(given: Any) -> MapDataset:
    """
    Raises:
        DataError: It is neither tensors of the same length nor a Dataset.
    """
    given = given.tensors if isinstance(given, TensorDataset) else given
    if isinstance(given, tuple) or hasattr(given, "__array__"):
        tensors = [torch.as_tensor(t) for t in (given if isinstance(given, tuple) else [given])]
        if len({len(t) for t in tensors}) > 1:
            raise DataError(f"x and y have different lengths: {', '.join(str(len(t)) for t in tensors)}")
        return InMemory(*(t.float() if t.is_floating_point() else t for t in tensors))
    is_map = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    if given is not None and not is_map and not isinstance(given, IterableDataset):
        raise DataError(f"a {type(given).__name__} is no set of samples: give tensors (x, y) or a map-style Dataset")
    return given


def _part(dataset: MapDataset, indices: Tensor) -> MapDataset:
    return InMemory(*dataset[indices]) if isinstance(dataset, InMemory) else Subset(dataset, indices.tolist())


def _targets(dataset: MapDataset) -> Tensor:
    """Of all samples (N, ...)."""
    if isinstance(dataset, InMemory):
        return dataset.tensors[1]
    if isinstance(dataset, Subset):
        if hasattr(dataset.dataset, "targets"):
            return _targets(dataset.dataset)[torch.tensor(dataset.indices)]
    elif hasattr(dataset, "targets") and getattr(dataset, "target_transform", None) is None:
        return torch.as_tensor(dataset.targets)
    if isinstance(dataset, IterableDataset):
        say(f"Reading {type(dataset).__name__} once for its targets; of classes, class_names= would do instead")
        return torch.cat([stacked([sample])[1] for sample in dataset])
    return torch.cat([take(dataset, [index])[1] for index in range(len(dataset))])  # holds one sample at a time


def _mean_and_std(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column; the standard deviation is 1 where all values are the same."""
    values = values.double()
    mean, std = values.mean(dim=0), values.std(dim=0, correction=0)
    return mean.float(), torch.where(std > 1e-6 * mean.abs(), std, 1).float()
