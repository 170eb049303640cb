"""Commands of a person to a running grid."""

from typing import Any, Final

from agents.commands.line import KEY, command
from grid.cli import Args, option

_CONTROL: Final = (
    option("grid", "name of a running grid, or its TOML file"),
    option("--reason", "for the audit log", default=""),
    option("--by", "who asks (default: USER@HOST); a key's own name counts more", default=""),
    KEY,
)


@command(
    "halt", "carry out no action until a person resumes", 'eurusd --reason "odd fills"', *_CONTROL
)
def _halt(args: Args) -> None:
    _control("halt", args)


@command("resume", "end a halt; losses are counted anew", "eurusd", *_CONTROL)
def _resume(args: Args) -> None:
    _control("resume", args)


@command("flatten", "close the position and halt", "configs/grid.toml", *_CONTROL)
def _flatten(args: Args) -> None:
    _control("flatten", args)


def _control(verb: Any, args: Args) -> None:
    from grid import control

    target = control.find(args.grid, args.home)
    said = {"by": args.by, "reason": args.reason, "key": args.key}
    print(control.act(verb, target, args.home, **said))
