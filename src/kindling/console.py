"""What is printed once, however many processes there are."""

from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def is_first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0
