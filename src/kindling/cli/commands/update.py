from kindling.cli.words import Words


def update(args: list[str]) -> None:
    """Bring what is new in Kindling into a project made with new."""
    from kindling.scaffold import update

    how = "Type it in the project's folder, with all changes committed: it merges Kindling's into yours."
    Words("update", "", how).parse_args(args)
    update.update()
