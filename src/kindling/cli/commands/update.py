from kindling.errors import UsageError


def update(args: list[str]) -> None:
    """Bring what is new in Kindling into a project that was made with new."""
    from kindling.scaffold import update

    if args:
        raise UsageError(f"update takes nothing more: {' '.join(args)}")
    update.update()
