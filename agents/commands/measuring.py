"""Commands that measure, and the demo."""

import json
from pathlib import Path

from agents.commands.line import COMMAND, command
from grid.cli import Args, flag, option, whole
from grid.errors import ConfigError


@command(
    "bench",
    "measure against a baseline in the same run",
    "env --json",
    option(
        "bench",
        "what to measure",
        choices=(
            "env", "data", "parts", "vector", "bus", "decision", "replay", "realism", "train",
            "statistics", "walks", "gateway", "lakehouse", "serving",
        ),
    ),
    flag("--peers", "env: other projects' envs, too, each installed where it is missing"),
    flag("--curve", "bus, decision: behind keys, too, beside the same without"),
    option("--grids", "walks: random walks, a grid each (default: 20)", type=whole),
    flag("--json", "print one JSON object"),
    flag("--markdown", "print the table that the docs hold"),
)  # fmt: skip
def _bench(args: Args) -> None:
    from importlib import import_module

    from agents.bench.report import Row, markdown, result, table

    if args.peers and args.bench != "env":
        raise ConfigError(f"bench {args.bench}: expected --peers with env only")
    if args.curve and args.bench not in ("bus", "decision"):
        raise ConfigError(f"bench {args.bench}: expected --curve with bus or decision only")
    if args.grids is not None and args.bench != "walks":
        raise ConfigError(f"bench {args.bench}: expected --grids with walks only")
    if args.grids == 0:
        raise ConfigError("bench walks: expected --grids of 1 or more, found 0")
    bench = import_module(f"agents.bench.{args.bench}")
    rows: list[Row] = bench.run() if args.grids is None else bench.run(args.grids)
    if args.curve:
        rows += bench.run_curve()
    notes: list[str] = []
    if args.peers:
        from agents.bench.peers import race

        more, notes = race.run()
        rows += more

    if args.json:
        print(json.dumps(result(args.bench, rows, notes)))
    else:
        print(markdown(rows, notes) if args.markdown else table(args.bench, rows, notes))


@command(
    "demo",
    "the whole circle on real data, in under five minutes",
    "",
    flag("--short", "train and trade less, for a quick check"),
)
def _demo(args: Args) -> int:
    from agents.demo import demo

    return demo(args.home, COMMAND, Path(COMMAND[1]).parent, short=args.short)
