from kindling.cli.words import Words


def eject(args: list[str]) -> None:
    """Move Kindling's source from vendor to engine, to change it there."""
    from kindling.scaffold import eject

    how = "Type it in the project's folder. Its tests come along; update no longer changes the engine then."
    Words("eject", "", how).parse_args(args)
    eject.eject()
