"""The command line: each command with its options; it loads a config and calls one function.

A command imports what it runs when it runs it, so that the light processes stay light.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from grid.cli import Args, CommandLine, flag, number, option, pairs, whole
from grid.errors import ConfigError, ParityError
from grid.home import Home

COMMAND: Final = (sys.executable, str(Path(__file__).resolve()))

_cli: Final = CommandLine(
    "argonaut",
    "Train RL agents in the engine that trades them, run them on a ZeroMQ grid,\n"
    "record and replay what happened.",
    {
        "data": "import, list and describe market data",
        "check": "look for what would fool you",
        "sessions": "look at recorded sessions",
    },
)
_command: Final = _cli.command

_NAME: Final = option("--name", "of the dataset", required=True)
_REPLACE: Final = flag("--replace", "replace a dataset of that name")
_SEED: Final = option("--seed", "of what is random", type=whole, default=0)
_SET: Final = option(
    "--set", "override a key of the file", action="append", default=[], metavar="KEY=VALUE"
)
_CHECKPOINT: Final = option("checkpoint", "a checkpoint, or a run for its latest", type=Path)
_SESSION: Final = option("session", "id, folder, file, or `latest`")
_CHILD: Final = (
    option("--config", "TOML file of the grid", type=Path, required=True),
    option("--name", "of the process (default: the supervisor's name for it)"),
    _SET,
    option("--lifeline", "set by the supervisor", type=whole, metavar="FD"),
)

_CONTROL: Final = (
    option("grid", "name of a running grid, or its TOML file"),
    option("--reason", "for the audit log", default=""),
    option("--by", "who asks (default: USER@HOST)", default=""),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the input is at fault."""
    return _cli.run(argv)


# -- data ------------------------------------------------------------------------------------------


@_command(
    "data import",
    "a CSV or Parquet file becomes a dataset",
    "eurusd.csv --instrument configs/instruments/eurusd.toml --bar 1-HOUR-ASK --timestamp open",
    option("file", "CSV or Parquet, with a header; CSV may be compressed", type=Path),
    option("--instrument", "TOML file, what is traded", type=Path, required=True),
    option("--name", "of the dataset (default: the file's name)"),
    option("--kind", "what a row is", choices=("bars", "quotes", "trades"), default="bars"),
    option("--bar", "step and price, as in 1-HOUR-ASK (default: from the rows, and told)"),
    option("--timestamp", "the end of a bar it marks", choices=("open", "close"), default="close"),
    option("--time-format", "as for strptime (default: ISO or epoch, found out)"),
    option("--columns", "columns not found by themselves", type=pairs, metavar="FIELD=NAME,..."),
    flag("--repair", "drop, sort and round bad rows and count them, instead of refusing"),
    _REPLACE,
)
def _data_import(args: Args) -> None:
    from envs.data.importer import import_file
    from grid import instrument

    with _Progress("rows") as progress:
        manifest = import_file(
            args.file,
            instrument.load(args.instrument),
            name=args.file.name.split(".")[0] if args.name is None else args.name,
            home=args.home,
            kind=args.kind,
            bar=args.bar,
            timestamp=args.timestamp,
            time_format=args.time_format,
            columns=args.columns,
            repair=args.repair,
            replace=args.replace,
            progress=progress,
        )
    if manifest.bar and args.bar is None:
        print(f"bars of {manifest.bar}, inferred from the rows; --bar says otherwise\n")
    _show(args.home, manifest.name)


@_command("data list", "the datasets there are", "")
def _data_list(args: Args) -> None:
    from envs.data.show import table

    print(table(args.home))


@_command(
    "data info",
    "one dataset: range, quality, fingerprint",
    "eurusd-1h-2017 --verify",
    option("name", "of the dataset"),
    flag("--verify", "compute the fingerprint again"),
)
def _data_info(args: Args) -> None:
    _show(args.home, args.name, verify=args.verify)


