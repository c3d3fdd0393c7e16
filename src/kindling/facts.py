"""What a dataset knows about itself, which a network needs to be built, trained and read.

A network asks for a size by naming it as an argument of its ``__init__``. Such an argument is filled from the data and
is no option of the command line, so the two can't disagree.
"""

from dataclasses import dataclass

SIZES = frozenset({"in_features", "in_channels", "image_size", "num_outputs"})  # num_outputs: what the task needs
LARGEST = 3.4028234663852886e38**0.5  # 1.8e19, whose square a float32 still holds, for errors and scores


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Sizes, names and the task of one dataset; ``None`` where it has no such thing.

    Args:
        in_features: Numbers per sample that the network takes, after flattening.
        class_names: One name per class or tag, in label order; empty where the target is a number.
        class_counts: Training samples of each class; empty where the data does not say.
        target: What is predicted, e.g. the name of a table's column.
        targets: The name of each number where several are predicted.
        target_mean: Of the training samples, where the target is a number; one per target where there are several.
            Likewise the next two.
        target_std: Standard deviation, above 0.
        target_min: Lowest value.
        task: What can't be told from the class names: ``multilabel``, or a word for a task that the network brings.
        feature_names: Columns of a table, as they are before ``normalize``.
        in_channels: Colour channels, for images.
        image_size: Height and width in pixels, for square images.
    """

    in_features: int
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    target: str = "label"
    targets: tuple[str, ...] = ()
    target_mean: float | tuple[float, ...] = 0.0
    target_std: float | tuple[float, ...] = 1.0
    target_min: float | tuple[float, ...] = 0.0
    task: str = ""
    feature_names: tuple[str, ...] = ()
    in_channels: int | None = None
    image_size: int | None = None

    @property
    def kind(self) -> str:
        """``binary``, ``multiclass``, ``multilabel`` or ``regression``, or the word that ``task`` gives."""
        return self.task or {0: "regression", 2: "binary"}.get(len(self.class_names), "multiclass")
