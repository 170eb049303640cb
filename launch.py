"""The command line: each command with its options above it; it loads the config, calls one function.

A command imports what it runs when it runs it, so that the light processes stay light.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from grid.errors import ArgonautError, ConfigError, ParityError
from grid.home import DEFAULT, Home

type Args = argparse.Namespace
type Run = Callable[[Args], int | None]

COMMAND: Final = (sys.executable, str(Path(__file__).resolve()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the input is at fault."""
    try:
        args = _parser().parse_args(argv)
        code = args.run(args) or 0
        print(end="", flush=True)  # what cannot be written is an error here, not after the end
        return int(code)
    except ArgonautError as e:
        return _fail(str(e), e.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # whoever read has left: of no use to tell anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as e:
        return _fail(f"{e.filename}: {e.strerror}" if e.filename else str(e), 1)
    except Exception as e:
        with tempfile.NamedTemporaryFile("w", prefix="argonaut-", delete=False) as file:
            traceback.print_exception(e, file=file)
        what = " ".join(f"{type(e).__name__}: {e}".split())
        return _fail(f"a fault of the program itself, {what}; traceback in {file.name}", 1)


def _fail(why: str, code: int) -> int:
    print(f"argonaut: {why}", file=sys.stderr)
    return code


# -- options ---------------------------------------------------------------------------------------


class _Option(NamedTuple):
    names: tuple[str, ...]
    how: dict[str, Any]


class _Command(NamedTuple):
    words: list[str]
    run: Run
    what: str
    example: str
    options: tuple[_Option, ...]


_COMMANDS: Final[list[_Command]] = []
_GROUPS: Final = {"data": "import, list and describe market data", "sessions": "look at recordings"}


def _option(*names: str, **how: Any) -> _Option:
    return _Option(names, how)


def _flag(name: str, what: str) -> _Option:
    return _Option((name,), {"action": "store_true", "help": what})


def _command(words: str, what: str, example: str, *options: _Option) -> Callable[[Run], Run]:
    """Make the function below a command."""

    def register(run: Run) -> Run:
        _COMMANDS.append(_Command(words.split(), run, what, f"argonaut {words} {example}", options))
        return run

    return register


def _home(text: str) -> Home:
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, found the file {text}")
    return Home(Path(text))


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0, found {text!r}")
    return value


_HOME: Final = _option(
    "--home", type=_home, default=str(DEFAULT), metavar="FOLDER",
    help="of datasets, runs and sessions (default: %(default)s)",
)  # fmt: skip
_SET: Final = _option(
    "--set", action="append", default=[], metavar="KEY=VALUE",
    help="override a key of the file, as in feed.speed=10; may be repeated",
)  # fmt: skip
_NAME: Final = _option("--name", required=True, help="of the dataset")
_REPLACE: Final = _flag("--replace", "replace a dataset of that name")
_SEED: Final = _option(
    "--seed", type=_whole, default=0, help="of what is random (default: %(default)s)"
)
_CHECKPOINT: Final = _option(
    "checkpoint", type=Path, help="folder of a checkpoint, or of a run for its latest"
)
_SESSION: Final = _option("session", help="id, folder, file, or `latest`")
_CHILD: Final = (
    _option("--config", type=Path, required=True, help="TOML file of the grid"),
    _option("--name", help="of the process (default: as the supervisor names it)"),
    _SET,
    _option("--lifeline", type=_whole, metavar="FD", help="set by the supervisor"),
)


# -- data ------------------------------------------------------------------------------------------


@_command(
    "data import",
    "a CSV or Parquet file becomes a dataset",
    "eurusd.csv --instrument configs/instruments/eurusd.toml --bar 1-HOUR-ASK --timestamp open",
    _option("file", type=Path, help="CSV or Parquet, with a header; CSV may be compressed"),
    _option("--instrument", type=Path, required=True, help="TOML file: what is traded"),
    _option("--name", help="of the dataset (default: the file's name)"),
    _option("--kind", choices=("bars", "quotes", "trades"), default="bars", help="what a row is"),
    _option("--bar", help="step and price, as in 1-HOUR-ASK (default: inferred, and told)"),
    _option(
        "--timestamp", choices=("open", "close"), default="close",
        help="which end of a bar its time marks (default: %(default)s)",
    ),
    _option("--time-format", help="as for strptime (default: ISO or epoch, found out)"),
    _option(
        "--columns", default="", metavar="FIELD=NAME,...",
        help="names of columns that are not found by themselves",
    ),
    _flag("--repair", "drop, sort and round bad rows and count them, instead of refusing"),
    _REPLACE,
)  # fmt: skip
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
            columns=_mapping(args.columns),
            repair=args.repair,
            replace=args.replace,
            progress=progress,
        )
    if manifest.bar and args.bar is None:
        print(f"bars taken for {manifest.bar}, by their distance; --bar says otherwise\n")
    _show(args.home, manifest.name)


