"""The command line: parse, load the config, call one function.

Each command imports what it runs when it runs it, so that the light processes stay light.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from grid.errors import ArgonautError, ConfigError, ParityError
from grid.home import DEFAULT, Home

type Run = Callable[[argparse.Namespace], int | None]

COMMAND: Final = (sys.executable, str(Path(__file__).resolve()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the input is at fault."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except ArgonautError as e:
        print(f"argonaut: {e}", file=sys.stderr)
        return e.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141


# -- data ------------------------------------------------------------------------------------------


def _data_import(args: argparse.Namespace) -> None:
    from envs.data.importer import import_file
    from envs.data.show import describe
    from grid import instrument
    from grid.dataset import Dataset

    home = Home(args.home)
    with _Progress("rows") as progress:
        import_file(
            args.file,
            instrument.load(args.instrument),
            name=args.name or args.file.name.split(".")[0],
            home=home,
            kind=args.kind,
            bar=args.bar,
            timestamp=args.timestamp,
            time_format=args.time_format,
            columns=_mapping(args.columns),
            repair=args.repair,
            replace=args.replace,
            progress=progress,
        )
    print(describe(Dataset.find(home.datasets, args.name or args.file.name.split(".")[0])))


def _data_list(args: argparse.Namespace) -> None:
    from envs.data.show import table

    print(table(Home(args.home)))


def _data_info(args: argparse.Namespace) -> None:
    from envs.data.show import describe
    from grid.dataset import Dataset

    print(describe(Dataset.find(Home(args.home).datasets, args.name), verify=args.verify))


def _data_demo(args: argparse.Namespace) -> None:
    from envs.data.demo import import_demo
    from envs.data.show import describe
    from grid.dataset import Dataset

    home = Home(args.home)
    with _Progress("rows") as progress:
        manifest = import_demo(home, progress)
    print(describe(Dataset.find(home.datasets, manifest.name)))


def _data_synthetic(args: argparse.Namespace) -> None:
    from envs.data.show import describe
    from envs.synthetic import write_synthetic
    from grid.dataset import Dataset

    home = Home(args.home)
    write_synthetic(args.kind, args.name, home, n=args.rows, seed=args.seed, replace=args.replace)
    print(describe(Dataset.find(home.datasets, args.name)))


# -- train and evaluate ----------------------------------------------------------------------------


def _train(args: argparse.Namespace) -> None:
    from agents import config
    from agents.checkpoint import describe
    from agents.training import train

    run = config.load(args.config, args.set)
    folder = train(
        run, Home(args.home), resume=args.resume, replace=args.replace, progress=not args.quiet
    )
    print(describe(folder))


def _evaluate(args: argparse.Namespace) -> None:
    from agents.checkpoint import Checkpoint
    from agents.evaluation import evaluate
    from agents.report import write_report
    from agents.scorecard import render

    home = Home(args.home)
    rows = (args.start, args.end) if args.start and args.end else args.rows
    if bool(args.start) != bool(args.end):
        raise ConfigError("evaluate: expected --start and --end together, found one of them")
    out = args.out or home.reports / f"evaluation-{Checkpoint.open(args.checkpoint).digest}"
    evaluation = evaluate(args.checkpoint, home, rows=rows, seed=args.seed, out=out, progress=True)
    report = out / "report.html"
    write_report(report, evaluation)
    print(render(evaluation))
    print(f"report: {report}")


def _checkpoint(args: argparse.Namespace) -> None:
    from agents.checkpoint import describe

    print(describe(args.checkpoint))


# -- the grid --------------------------------------------------------------------------------------


def _up(args: argparse.Namespace) -> int:
    from agents.grids import check
    from grid import supervisor
    from grid.config import load
    from grid.topology import GridConfig, processes

    home = Home(args.home)
    config = load(args.config, GridConfig, args.set)
    check(config, home)
    specs = processes(config, COMMAND, args.config, home, args.set)
    return supervisor.run(
        config,
        specs,
        home,
        lambda notice: print(notice.kind, notice.name, notice.detail, notice.log, flush=True),
    )


def _broker(args: argparse.Namespace) -> None:
    from grid import broker
    from grid.epoch import next_epoch

    config, home, life = _child(args)
    broker.run(config.bus, life, epoch=next_epoch(home.epochs, args.name), name=args.name)


def _record(args: argparse.Namespace) -> None:
    from grid import recorder
    from grid.epoch import next_epoch

    config, home, life = _child(args)
    recorder.run(
        config.bus,
        life,
        home.sessions,
        label=config.name,
        epoch=next_epoch(home.epochs, args.name),
        name=args.name,
    )


def _feed(args: argparse.Namespace) -> None:
    from agents.grids import feed

    config, home, life = _child(args)
    feed(config, home, args.name, life, supervised=args.lifeline is not None)


def _node(args: argparse.Namespace) -> None:
    from agents.grids import node_setup
    from grid.node import live

    config, home, life = _child(args)
    live.run(node_setup(config, home, args.name), life)


def _agent(args: argparse.Namespace) -> None:
    from agents import worker
    from agents.grids import seat

    config, home, life = _child(args)
    agent = config.agent(args.id)
    if agent is None:
        known = ", ".join(a.id for a in config.agents)
        raise ConfigError(f"--id: expected one of {known}, found {args.id!r}")
    worker.run(seat(config, agent), args.name, config.bus, home.epochs, life)


def _status(args: argparse.Namespace) -> int:
    from grid import status
    from grid.config import load
    from grid.gridstate import running
    from grid.topology import GridConfig

    home = Home(args.home)
    if args.config is not None:
        config = load(args.config, GridConfig)
        snapshot = status.collect(config.bus, args.seconds)
        print(status.render(snapshot))
        return 0 if snapshot.processes else 1
    grids = running(home)
    if not grids:
        print(f"no grid is running in {home.root}")
        return 1
    for grid in grids:
        expected = [child.name for child in grid.children]
        print(f"grid {grid.name}, supervisor {grid.pid}")
        print(status.render(status.collect(grid.addresses, args.seconds, expected)))
    return 0


# -- sessions and replay ---------------------------------------------------------------------------


def _sessions_list(args: argparse.Namespace) -> None:
    from grid.session import table

    print(table(Home(args.home).sessions))


def _sessions_info(args: argparse.Namespace) -> None:
    from grid.session import info

    print(info(_session(args)))


def _sessions_export(args: argparse.Namespace) -> None:
    from agents.replaying import export
    from envs.data.show import describe
    from grid.dataset import Dataset

    home = Home(args.home)
    export(_session(args), args.name, home, replace=args.replace)
    print(describe(Dataset.find(home.datasets, args.name)))


def _replay(args: argparse.Namespace) -> None:
    from agents import parity, replaying
    from grid.config import load
    from grid.topology import GridConfig

    home = Home(args.home)
    if args.to == "bus":
        bus = load(args.config, GridConfig).bus if args.config else None
        result = replaying.to_bus(
            _session(args), home, addresses=bus, speed=args.speed, step=args.step, agent=args.agent
        )
        print(replaying.render(result))
        return
    checks = replaying.to_engine(_session(args), home, args.agent)
    print(parity.render(checks))
    if not all(check.equal for check in checks):
        raise ParityError("the replay differs from the recording")


# -- the rest --------------------------------------------------------------------------------------


def _bench(args: argparse.Namespace) -> None:
    from importlib import import_module

    from agents.bench.report import result, table

    rows = import_module(f"agents.bench.{args.bench}").run()
    print(json.dumps(result(args.bench, rows)) if args.json else table(args.bench, rows))


def _demo(args: argparse.Namespace) -> int:
    from agents.demo import demo

    return demo(Home(args.home), COMMAND, Path(__file__).parent, short=args.short)


# -- parsing ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="argonaut",
        description="Train RL agents in the engine that trades them, run them on a ZeroMQ grid, "
        "record and replay what happened.",
        epilog="example: argonaut demo    (about three minutes, everything once)",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _data_parser(commands)
    _learning_parsers(commands)
    _grid_parsers(commands)
    _session_parsers(commands)

    bench = _add(
        commands,
        "bench",
        _bench,
        "measure against a baseline in the same run",
        "argonaut bench env --json",
    )
    bench.add_argument(
        "bench", choices=("env", "bus", "decision", "replay"), help="what to measure"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    demo = _add(
        commands,
        "demo",
        _demo,
        "the whole circle on real data, in under five minutes",
        "argonaut demo",
    )
    demo.add_argument(
        "--short", action="store_true", help="train and trade less, for a quick check"
    )
    return top


def _data_parser(commands: Any) -> None:
    data = commands.add_parser("data", help="import, list and describe market data")
    verbs = data.add_subparsers(metavar="VERB", required=True)

    add = _add(
        verbs,
        "import",
        _data_import,
        "a CSV or Parquet file becomes a dataset",
        "argonaut data import eurusd.csv --instrument configs/instruments/eurusd.toml "
        "--bar 1-HOUR-ASK --timestamp open",
    )
    add.add_argument("file", type=Path, help="CSV or Parquet, with a header")
    add.add_argument("--instrument", type=Path, required=True, help="TOML file, what is traded")
    add.add_argument("--name", help="of the dataset (default: the file's name)")
    add.add_argument(
        "--kind",
        choices=("bars", "quotes", "trades"),
        default="bars",
        help="what a row is (default: %(default)s)",
    )
    add.add_argument(
        "--bar", help="step and price, as in 1-HOUR-ASK (default: step from the data, price LAST)"
    )
    add.add_argument(
        "--timestamp",
        choices=("open", "close"),
        default="close",
        help="which end of a bar its time marks (default: %(default)s)",
    )
    add.add_argument("--time-format", help="as for strptime (default: ISO or epoch, found out)")
    add.add_argument(
        "--columns",
        default="",
        metavar="FIELD=NAME,...",
        help="names of columns that are not found by themselves",
    )
    add.add_argument(
        "--repair",
        action="store_true",
        help="drop, sort and round bad rows and count them, instead of refusing",
    )
    add.add_argument("--replace", action="store_true", help="replace a dataset of that name")

    _add(verbs, "list", _data_list, "the datasets there are", "argonaut data list")
    info = _add(
        verbs,
        "info",
        _data_info,
        "one dataset: range, quality, fingerprint",
        "argonaut data info eurusd-1h-2017 --verify",
    )
    info.add_argument("name", help="of the dataset")
    info.add_argument("--verify", action="store_true", help="compute the fingerprint again")
    _add(
        verbs,
        "demo",
        _data_demo,
        "import the real hourly EUR/USD bars of the demo",
        "argonaut data demo",
    )
    synthetic = _add(
        verbs,
        "synthetic",
        _data_synthetic,
        "a market with a known best policy, or a random walk",
        "argonaut data synthetic signal --name planted --rows 120000",
    )
    synthetic.add_argument("kind", choices=("signal", "walk"), help="what it holds")
    synthetic.add_argument("--name", required=True, help="of the dataset")
    synthetic.add_argument("--rows", type=int, default=120_000, help="bars (default: %(default)s)")
    synthetic.add_argument(
        "--seed", type=int, default=0, help="of the market (default: %(default)s)"
    )
    synthetic.add_argument("--replace", action="store_true", help="replace a dataset of that name")


def _learning_parsers(commands: Any) -> None:
    train = _add(
        commands,
        "train",
        _train,
        "train an agent as a TOML file says",
        "argonaut train configs/train/eurusd-ppo.toml --set run.total_steps=20480",
    )
    train.add_argument("config", type=Path, help="TOML file of the run")
    _set(train)
    train.add_argument("--resume", action="store_true", help="go on with a run of that name")
    train.add_argument("--replace", action="store_true", help="begin a run of that name anew")
    train.add_argument("--quiet", action="store_true", help="no progress bar")

    judge = _add(
        commands,
        "evaluate",
        _evaluate,
        "a checkpoint beside baselines, on held-out time",
        "argonaut evaluate .argonaut/runs/eurusd-ppo",
    )
    judge.add_argument("checkpoint", type=Path, help="a checkpoint, or a run for its latest")
    judge.add_argument(
        "--rows",
        choices=("test", "train"),
        default="test",
        help="range of the run's config (default: %(default)s)",
    )
    judge.add_argument("--start", help="ISO date or time, in place of --rows")
    judge.add_argument("--end", help="ISO date or time, not included")
    judge.add_argument("--seed", type=int, default=0, help="of the random baseline")
    judge.add_argument("--out", type=Path, help="folder for results (default: in HOME/reports)")

    show = _add(
        commands,
        "checkpoint",
        _checkpoint,
        "verify and describe a checkpoint",
        "argonaut checkpoint .argonaut/runs/eurusd-ppo",
    )
    show.add_argument("checkpoint", type=Path, help="a checkpoint, or a run for its latest")


def _grid_parsers(commands: Any) -> None:
    up = _add(
        commands, "up", _up, "start a whole grid and watch over it", "argonaut up configs/grid.toml"
    )
    up.add_argument("config", type=Path, help="TOML file of the grid")
    _set(up)
    children: tuple[tuple[str, str, Run, str], ...] = (
        ("broker", "broker", _broker, "the middle of the bus"),
        ("record", "recorder", _record, "write a session of all that passes"),
        ("feed", "feed", _feed, "play a dataset as a venue's data"),
        ("node", "node", _node, "trade: the live node with its strategy"),
        ("agent", "agent", _agent, "decide: one agent"),
    )
    for command, name, run, what in children:
        more = " --id alpha" if command == "agent" else ""
        child = _add(
            commands,
            command,
            run,
            f"{what} (one process of a grid)",
            f"argonaut {command} --config configs/grid.toml{more}",
        )
        child.add_argument("--config", type=Path, required=True, help="TOML file of the grid")
        child.add_argument("--name", default=name, help="of the process (default: %(default)s)")
        _set(child)
        child.add_argument("--lifeline", type=int, metavar="FD", help="set by the supervisor")
        if command == "agent":
            child.add_argument("--id", required=True, help="which agent of the config")

    status = _add(
        commands,
        "status",
        _status,
        "processes, rates, gaps, positions of running grids",
        "argonaut status",
    )
    status.add_argument("--config", type=Path, help="a grid that no supervisor here has started")
    status.add_argument(
        "--seconds", type=float, default=2.5, help="to listen (default: %(default)s)"
    )


def _session_parsers(commands: Any) -> None:
    sessions = commands.add_parser("sessions", help="list, describe and export recorded sessions")
    verbs = sessions.add_subparsers(metavar="VERB", required=True)
    _add(verbs, "list", _sessions_list, "the sessions there are", "argonaut sessions list")
    info = _add(
        verbs,
        "info",
        _sessions_info,
        "one session: what it holds, what is not whole",
        "argonaut sessions info latest",
    )
    export = _add(
        verbs,
        "export",
        _sessions_export,
        "a session's market data becomes a dataset",
        "argonaut sessions export latest --name replayed",
    )
    export.add_argument("--name", required=True, help="of the dataset")
    export.add_argument("--replace", action="store_true", help="replace a dataset of that name")
    replay = _add(
        commands,
        "replay",
        _replay,
        "a session through the engine again, or back to the bus",
        "argonaut replay latest    or    argonaut replay latest --to bus --speed 100",
    )
    for parser in (info, export, replay):
        parser.add_argument("session", help="id, folder, file, or `latest`")
    replay.add_argument(
        "--to",
        choices=("engine", "bus"),
        default="engine",
        help="engine: compare observations, actions, orders and fills with the "
        "recording; bus: play it to agents and dashboards",
    )
    replay.add_argument(
        "--agent", help="a checkpoint or baseline:NAME in place of the recorded one"
    )
    replay.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="to the bus: times real time; 0 is as fast as possible",
    )
    replay.add_argument("--step", action="store_true", help="to the bus: a decision each Enter")
    replay.add_argument(
        "--config",
        type=Path,
        help="to the bus: grid whose broker runs already (default: a broker of its own)",
    )


def _add(commands: Any, name: str, run: Run, what: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=what, description=what[0].upper() + what[1:] + ".", epilog=f"example: {example}"
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=DEFAULT,
        metavar="FOLDER",
        help="of datasets, runs and sessions (default: %(default)s)",
    )
    parser.set_defaults(run=run)
    return parser


def _set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key of the file, as in run.total_steps=20480",
    )


def _mapping(text: str) -> dict[str, str]:
    pairs = [p.partition("=") for p in text.split(",") if p]
    for field, sign, name in pairs:
        if not (field and sign and name):
            raise ConfigError(f"--columns: expected FIELD=NAME, found {field}{sign}{name}")
    return {field.strip(): name.strip() for field, _, name in pairs}


def _child(args: argparse.Namespace) -> tuple[Any, Home, Any]:
    """Begin a process of a grid: its config, its home, its lifeline."""
    from grid import process
    from grid.config import load
    from grid.topology import GridConfig

    life = process.start(args.name, args.lifeline)
    return load(args.config, GridConfig, args.set), Home(args.home), life


def _session(args: argparse.Namespace) -> Path:
    from grid.session import find

    return find(Home(args.home).sessions, args.session)


class _Progress:
    """A bar for functions that report (done, total)."""

    def __init__(self, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(unit=f" {unit}", leave=False)

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _show(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)


if __name__ == "__main__":
    sys.exit(main())
