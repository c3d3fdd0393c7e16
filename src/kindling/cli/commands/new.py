from kindling.cli import process
from kindling.cli.words import Words
from kindling.errors import UsageError
from kindling.registry import nearest


def new(args: list[str]) -> None:
    """Make a project of your own, or a network or a dataset within one."""
    program = process.program()
    if args[:1] in (["model"], ["data"]) and not {"-h", "--help"} & {*args}:
        from kindling.scaffold import classes

        write = classes.new_model if args[0] == "model" else classes.new_data
        write(" ".join(args[1:]), program)
        return
    if len(args) == 2 and args[1][:1].isupper() and (hint := nearest(args[0], ("model", "data"), "new ")):
        raise UsageError(f"new {' '.join(args)}{hint}")
    from kindling.scaffold import create

    others = (
        f"{program} new model MyNet   writes a network and its test, and names it\n"
        f"{program} new data MyData   likewise a dataset"
    )
    parser = Words("new", "zebra ../zebra", others)
    parser.add_argument("name", metavar="NAME", help="of the project and of its package, such as red_panda")
    parser.add_argument("dest", metavar="DEST", help="its folder, such as ../red_panda; it must not be there yet")
    parser.add_argument("--kind", default=create.KINDS[0], metavar="KIND", help=f"one of {', '.join(create.KINDS)}")
    typed = parser.parse_args(args)
    create.create(typed.name, typed.dest, typed.kind)