@_command("data list", "the datasets there are", "")
def _data_list(args: Args) -> None:
    from envs.data.show import table

    print(table(args.home))


@_command(
    "data info",
    "one dataset: range, quality, fingerprint",
    "eurusd-1h-2017 --verify",
    _option("name", help="of the dataset"),
    _flag("--verify", "compute the fingerprint again and compare"),
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
    _option("kind", choices=("signal", "walk"), help="what it holds"),
    _NAME,
    _option("--rows", type=_whole, default=120_000, help="bars (default: %(default)s)"),
    _SEED,
    _REPLACE,
)
def _data_synthetic(args: Args) -> None:
    from envs.synthetic import write_synthetic

    write_synthetic(
        args.kind, args.name, args.home, n=args.rows, seed=args.seed, replace=args.replace
    )
    _show(args.home, args.name)


# -- train and evaluate ----------------------------------------------------------------------------


@_command(
    "train",
    "train an agent as a TOML file says; Ctrl-C leaves a run that --resume goes on with",
    "configs/train/eurusd-ppo.toml --set run.total_steps=20480",
    _option("config", type=Path, help="TOML file of the run"),
    _SET,
    _flag("--resume", "go on with a run of that name"),
    _flag("--replace", "begin a run of that name anew"),
    _flag("--quiet", "no progress bar"),
)
def _train(args: Args) -> None:
    from agents import config
    from agents.checkpoint import describe
    from agents.training import train

    if args.resume and args.replace:
        raise ConfigError("train: expected --resume or --replace, found both")
    run = config.load(args.config, args.set)
    print(
        describe(
            train(run, args.home, resume=args.resume, replace=args.replace, progress=not args.quiet)
        )
    )


@_command(
    "evaluate",
    "a checkpoint beside baselines, on held-out time",
    ".argonaut/runs/eurusd-ppo",
    _CHECKPOINT,
    _option(
        "--rows", choices=("test", "train"), default="test",
        help="range of the run's config (default: %(default)s)",
    ),
    _option("--start", help="ISO date or time, in place of --rows"),
    _option("--end", help="ISO date or time, not included"),
    _SEED,
    _option("--out", type=Path, help="folder for results (default: in HOME/reports)"),
)  # fmt: skip
def _evaluate(args: Args) -> None:
    from agents.checkpoint import Checkpoint
    from agents.evaluation import evaluate
    from agents.report import write_report
    from agents.scorecard import render

    if (args.start is None) != (args.end is None):
        raise ConfigError("evaluate: expected --start and --end together, found one of them")
    rows = args.rows if args.start is None else (args.start, args.end)
    out = args.out or args.home.reports / f"evaluation-{Checkpoint.open(args.checkpoint).digest}"
    evaluation = evaluate(
        args.checkpoint, args.home, rows=rows, seed=args.seed, out=out, progress=True
    )
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
    "start a whole grid and watch over it until its data ends, or Ctrl-C",
    "configs/grid.toml",
    _option("config", type=Path, help="TOML file of the grid"),
    _SET,
)
def _up(args: Args) -> int:
    from agents.grids import check
    from grid import supervisor
    from grid.config import load
    from grid.topology import GridConfig, processes

    config = load(args.config, GridConfig, args.set)
    check(config, args.home)
    return supervisor.run(
        config,
        processes(config, COMMAND, args.config, args.home, args.set),
        args.home,
        lambda n: print(*filter(None, (n.kind, n.name, n.detail, n.log)), flush=True),
    )


@_command("broker", "one process of a grid: the middle of the bus", "--config g.toml", *_CHILD)
def _broker(args: Args) -> None:
    from grid import broker
    from grid.epoch import next_epoch

    config, name, life = _child(args, "broker")
    broker.run(config.bus, life, epoch=next_epoch(args.home.epochs, name), name=name)


@_command("record", "one process of a grid: writes a session", "--config g.toml", *_CHILD)
def _record(args: Args) -> None:
    from grid import recorder
    from grid.epoch import next_epoch

    config, name, life = _child(args, "recorder")
    epoch = next_epoch(args.home.epochs, name)
    recorder.run(config.bus, life, args.home.sessions, label=config.name, epoch=epoch, name=name)


@_command("feed", "one process of a grid: plays a dataset", "--config g.toml", *_CHILD)
def _feed(args: Args) -> None:
    from agents.grids import feed

    config, name, life = _child(args, "feed")
    feed(config, args.home, name, life, supervised=args.lifeline is not None)