@_command("data demo", "import the real hourly EUR/USD bars of the demo", "")
def _data_demo(args: Args) -> None:
    from envs.data.demo import import_demo

    with _Progress("rows") as progress:
        manifest = import_demo(args.home, progress)
    _show(args.home, manifest.name)


@_command(
    "data synthetic",
    "a market with a known best policy, or a random walk",
    "signal --name planted --rows 120000",
    option("kind", "what it holds", choices=("signal", "walk")),
    _NAME,
    option("--rows", "bars", type=whole, default=120_000),
    _SEED,
    _REPLACE,
)
def _data_synthetic(args: Args) -> None:
    from envs.synthetic import write_synthetic

    size = {"n": args.rows, "seed": args.seed}
    write_synthetic(args.kind, args.name, args.home, **size, replace=args.replace)
    _show(args.home, args.name)


@_command("data features", "what an agent can see of the market", "")
def _data_features(args: Args) -> None:
    from envs.features.listing import render

    print(render())


# -- train and evaluate ----------------------------------------------------------------------------


@_command(
    "train",
    "train an agent as a TOML file says",
    "configs/train/eurusd-ppo.toml --set run.total_steps=20480",
    option("config", "TOML file of the run", type=Path),
    _SET,
    flag("--resume", "go on with a run of that name, after Ctrl-C or a crash"),
    flag("--replace", "begin a run of that name anew"),
    flag("--quiet", "no progress bar"),
)
def _train(args: Args) -> None:
    from agents import config

    if args.resume and args.replace:
        raise ConfigError("train: expected --resume or --replace, found both")
    run = config.load(args.config, args.set)  # before seconds pass with loading torch

    from agents.checkpoint import describe
    from agents.training import train

    path = train(run, args.home, resume=args.resume, replace=args.replace, progress=not args.quiet)
    print(describe(path))


@_command(
    "check lookahead",
    "play a run's env on altered futures; nothing before may change",
    "configs/train/eurusd-ppo.toml",
    option("config", "TOML file of the run", type=Path),
    _SET,
    option("--cuts", "rows after which all is altered", type=whole, default=4),
    option("--steps", "decisions before each", type=whole, default=500),
    _SEED,
)
def _check_lookahead(args: Args) -> None:
    from agents import config
    from agents.lookahead import check
    from envs.lookahead.report import render, sentence

    run = config.load(args.config, args.set)
    report = check(run, args.home, cuts=args.cuts, steps=args.steps, seed=args.seed)
    print(render(report))
    if report.wrong:
        raise ParityError(f"{args.config}: look-ahead: {sentence(report)}")


@_command(
    "evaluate",
    "a checkpoint beside baselines, on held-out time",
    ".argonaut/runs/eurusd-ppo",
    _CHECKPOINT,
    option("--rows", "range of the run's config", choices=("test", "train"), default="test"),
    option("--start", "ISO date or time, in place of --rows"),
    option("--end", "ISO date or time, not included"),
    _SEED,
    option("--out", "folder for results (default: in HOME/reports)", type=Path),
)
def _evaluate(args: Args) -> None:
    from agents.checkpoint import Checkpoint
    from agents.evaluation import evaluate
    from agents.report import write_report
    from agents.scorecard import render

    if (args.start is None) != (args.end is None):
        raise ConfigError("evaluate: expected --start and --end together, found one of them")
    rows = args.rows if args.start is None else (args.start, args.end)
    path, home = args.checkpoint, args.home
    out = args.out or home.reports / f"evaluation-{Checkpoint.open(path).digest}"
    evaluation = evaluate(path, home, rows=rows, seed=args.seed, out=out, progress=True)
    report = write_report(out / "report.html", evaluation)
    print(f"{render(evaluation)}\nreport: {report}")


@_command(
    "checkpoint", "verify and describe a checkpoint", ".argonaut/runs/eurusd-ppo", _CHECKPOINT
)
def _checkpoint(args: Args) -> None:
    from agents.checkpoint import describe

    print(describe(args.checkpoint))


