"""What a dataset knows about itself and a network needs to be built, trained and read.

A network asks for a size by naming it as an argument of its ``__init__``. Such an argument is filled from the data and
is no option of the command line, so the two can't disagree.
"""

from dataclasses import dataclass

SIZES = frozenset({"in_features", "in_channels", "image_size", "num_outputs"})  # num_outputs: what the loss needs


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Sizes, names and the task of one dataset; ``None`` where the notion makes no sense for it.

    Args:
        in_features: Numbers per sample that the network takes, after flattening.
        class_names: One name per class, in label order; empty where the target is a number.
        target: What is predicted, e.g. the name of a table's column.
        target_mean: Of the training samples, where the target is a number; likewise the next two.
        target_std: Standard deviation, above 0.
        target_min: The lowest.
        feature_names: Columns of a table, as they are before ``normalize``.
        in_channels: Colour channels, for images.
        image_size: Height and width in pixels, for square images.
    """

    in_features: int
    class_names: tuple[str, ...] = ()
    target: str = "label"
    target_mean: float = 0.0
    target_std: float = 1.0
    target_min: float = 0.0
    feature_names: tuple[str, ...] = ()
    in_channels: int | None = None
    image_size: int | None = None

    @property
    def task(self) -> str:
        """``binary``, ``multiclass`` or ``regression``."""
        return {0: "regression", 2: "binary"}.get(len(self.class_names), "multiclass")
