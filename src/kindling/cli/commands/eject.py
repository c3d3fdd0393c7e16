from kindling.errors import UsageError


def eject(args: list[str]) -> None:
    """Move Kindling's source from a project's vendor folder to engine, to change it there."""
    from kindling.scaffold import eject

    if args:
        raise UsageError(f"eject takes nothing more: {' '.join(args)}")
    eject.eject()
