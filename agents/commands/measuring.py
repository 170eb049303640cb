"""Commands that measure, and the demo."""

import json
from pathlib import Path

from agents.commands.line import COMMAND, command
from grid.cli import Args, flag, option


@command(
    "bench",
    "measure against a baseline in the same run",
    "env --json",
    option(
        "bench",
        "what to measure",
        choices=("env", "vector", "bus", "decision", "replay", "realism"),
    ),
    flag("--json", "print one JSON object"),
)
def _bench(args: Args) -> None:
    from importlib import import_module

    from agents.bench.report import result, table

    rows = import_module(f"agents.bench.{args.bench}").run()
    print(json.dumps(result(args.bench, rows)) if args.json else table(args.bench, rows))


@command(
    "demo",
    "the whole circle on real data, in under five minutes",
    "",
    flag("--short", "train and trade less, for a quick check"),
)
def _demo(args: Args) -> int:
    from agents.demo import demo

    return demo(args.home, COMMAND, Path(__file__).parent, short=args.short)
