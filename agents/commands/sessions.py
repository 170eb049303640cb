"""Commands on recorded sessions."""

import argparse
from pathlib import Path
from typing import Any

from agents.commands.line import REPLACE, SESSION, command, show
from grid.cli import Args, flag, number, option, pairs, whole
from grid.errors import ConfigError, ParityError


def _moment(text: str) -> Any:
    from grid.cutting import moment
    from grid.errors import DataError

    try:
        return moment(text)
    except DataError as e:
        raise argparse.ArgumentTypeError(f"a decision's number, or: {e}") from e


def _end(text: str) -> Any:
    return text if text in _PLACES else _moment(text)


_PLACES = ("engine", "bus")
FROM = option("--from", "number of a decision, or a time, UTC", type=_moment, dest="since")
TO = option("--to", "the same, of the end", type=_moment, dest="until")


@command("sessions list", "the sessions there are", "")
def _sessions_list(args: Args) -> None:
    from grid.session import table

    print(table(args.home.sessions))


@command("sessions info", "one session: what it holds, what is not whole", "latest", SESSION)
def _sessions_info(args: Args) -> None:
    from grid.session import find, info

    print(info(find(args.home.sessions, args.session)))


@command(
    "sessions verify",
    "hash, chunks, schema, order and gaps of a session; 1 with the first fault",
    "latest",
    SESSION,
)
def _sessions_verify(args: Args) -> int:
    from grid.session import find
    from grid.verifying import Fault, verify

    path = find(args.home.sessions, args.session)
    try:
        found = verify(path)
    except Fault as e:
        print(f"fault: {e}")
        return 1
    print(f"whole: {found.events:,} events in {found.streams} streams, sha256 {found.sha256}")
    for note in found.notes:
        print(f"note: {note}")
    return 0


@command(
    "sessions cut",
    "a part of a session becomes a session that is whole",
    "latest --from 100 --to 200",
    SESSION,
    FROM,
    TO,
    option("--label", "end of the new session's id (default: the old one's, and `cut`)"),
)
def _sessions_cut(args: Args) -> None:
    from grid.cutting import Span
    from grid.session import find
    from grid.splice import cut

    path = find(args.home.sessions, args.session)
    span = Span(args.since, args.until)
    _tell(cut(path, span, args.home.sessions, args.label or ""))


@command(
    "sessions merge",
    "several sessions of a grid, or parts of one, become one session",
    "20261124-061500-eurusd 20261124-062000-eurusd",
    option("sessions", "ids, folders or files", nargs="+"),
    option("--label", "end of the new session's id (default: the first one's, and `merged`)"),
)
def _sessions_merge(args: Args) -> None:
    from grid.session import find
    from grid.splice import merge

    paths = [find(args.home.sessions, name) for name in args.sessions]
    _tell(merge(paths, args.home.sessions, args.label or ""))


def _tell(made: Any) -> None:
    print(
        f"{made.folder.name}: {made.events:,} events, {made.duplicates:,} duplicates removed, "
        f"{made.missing:,} missing"
    )


@command(
    "sessions export",
    "a session's market data as a dataset; or all of it as tables, or for a viewer",
    "latest --name replayed",
    SESSION,
    option(
        "--format",
        "`foxglove` is JSON in MCAP, `lake` and `feather` are all events by kind",
        choices=("dataset", "parquet", "csv", "lake", "feather", "iceberg", "foxglove"),
        default="dataset",
    ),
    option("--name", "of the dataset, or of the namespace in an Iceberg catalog"),
    option("--out", "folder of the tables, or file for the viewer", type=Path),
    option(
        "--catalog",
        "Iceberg: another than SQLite in that folder, as in type=rest,uri=http://HOST:8181",
        type=pairs,
        default={},
        metavar="KEY=VALUE,...",
    ),
    REPLACE,
)
def _sessions_export(args: Args) -> None:
    from grid.session import Session, find

    path = find(args.home.sessions, args.session)
    if args.format == "dataset":
        from agents.replaying import export

        if not args.name:
            raise ConfigError("sessions export: expected --name, found none")
        export(path, args.name, args.home, replace=args.replace)
        show(args.home, args.name)
        return
    if args.out is None:
        raise ConfigError(f"sessions export --format {args.format}: expected --out, found none")
    if args.format == "foxglove":
        from grid.viewable import write

        print(f"{write(Session.open(path), args.out):,} events in {args.out}")
        return
    if args.format == "iceberg":
        from grid.bridges import iceberg

        where = {"warehouse": args.out.resolve().as_uri(), **args.catalog}
        found = iceberg.catalog(where if args.catalog else iceberg.local(args.out))
        name = args.name or "argonaut"
        for table, rows in iceberg.to_iceberg(Session.open(path), found, name).items():
            print(f"{rows:>10,}  {name}.{table}")
        return
    if args.format in ("lake", "feather"):
        from grid.bridges import exporting

        rows_of = exporting.to_lake if args.format == "lake" else exporting.to_feather
        for name, rows in rows_of(Session.open(path), args.out).items():
            print(f"{rows:>10,}  {args.out / name}")
        return
    from agents.tables import export as export_tables

    for name, rows in export_tables(path, args.out, args.format).items():
        print(f"{rows:>10,}  {args.out / name}.{args.format}")