@_command("node", "one process of a grid: trades", "--config g.toml", *_CHILD)
def _node(args: Args) -> None:
    from agents.grids import node_setup
    from grid.node import live

    config, name, life = _child(args, "node")
    live.run(node_setup(config, args.home, name), life)


@_command(
    "agent",
    "one process of a grid: decides",
    "--config g.toml --id alpha",
    _option("--id", required=True, help="which agent of the config"),
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
    "processes, rates, gaps, late and dropped counts and positions of running grids",
    "",
    _option("--config", type=Path, help="a grid that no supervisor here has started"),
    _option("--seconds", type=_number, default=2.5, help="to listen (default: %(default)s)"),
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
    _option(
        "--to", choices=("engine", "bus"), default="engine",
        help="engine: compare observations, actions, orders and fills with the recording; "
        "bus: play it to agents and dashboards (default: %(default)s)",
    ),
    _option("--agent", help="checkpoint or baseline:NAME in place of the recorded champion"),
    _option("--speed", type=_number, help="to bus: times real time, 0 at once (default: 1)"),
    _flag("--step", "to bus: a decision each Enter"),
    _option("--config", type=Path, help="to bus: grid whose broker runs (default: an own one)"),
)  # fmt: skip
def _replay(args: Args) -> None:
    from agents import parity, replaying
    from grid.config import load
    from grid.session import find
    from grid.topology import GridConfig

    session = find(args.home.sessions, args.session)
    if args.to == "bus":
        bus = load(args.config, GridConfig).bus if args.config else None
        speed = 1.0 if args.speed is None else args.speed
        result = replaying.to_bus(
            session, args.home, addresses=bus, speed=speed, step=args.step, agent=args.agent
        )
        print(replaying.render(result))
        return
    if args.speed is not None or args.step or args.config:
        raise ConfigError("replay: expected --to bus with --speed, --step or --config, found none")
    checks = replaying.to_engine(session, args.home, args.agent)
    print(parity.render(checks))
    differ = [check.what for check in checks if not check.equal]
    if differ:
        raise ParityError(f"{session}: not so in {len(differ)} checks: {'; '.join(differ)}")


# -- the rest --------------------------------------------------------------------------------------


@_command(
    "bench",
    "measure against a baseline in the same run",
    "env --json",
    _option("bench", choices=("env", "bus", "decision", "replay"), help="what to measure"),
    _flag("--json", "print one JSON object"),
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
    _flag("--short", "train and trade less, for a quick check"),
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

    name = convert(args.name or role, Name, "--name")
    life = process.start(name, args.lifeline)
    return load(args.config, GridConfig, args.set), name, life


def _show(home: Home, name: str, *, verify: bool = False) -> None:
    from envs.data.show import describe
    from grid.dataset import Dataset

    print(describe(Dataset.find(home.datasets, name), verify=verify))


def _mapping(text: str) -> dict[str, str]:
    pairs = [p.partition("=") for p in text.split(",") if p]
    for field, sign, name in pairs:
        if not (field and sign and name):
            raise ConfigError(f"--columns: expected FIELD=NAME, found {field}{sign}{name}")
    return {field.strip(): name.strip() for field, _, name in pairs}


class _Progress:
    """A bar for functions that report (done, total), shown at the first report to a terminal."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def _show(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, unit=f" {self._unit}", leave=False, disable=None)
        self._bar.update(done - self._bar.n)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def __init__(self, **how: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **how)

    def error(self, message: str) -> Any:
        where = self.prog.removeprefix("argonaut").lstrip()
        self.exit(2, f"argonaut: {f'{where}: ' * bool(where)}{message}; see {self.prog} --help\n")


def _parser() -> _Parser:
    top = _Parser(
        prog="argonaut",
        description="Train RL agents in the engine that trades them, run them on a ZeroMQ grid,\n"
        "record and replay what happened.",
        epilog="example: argonaut demo    (about three minutes, everything once)",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for words, run, what, example, options in _COMMANDS:
        if len(words) > 1 and words[0] not in groups:
            about = _GROUPS[words[0]]
            group = commands.add_parser(
                words[0], help=about, description=about, epilog=f"example: {example}"
            )
            groups[words[0]] = group.add_subparsers(metavar="VERB", required=True)
        parent = groups[words[0]] if len(words) > 1 else commands
        parser = parent.add_parser(
            words[-1], help=what, description=what, epilog=f"example: {example}"
        )
        parser.set_defaults(run=run)
        for names, how in (*options, _HOME):
            parser.add_argument(*names, **how)
    return top


if __name__ == "__main__":
    sys.exit(main())
