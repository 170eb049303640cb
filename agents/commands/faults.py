"""Commands that prove what a grid did, and that try to make it fail."""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from agents.commands.line import COMMAND, SEED, SET, command
from grid.cli import Args, flag, number, option, whole
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


@command(
    "chaos",
    "break grids on purpose; exit 1 when something breaks that must not",
    "--rounds 20 --seed 7 --fault kill --fault stall",
    option("--rounds", "grids to break, one after the other", type=whole, default=5),
    SEED,
    option("--each", "faults a round", type=whole, default=3),
    option("--fault", "one kind of fault, may be repeated (default: all)", action="append",
           default=[], metavar="NAME"),
    option("--lasting", "seconds that a fault may last", type=number, default=5.0),
    flag("--json", "print one JSON object in the end; progress goes to stderr"),
)  # fmt: skip
def _chaos(args: Args) -> None:
    import msgspec

    from agents.chaos import rounds

    def tell(line: str) -> None:
        print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

    folder = Path(mkdtemp(prefix="argonaut-chaos-"))
    how = {"rounds": args.rounds, "seed": args.seed, "names": args.fault, "each": args.each}
    how["lasting_s"] = args.lasting
    done = rounds.run(folder, COMMAND, **how, tell=tell)
    shutil.rmtree(folder)  # not where something broke
    faults = sum(len(one.faults) for one in done)
    if args.json:
        print(json.dumps({"seed": args.seed, "rounds": msgspec.to_builtins(done)}))
    else:
        print(f"{len(done)} rounds, {faults} faults, seed {args.seed}: nothing broke that must not")


@command(
    "soak",
    "run a grid for long; exit 1 when memory or descriptors grow",
    "--minutes 60 configs/grid.toml --set feed.speed=5",
    option("config", "TOML file of the grid (default: the grid that `chaos` breaks)", nargs="?",
           type=Path),
    option("--minutes", "how long, or until the feed ends", type=number, default=10.0),
    option("--max-kb", "a minute of memory that a process may grow", type=number, default=2_000.0),
    option("--max-fds", "a minute of descriptors likewise", type=number, default=0.5),
    SET,
)  # fmt: skip
def _soak(args: Args) -> None:
    import time

    from agents.chaos import ground
    from agents.soak import watch
    from agents.soak.trend import Bounds
    from grid.home import Home
    from grid.sockets import Addresses

    bounds = Bounds(rss_kb_per_min=args.max_kb, fds_per_min=args.max_fds)
    out = args.home.reports / time.strftime("soak-%Y%m%d-%H%M%S.jsonl", time.gmtime())
    print(f"samples go to {out}; rings of 1 MB, unless set, so that they are full soon", flush=True)
    overrides = ["node.ring_mb=1", "recorder.history_mb=1", *args.set]
    with TemporaryDirectory(prefix="argonaut-") as folder:
        home, config = args.home, args.config
        if config is None:  # many times what people trade, and not more
            overrides = ["feed.speed=20", *overrides]
            home, config = Home(Path(folder) / "home"), Path(folder) / "grid.toml"
            bus = Addresses.ipc(Path(folder) / "bus")
            ground.write_config(config, home, ground.make(home, 0), bus)
        watch.run(
            config,
            home,
            COMMAND,
            minutes=args.minutes,
            bounds=bounds,
            overrides=overrides,
            out=out,
            tell=lambda line: print(line, flush=True),
        )