# -- the grid --------------------------------------------------------------------------------------


@_command(
    "up",
    "start a whole grid and watch over it",
    "configs/grid.toml --set feed.speed=10",
    option("config", "TOML file of the grid", type=Path),
    _SET,
)
def _up(args: Args) -> int:
    from agents.grids import check
    from grid import supervisor
    from grid.config import load
    from grid.topology import GridConfig, processes

    def tell(notice: Any) -> None:
        print(*filter(None, (notice.kind, notice.name, notice.detail, notice.log)), flush=True)

    config = load(args.config, GridConfig, args.set)
    check(config, args.home)
    specs = processes(config, COMMAND, args.config, args.home, args.set)
    return supervisor.run(config, specs, args.home, tell)


@_command(
    "broker", "one process of a grid: the middle of the bus", "--config configs/grid.toml", *_CHILD
)
def _broker(args: Args) -> None:
    from grid import broker
    from grid.epoch import next_epoch

    config, name, life = _child(args, "broker")
    broker.run(config.bus, life, epoch=next_epoch(args.home.epochs, name), name=name)


@_command(
    "record", "one process of a grid: writes a session", "--config configs/grid.toml", *_CHILD
)
def _record(args: Args) -> None:
    from grid import recorder
    from grid.epoch import next_epoch

    config, name, life = _child(args, "recorder")
    recorder.run(
        config.bus,
        life,
        args.home.sessions,
        label=config.name,
        epoch=next_epoch(args.home.epochs, name),
        name=name,
        history_bytes=round(config.recorder.history_mb * 1e6),
    )


@_command("feed", "one process of a grid: plays a dataset", "--config configs/grid.toml", *_CHILD)
def _feed(args: Args) -> None:
    from agents.grids import feed

    config, name, life = _child(args, "feed")
    feed(config, args.home, name, life, supervised=args.lifeline is not None)


@_command(
    "venue",
    "one process of a grid: keeps paper orders and money",
    "--config configs/grid.toml",
    *_CHILD,
)
def _venue(args: Args) -> None:
    from grid.epoch import next_epoch
    from grid.paper import venue

    config, name, life = _child(args, "venue")
    file = args.home.venues / f"{config.name}.sqlite"
    venue.run(file, config.bus, life, epoch=next_epoch(args.home.epochs, name), name=name)


@_command("node", "one process of a grid: trades", "--config configs/grid.toml", *_CHILD)
def _node(args: Args) -> None:
    from agents.grids import node_setup
    from grid.node import live

    config, name, life = _child(args, "node")
    live.run(node_setup(config, args.home, name), life)


@_command(
    "agent",
    "one process of a grid: decides",
    "--config configs/grid.toml --id alpha",
    option("--id", "which agent of the config", required=True),
    *_CHILD,
)
def _agent(args: Args) -> None:
    from agents import worker
    from agents.grids import seat

    config, name, life = _child(args, f"agent-{args.id}")
    agent = config.agent(args.id)
    if agent is None:
        known = ", ".join(a.id for a in config.agents)
        raise ConfigError(f"--id: expected one of {known}, found {args.id!r}")
    worker.run(seat(config, agent), name, config.bus, args.home.epochs, life)


@_command(
    "status",
    "processes, rates, gaps, late and dropped counts, positions of running grids",
    "--seconds 5",
    option("--config", "a grid that no supervisor here has started", type=Path),
    option("--seconds", "to listen", type=number, default=2.5),
)
def _status(args: Args) -> int:
    from grid import status
    from grid.config import load
    from grid.gridstate import running
    from grid.topology import GridConfig

    if args.config is not None:
        snapshot = status.collect(load(args.config, GridConfig).bus, args.seconds)
        print(status.render(snapshot))
        return 0 if snapshot.processes else 1
    grids = running(args.home)
    if not grids:
        print(f"no grid is running in {args.home.root}")
    for grid in grids:
        expected = [child.name for child in grid.children]
        print(f"grid {grid.name}, supervisor {grid.pid}")
        print(status.render(status.collect(grid.addresses, args.seconds, expected)))
    return 0 if grids else 1


