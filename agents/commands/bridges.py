"""Commands that lead a grid's events to other systems."""

from pathlib import Path
from typing import Any, Final

from agents.commands.line import CHILD, child, command
from grid.cli import Args, flag, option
from grid.errors import ConfigError

_EXAMPLE: Final = "--config configs/grid.toml"


@command(
    "bridge lakehouse",
    "one process of a grid: keeps its events as tables of Parquet or Iceberg",
    _EXAMPLE,
    *CHILD,
    flag("--compact", "make one file of a table's small ones, and end"),
)
def _lakehouse(args: Args) -> None:
    from grid.bridges.lakehouse import LakeSink

    config, name, life = child(args, "bridge-lakehouse")
    section = config.lakehouse or _absent("lakehouse")
    folder = section.folder or str(args.home.lakes / config.name)
    if section.format == "iceberg":
        space = section.namespace or config.name
        store = _opened(args, config, name, life, lambda: _iceberg(section, folder, space))
        if store is None:
            return
        if args.compact:
            for table in store.table_names():
                before, after = store.compact(table)
                print(f"{table}: {before} files, now {after}")
            return
        sink = LakeSink(store, section.flush_rows, section.flush_s)
        _run(args, config, name, life, sink, section.topics, store.saved_ns)
        return
    from grid.bridges.lake import Lake
    from grid.bridges.places import place

    def open_it() -> Lake:
        return Lake(place(folder, section.s3), section.compact_files)

    lake = _opened(args, config, name, life, open_it)
    if lake is None:
        return
    with lake:
        if args.compact:
            before, after = lake.compact()
            print(f"{folder}: {before} files, now {after}")
            return
        sink = LakeSink(lake, section.flush_rows, section.flush_s)
        _run(args, config, name, life, sink, section.topics, lake.manifest.saved_ns)


def _iceberg(section: Any, folder: str, namespace: str) -> Any:
    from grid.bridges import iceberg

    properties = section.catalog or iceberg.local(Path(folder))
    catalog = iceberg.catalog(properties)
    return iceberg.IcebergStore(catalog, namespace, section.compact_files)


def _opened(args: Args, config: Any, name: str, life: Any, open_it: Any) -> Any:
    """Return what `open_it` opens, as soon as it answers; None where this process is to stop."""
    import logging
    import time

    from grid.errors import UnreachableError

    with _waiting(args, config, name) as waiting:
        failures = 0
        while not life.stopping:
            try:
                return open_it()
            except UnreachableError as e:
                logging.getLogger(__name__).warning("waiting: %s", e)
            failures += 1
            life.ready()  # it may be long in coming
            life.beat()
            waiting.beat(failures)
            time.sleep(0.5)
    return None


def _waiting(args: Args, config: Any, name: str) -> Any:
    from grid.bridges.waiting import Waiting
    from grid.epoch import next_epoch

    return Waiting(config.bus, name, lambda: next_epoch(args.home.epochs, name))


@command(
    "bridge postgres",
    "one process of a grid: keeps its events as tables of PostgreSQL",
    _EXAMPLE,
    *CHILD,
)
def _postgres(args: Args) -> None:
    import os

    from grid.bridges.lakehouse import LakeSink
    from grid.bridges.postgres import PostgresStore

    config, name, life = child(args, "bridge-postgres")
    section = config.postgres or _absent("postgres")
    uri = os.environ.get(section.uri_env, "")
    if not uri:
        raise ConfigError(
            f"bridge postgres: expected postgresql://USER:PASSWORD@HOST/DATABASE in the environment"
            f" variable {section.uri_env}, found none"
        )
    schema = section.schema or config.name
    store = _opened(args, config, name, life, lambda: PostgresStore(uri, schema))
    if store is None:
        return
    sink = LakeSink(store, section.flush_rows, section.flush_s)
    try:
        _run(args, config, name, life, sink, section.topics, store.saved_ns)
    finally:
        store.close()


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
        backlog=lambda position: backlog.frames(
            args.home.sessions, config.name, position, saved_ns, topics
        ),
    )


def _absent(section: str) -> Any:
    raise ConfigError(f"bridge {section}: expected a section [{section}] in the config, found none")


@command("bridge alerts", "one process of a grid: tells people what matters", _EXAMPLE, *CHILD)
def _alerts(args: Args) -> None:
    import os
    import time

    from grid.bridges import alerts

    config, name, life = child(args, "bridge-alerts")
    section = config.alerts or _absent("alerts")
    urls = os.environ.get(section.urls_env, "").split()
    if not urls:
        raise ConfigError(
            f"bridge alerts: expected addresses of apprise in the environment variable "
            f"{section.urls_env}, found none"
        )
    args.home.bridges.mkdir(parents=True, exist_ok=True)
    file = args.home.bridges / f"{config.name}.alerts.json"
    sink = alerts.AlertSink(config.name, section, file, alerts.Sender(urls), time.time_ns())
    if section.telegram_chats:
        _listen(args, config, section, sink)
    _run(args, config, name, life, sink, alerts.TOPICS, sink.saved_ns)


@command(
    "bridge kafka",
    "one process of a grid: its events as records of Kafka; or those of a session",
    _EXAMPLE,
    *CHILD,
    option("--session", "send this one, and end: id, folder, file, or `latest`"),
)
def _kafka(args: Args) -> None:
    from grid.bridges import backlog
    from grid.bridges.kafka import KafkaSink
    from grid.session import find

    config, name, life = child(args, "bridge-kafka")
    section = config.kafka or _absent("kafka")
    args.home.bridges.mkdir(parents=True, exist_ok=True)
    sink = KafkaSink(section, args.home.bridges / f"{config.name}.kafka.json")
    life.ready()  # a broker may be long in coming

    def stopping() -> bool:
        life.beat()
        return bool(life.stopping)

    with _waiting(args, config, name) as waiting:

        def waits() -> bool:
            if not args.session:  # beside the grid's own, whose name it has
                waiting.beat(sink.failures)
            return stopping()

        if not sink.catch_up(waits):
            return
    if args.session:
        frames = backlog.recorded(
            find(args.home.sessions, args.session), sink.position, section.topics
        )
        sink.play(frames, stopping)
        print(f"{sink.acknowledged:,} records sent, {sink.found:,} found that were there already")
        return
    _run(args, config, name, life, sink, section.topics, sink.saved_ns)


def _listen(args: Args, config: Any, section: Any, sink: Any) -> None:
    import os

    from grid import control
    from grid.bridges.telegram import Bot, Command

    token = os.environ.get(section.telegram_token_env, "")
    if not token:
        raise ConfigError(
            f"bridge alerts: expected a bot's token in the environment variable "
            f"{section.telegram_token_env}, found none"
        )
    target = control.Target(config.name, config.node.strategy_id, config.bus, config.security)

    def act(command: Command) -> str:
        match command.verb:
            case "status":
                return str(sink.status())
            case "positions":
                return str(sink.positions())
            case verb:
                said = {"by": command.by, "reason": command.reason}
                return control.act(verb, target, args.home, **said)

    file = args.home.bridges / f"{config.name}.telegram"
    Bot(section.telegram_api, token, section.telegram_chats, file, act).start()
