"""Commands that run a grid, and each of its processes."""

from pathlib import Path
from typing import Any

from agents.commands.line import CHILD, COMMAND, KEY, SET, child, command
from grid.cli import Args, number, option
from grid.errors import ConfigError


@command(
    "up",
    "start a whole grid and watch over it",
    "configs/grid.toml --set feed.speed=10",
    option("config", "TOML file of the grid", type=Path),
    SET,
)
def _up(args: Args) -> int:
    from agents.grids import check
    from grid import identity, registrar, supervisor
    from grid.config import load
    from grid.topology import GridConfig, processes

    def tell(notice: Any) -> None:
        print(*filter(None, (notice.kind, notice.name, notice.detail, notice.log)), flush=True)

    config = load(args.config, GridConfig, args.set)
    check(config, args.home)
    if identity.is_on(config.security, config.bus):
        registrar.make_grid_key(args.home.keys)
    # before anything starts
    identity.enter(config.security, config.bus, args.home.keys, config.bind)
    specs = processes(config, COMMAND, args.config, args.home, args.set)
    return supervisor.run(config, specs, args.home, tell)


@command(
    "broker", "one process of a grid: the middle of the bus", "--config configs/grid.toml", *CHILD
)
def _broker(args: Args) -> None:
    from grid import broker
    from grid.epoch import next_epoch

    config, name, life = child(args, "broker")
    audit = args.home.audit / f"{config.name}.jsonl"
    epoch = next_epoch(args.home.epochs, name)
    broker.run(config.bus, life, epoch=epoch, name=name, audit=audit)


@command("record", "one process of a grid: writes a session", "--config configs/grid.toml", *CHILD)
def _record(args: Args) -> None:
    from agents.provenance import versions
    from grid import recorder
    from grid.config import dump
    from grid.epoch import next_epoch
    from grid.process import step_back

    config, name, life = child(args, "recorder")
    step_back()  # it has a queue, and who decides has a deadline
    recorder.run(
        config.bus,
        life,
        args.home.sessions,
        label=config.name,
        epoch=next_epoch(args.home.epochs, name),
        name=name,
        history_bytes=round(config.recorder.history_mb * 1e6),
        fsync_s=config.recorder.fsync_ms / 1e3,
        config=dump(config),
        versions=versions(),
    )


@command("feed", "one process of a grid: plays a dataset", "--config configs/grid.toml", *CHILD)
def _feed(args: Args) -> None:
    from agents.grids import feed

    config, name, life = child(args, "feed")
    feed(config, args.home, name, life, supervised=args.lifeline is not None)


@command(
    "venue",
    "one process of a grid: keeps paper orders and money",
    "--config configs/grid.toml",
    *CHILD,
)
def _venue(args: Args) -> None:
    from grid.epoch import next_epoch
    from grid.paper import venue

    config, name, life = child(args, "venue")
    file = args.home.venues / f"{config.name}.sqlite"
    venue.run(file, config.bus, life, epoch=next_epoch(args.home.epochs, name), name=name)


@command("node", "one process of a grid: trades", "--config configs/grid.toml", *CHILD)
def _node(args: Args) -> None:
    from agents.grids import node_setup
    from grid.node import live

    config, name, life = child(args, "node")
    live.run(node_setup(config, args.home, name), life)


@command(
    "agent",
    "one process of a grid: decides",
    "--config configs/grid.toml --id alpha",
    option("--id", "which agent of the config", required=True),
    *CHILD,
)
def _agent(args: Args) -> None:
    from agents import worker
    from agents.grids import seat, watch

    config, name, life = child(args, f"agent-{args.id}")
    agent = config.agent(args.id)
    if agent is None:
        known = ", ".join(a.id for a in config.agents)
        raise ConfigError(f"--id: expected one of {known}, found {args.id!r}")
    taken = seat(config, agent, args.home)
    watched = watch(agent, taken, args.home)
    worker.run(taken, name, config.bus, args.home.epochs, life, watched)


@command(
    "status",
    "processes, rates, gaps, late and dropped counts, positions of running grids",
    "--seconds 5",
    option("--config", "a grid that no supervisor here has started", type=Path),
    option("--seconds", "to listen", type=number, default=2.5),
    KEY,
)
def _status(args: Args) -> int:
    from grid import status
    from grid.config import load
    from grid.gridstate import running
    from grid.identity import identity_of
    from grid.topology import GridConfig

    if args.config is not None:
        config = load(args.config, GridConfig)
        own = identity_of(config.security, config.bus, args.home.keys, args.key)
        snapshot = status.collect(config.bus, args.seconds, identity=own)
        print(status.render(snapshot))
        return 0 if snapshot.processes else 1
    grids = running(args.home)
    if not grids:
        print(f"no grid is running in {args.home.root}")
    for grid in grids:
        expected = [child.name for child in grid.children]
        print(f"grid {grid.name}, supervisor {grid.pid}")
        own = identity_of(grid.security, grid.addresses, args.home.keys, args.key)
        print(status.render(status.collect(grid.addresses, args.seconds, expected, own)))
    return 0 if grids else 1
