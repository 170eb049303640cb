"""Commands that lead a grid's events to other systems."""

from pathlib import Path
from typing import Any, Final

from agents.commands.line import CHILD, child, command
from grid.cli import Args, flag
from grid.errors import ConfigError

_EXAMPLE: Final = "--config configs/grid.toml"


@command(
    "bridge lakehouse",
    "one process of a grid: keeps its events as tables of Parquet",
    _EXAMPLE,
    *CHILD,
    flag("--compact", "make one file of each partition's small ones, and end"),
)
def _lakehouse(args: Args) -> None:
    from grid.bridges.lake import Lake
    from grid.bridges.lakehouse import LakeSink

    config, name, life = child(args, "bridge-lakehouse")
    section = config.lakehouse or _absent("lakehouse")
    folder = Path(section.folder) if section.folder else args.home.lakes / config.name
    with Lake(folder) as lake:
        if args.compact:
            before, after = lake.compact()
            print(f"{folder}: {before} files, now {after}")
            return
        sink = LakeSink(lake, section.flush_rows, section.flush_s)
        _run(args, config, name, life, sink, section.topics, lake.manifest.saved_ns)


@command(
    "bridge redis",
    "one process of a grid: orders of web clients in, events out",
    _EXAMPLE,
    *CHILD,
)
def _redis(args: Args) -> None:
    try:
        from grid.redis import bridge
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"bridge redis: {e.name} is not installed: pip install 'argonaut-nt[redis]'"
        ) from e
    from grid.epoch import next_epoch

    config, name, life = child(args, "bridge-redis")
    section = config.redis or _absent("redis")
    bridge.run(
        section,
        config.name,
        config.node.strategy_id,
        config.bus,
        life,
        epoch=next_epoch(args.home.epochs, name),
        name=name,
    )


def _run(
    args: Args, config: Any, name: str, life: Any, sink: Any, topics: Any, saved_ns: int
) -> None:
    from grid.bridges import backlog, bridge
    from grid.epoch import next_epoch

    bridge.run(
        config.bus,
        life,
        sink,
        name=name,
        epoch=next_epoch(args.home.epochs, name),
        prefixes=topics,
        backlog=backlog.frames(args.home.sessions, config.name, sink.position, saved_ns, topics),
    )


def _absent(section: str) -> Any:
    raise ConfigError(f"bridge {section}: expected a section [{section}] in the config, found none")
