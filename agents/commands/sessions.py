"""Commands on recorded sessions."""

from pathlib import Path

from agents.commands.line import NAME, REPLACE, SESSION, command, show
from grid.cli import Args, flag, number, option
from grid.errors import ConfigError, ParityError


@command("sessions list", "the sessions there are", "")
def _sessions_list(args: Args) -> None:
    from grid.session import table

    print(table(args.home.sessions))


@command("sessions info", "one session: what it holds, what is not whole", "latest", SESSION)
def _sessions_info(args: Args) -> None:
    from grid.session import find, info

    print(info(find(args.home.sessions, args.session)))


@command(
    "sessions export",
    "a session's market data becomes a dataset",
    "latest --name replayed",
    SESSION,
    NAME,
    REPLACE,
)
def _sessions_export(args: Args) -> None:
    from agents.replaying import export
    from grid.session import find

    export(find(args.home.sessions, args.session), args.name, args.home, replace=args.replace)
    show(args.home, args.name)


@command(
    "replay",
    "a session through the engine again and compared, or back to the bus",
    "latest --to bus --speed 100",
    SESSION,
    option("--to", "compare, or play to agents", choices=("engine", "bus"), default="engine"),
    option("--agent", "checkpoint or baseline:NAME in place of the recorded champion", default=""),
    option("--speed", "to the bus: times real time, 0 without waiting (default: 1)", type=number),
    flag("--step", "to the bus: a decision each Enter"),
    option("--config", "to the bus of this grid (default: a broker of its own)", type=Path),
)
def _replay(args: Args) -> None:
    from agents import parity, replaying
    from grid import identity
    from grid.config import load
    from grid.session import find
    from grid.topology import GridConfig

    session = find(args.home.sessions, args.session)
    if args.to == "bus":
        grid = load(args.config, GridConfig) if args.config else None
        if grid is not None:
            identity.enter(grid.security, grid.bus, args.home.keys)
        bus = grid.bus if grid else None
        how = {"speed": 1.0 if args.speed is None else args.speed, "step": args.step}
        played = replaying.to_bus(session, args.home, addresses=bus, agent=args.agent, **how)
        print(replaying.render(played))
        return
    if args.speed is not None or args.step or args.config:
        raise ConfigError("replay: expected --to bus beside --speed, --step or --config")
    checks = replaying.to_engine(session, args.home, args.agent)
    print(parity.render(checks))
    failed = "; ".join(check.what for check in checks if not check.equal)
    if failed:
        raise ParityError(f"{session}: expected every line to say equal, found not so: {failed}")