@command(
    "sessions pack",
    "a session with all that its replay needs, in one file",
    "latest --out morning.argonaut",
    SESSION,
    option("--out", "the file", type=Path, required=True),
)
def _sessions_pack(args: Args) -> None:
    from agents.packing import pack
    from grid.session import find

    manifest = pack(find(args.home.sessions, args.session), args.out, args.home)
    size = args.out.stat().st_size
    print(f"{args.out}: {size:,} bytes, {len(manifest.members)} members, {manifest.session}")


@command(
    "sessions validate",
    "a packed session: its digests, and its replay, bit for bit; 1 where it differs",
    "morning.argonaut",
    option("file", "made by `sessions pack`", type=Path),
)
def _sessions_validate(args: Args) -> int:
    from agents.packing import validate

    found = validate(args.file)
    print(found.text)
    return 0 if found.equal else 1


@command(
    "replay",
    "a session through the engine again and compared, or back to the bus",
    "latest --to bus --speed 100",
    SESSION,
    FROM,
    option(
        "--to",
        "`engine` to compare (the default), or `bus` to play to agents; and the end, as in --from",
        type=_end,
        action="append",
        default=[],
        metavar="engine|bus|MOMENT",
    ),
    option("--agent", "checkpoint or baseline:NAME in place of the recorded champion", default=""),
    option("--speed", "to the bus: times real time, 0 without waiting (default: 1)", type=number),
    flag("--step", "to the bus: a decision each Enter"),
    option(
        "--loop",
        "to the bus: so often, without a number until Ctrl-C",
        type=whole,
        nargs="?",
        const=0,
        metavar="N",
    ),
    option("--config", "to the bus of this grid (default: a broker of its own)", type=Path),
)
def _replay(args: Args) -> int | None:
    from agents import parity, replaying
    from grid import identity
    from grid.config import load
    from grid.cutting import Span
    from grid.session import find
    from grid.topology import GridConfig

    session = find(args.home.sessions, args.session)
    ends = [end for end in args.to if end in _PLACES]
    moments = [end for end in args.to if end not in _PLACES]
    if len(ends) > 1 or len(moments) > 1:
        raise ConfigError("replay: expected --to once for the place and once for the end")
    span = Span(args.since, moments[0] if moments else None)
    if ends == ["bus"]:
        grid = load(args.config, GridConfig) if args.config else None
        if grid is not None:
            identity.enter(grid.security, grid.bus, args.home.keys)
        bus = grid.bus if grid else None
        how = {"speed": 1.0 if args.speed is None else args.speed, "step": args.step}
        how |= {"span": span, "rounds": 1 if args.loop is None else args.loop}
        played = replaying.to_bus(session, args.home, addresses=bus, agent=args.agent, **how)
        print(replaying.render(played))
        # without another end, a person's word is the right one
        return 130 if played.interrupted and args.loop != 0 and not args.step else 0
    if args.speed is not None or args.step or args.config or args.loop is not None:
        raise ConfigError("replay: expected --to bus beside --speed, --step, --loop or --config")
    checks = replaying.to_engine(session, args.home, args.agent, span)
    print(parity.render(checks))
    failed = "; ".join(check.what for check in checks if not check.equal)
    if failed:
        raise ParityError(f"{session}: expected every line to say equal, found not so: {failed}")
    return None
