"""What a dataset knows about itself and a network needs to be built.

A network asks for a fact by naming it as an argument of its ``__init__``. Such an argument is filled from the data and
is no option of the command line, so the two can't disagree.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Sizes and names of one dataset; ``None`` where the notion makes no sense for it.

    Args:
        in_features: Numbers per sample, after flattening.
        num_outputs: Classes.
        class_names: One name per class, in label order.
        in_channels: Colour channels, for images.
        image_size: Height and width in pixels, for square images.
    """

    in_features: int
    num_outputs: int
    class_names: tuple[str, ...]
    in_channels: int | None = None
    image_size: int | None = None


SIZES = frozenset(Facts.__dataclass_fields__) - {"class_names"}
