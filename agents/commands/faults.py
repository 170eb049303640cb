"""Commands that prove what a grid did, and that try to make it fail."""

from agents.commands.line import command
from grid.cli import Args, option
from grid.errors import InvariantError


@command(
    "check orders",
    "prove from recordings that no order was lost, doubled or misplaced",
    "latest --grid eurusd",
    option("sessions", "ids, folders or `latest`: all that belong together", nargs="+"),
    option("--grid", "name of the grid, for the journal of its paper venue", default=""),
    option("--account", "at the paper venue", default="main"),
)
def _check_orders(args: Args) -> None:
    from grid.paper import log
    from grid.proof.check import check, render
    from grid.proof.evidence import read
    from grid.session import find

    venue = log.read(args.home.venues / f"{args.grid}.sqlite", args.account) if args.grid else None
    folders = [find(args.home.sessions, name) for name in args.sessions]
    checked = check(read(folders, venue))
    print(render(checked))
    if broken := [one.rule for one in checked if one.violations]:
        raise InvariantError(f"{', '.join(args.sessions)}: broken: {'; '.join(broken)}")