@_command(
    "halt", "carry out no action until a person resumes", 'eurusd --reason "odd fills"', *_CONTROL
)
def _halt(args: Args) -> None:
    _control("halt", args)


@_command("resume", "end a halt; losses are counted anew", "eurusd", *_CONTROL)
def _resume(args: Args) -> None:
    _control("resume", args)


@_command("flatten", "close the position and halt", "configs/grid.toml", *_CONTROL)
def _flatten(args: Args) -> None:
    _control("flatten", args)


# -- sessions and replay ---------------------------------------------------------------------------


@_command("sessions list", "the sessions there are", "")
def _sessions_list(args: Args) -> None:
    from grid.session import table

    print(table(args.home.sessions))


@_command("sessions info", "one session: what it holds, what is not whole", "latest", _SESSION)
def _sessions_info(args: Args) -> None:
    from grid.session import find, info

    print(info(find(args.home.sessions, args.session)))


@_command(
    "sessions export",
    "a session's market data becomes a dataset",
    "latest --name replayed",
    _SESSION,
    _NAME,
    _REPLACE,
)
def _sessions_export(args: Args) -> None:
    from agents.replaying import export
    from grid.session import find

    export(find(args.home.sessions, args.session), args.name, args.home, replace=args.replace)
    _show(args.home, args.name)


@_command(
    "replay",
    "a session through the engine again and compared, or back to the bus",
    "latest --to bus --speed 100",
    _SESSION,
    option("--to", "compare, or play to agents", choices=("engine", "bus"), default="engine"),
    option("--agent", "checkpoint or baseline:NAME in place of the recorded champion", default=""),
    option("--speed", "to the bus: times real time, 0 without waiting (default: 1)", type=number),
    flag("--step", "to the bus: a decision each Enter"),
    option("--config", "to the bus of this grid (default: a broker of its own)", type=Path),
)
def _replay(args: Args) -> None:
    from agents import parity, replaying
    from grid.config import load
    from grid.session import find
    from grid.topology import GridConfig

    session = find(args.home.sessions, args.session)
    if args.to == "bus":
        bus = load(args.config, GridConfig).bus if args.config else None
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


# -- the rest --------------------------------------------------------------------------------------


@_command(
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


@_command(
    "demo",
    "the whole circle on real data, in under five minutes",
    "",
    flag("--short", "train and trade less, for a quick check"),
)
def _demo(args: Args) -> int:
    from agents.demo import demo

    return demo(args.home, COMMAND, Path(__file__).parent, short=args.short)


# -- what commands share ---------------------------------------------------------------------------


def _child(args: Args, role: str) -> tuple[Any, str, Any]:
    """Begin a process of a grid: its config, its name, its lifeline."""
    from grid import process
    from grid.config import convert, load
    from grid.topology import GridConfig, Name

    name: str = convert(args.name or role, Name, "--name")
    life = process.start(name, args.lifeline)
    return load(args.config, GridConfig, args.set), name, life


def _control(verb: Any, args: Args) -> None:
    from grid import control

    target = control.find(args.grid, args.home)
    print(control.act(verb, target, args.home, by=args.by, reason=args.reason))


def _show(home: Home, name: str, *, verify: bool = False) -> None:
    from envs.data.show import describe
    from grid.dataset import Dataset

    print(describe(Dataset.find(home.datasets, name), verify=verify))


class _Progress:
    """A bar for functions that report (done, total), from the first report on, on a terminal."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, unit=f" {self._unit}", leave=False, disable=None)
        self._bar.update(done - self._bar.n)


if __name__ == "__main__":
    sys.exit(main())
