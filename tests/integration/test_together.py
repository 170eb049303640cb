"""Everything beside the trading at once, and every counterpart killed while the grid trades."""

import contextlib
import os
import re
import signal
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import msgspec
import pytest
import redis
import zmq

from grid import status, wire
from grid.bridges import alerts
from grid.bridges.exporting import to_lake
from grid.bridges.record import place
from grid.bus import Addresses
from grid.config import load
from grid.dataset import to_iso
from grid.paper import log
from grid.proof.check import check
from grid.proof.evidence import read
from grid.redis.config import RedisConfig
from grid.redis.orders import Orders
from grid.session import Session, find
from grid.topology import GridConfig
from tests.support import kafka, markets, webhook
from tests.support.gateways import Gateway, free_port
from tests.support.grids import LAUNCH, ROOT, Grid, Watch
from tests.support.postgres_server import PostgresServer, needs_postgres
from tests.support.procs import Proc, Procs, until
from tests.support.redis_server import RedisServer, needs_redis

SHIPPED = ROOT / "configs" / "everything.toml"
BESIDE = "# -- beside the trading"  # the parts of the shipped file begin here
BRIDGES = ("redis", "kafka", "lakehouse", "postgres", "alerts")
QTY, LARGE = 25_000.0, 24_000.0  # of an order by hand; of a fill that is told
KEY = "source, source_epoch, topic, topic_seq"

type Place = tuple[str, int, str, int]


def test_shipped_config_has_every_part_switched_on() -> None:
    config = load(SHIPPED, GridConfig)
    assert sorted(config.bridges) == sorted(BRIDGES)
    assert config.gateway is not None
    assert config.serving is not None
    champion = next(a for a in config.agents if a.role == "champion")
    assert champion.checkpoint.startswith(f"remote:{config.serving.endpoint}?")


class Webhook:
    """What alerts are sent to."""

    def __init__(self, procs: Procs, folder: Path) -> None:
        self._procs = procs
        self._file = folder / "alerts.jsonl"
        self._port = free_port()
        self._proc: Proc
        self.url = f"json://127.0.0.1:{self._port}/"
        self.start()

    def start(self) -> None:
        self._proc = self._procs.python(Path(webhook.__file__), str(self._port), self._file)
        self._proc.expect("listening")

    def kill(self) -> None:
        self._proc.kill()

    def texts(self, title: str) -> list[str]:
        """The texts of the messages of a title."""
        lines = self._file.read_bytes().splitlines() if self._file.exists() else []
        told = [msgspec.json.decode(line) for line in lines]
        return [message["message"] for message in told if message["title"] == title]


class Broker:
    """The mock broker of Kafka; it has its records in memory, so its listeners die and not it."""

    def __init__(self, procs: Procs) -> None:
        self._proc = procs.python(Path(kafka.__file__))
        self.servers = self._proc.expect("kafka at").split()[-1]

    def kill(self) -> None:
        self._proc.popen.send_signal(signal.SIGUSR1)

    def start(self) -> None:
        self._proc.popen.send_signal(signal.SIGUSR2)


class ModelServer:
    """A process of the grid, which is started again by its supervisor."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._pid = 0

    def kill(self) -> None:
        self._pid = self._grid.pid_of("serving")
        os.kill(self._pid, signal.SIGKILL)

    def start(self) -> None:
        until(lambda: self._grid.pid_of("serving") != self._pid, "the model server", 60.0)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path / "redis")
    yield made
    made.close()


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory(prefix="argonaut-") as folder:
        Path(folder).chmod(0o755)  # where `nobody` may come
        made = PostgresServer(Path(folder) / "pg")
        yield made
        made.close()


def beside(grid: Grid, places: dict[str, str]) -> None:
    """Add the parts of the shipped file to a grid's config, with the addresses of a test."""
    parts = SHIPPED.read_text().partition(BESIDE)[2].partition("\n")[2]
    for there, here in places.items():
        assert there in parts, there
        parts = parts.replace(there, here)
    # the champion asks the model server
    before, _, agents = grid.config.read_text().partition("[[agents]]")
    endpoint = grid.addresses.requests.replace("requests", "serving")
    where = f"remote:{endpoint}?model=eurusd&deadline_ms=150&checkpoint={grid.checkpoint.path}"
    agents = agents.replace(f'"{grid.checkpoint.path}"', f'"{where}"')
    grid.config.write_text(f"{before}[[agents]]{agents}\n{parts}")


class Desk:
    """Orders by hand, each asked for until it is answered, and once more."""

    def __init__(self, gateway: Gateway, server: RedisServer) -> None:
        self._gateway = gateway
        self._redis = Orders(server.client, RedisConfig().names("test"))
        self._side = 0
        self.asked: list[str] = []  # keys that Redis took
        self.ids: list[str] = []

    def rest(self) -> None:
        key, side = uuid.uuid4().hex, self._turn()

        def answered() -> str | None:
            with contextlib.suppress(httpx.HTTPError):
                said = self._gateway.order(key, type="market", side=side, qty=QTY)
                if said.status_code in (200, 202):
                    return str(said.json()["client_order_id"])
            return None

        self.ids.append(until(answered, "an answer to an order over REST"))
        assert until(answered, "the same answer once more") == self.ids[-1]

    def redis(self) -> None:
        key, side = uuid.uuid4().hex, self._turn()

        def queued() -> str | None:
            with contextlib.suppress(redis.RedisError):
                return self._redis.submit(key, side, QTY, by="web")
            return None

        assert until(queued, "Redis to take an order") in ("queued", "duplicate")
        assert until(queued, "Redis to answer") == "duplicate"
        self.asked.append(key)

    def settle(self) -> None:
        """Wait for the strategy's answers to what went by Redis."""
        for key in self.asked:
            reply = until(lambda key=key: self._redis.reply(key), f"a reply to {key}", 60.0)  # type: ignore[misc]
            assert reply.status in ("accepted", "duplicate"), reply
            self.ids.append(reply.client_order_id)
        self.asked.clear()

    def _turn(self) -> Any:
        self._side = 1 - self._side
        return "BUY" if self._side else "SELL"


def waits(name: str, event: wire.Event) -> bool:
    """Whether an event says that a process waits for its other side."""
    return isinstance(event, wire.Heartbeat) and (event.name, event.state) == (name, "waiting")


def traded(watch: Watch, n: int, *hows: str) -> None:
    """Wait until `n` decisions have ended after now, in one of these ways if there are any."""
    since_ns = time.time_ns()
    while n:
        event = watch.until(lambda e: isinstance(e, wire.Outcome), "a decision's end", 60.0)
        how = getattr(event, "how", "")
        n -= watch.events[-1][0].ts_pub_ns >= since_ns and (not hows or how in hows)


def in_lake(folder: Path) -> Counter[Place]:
    tables = [p.name for p in folder.iterdir() if p.is_dir() and p.name != "positions"]
    files = (f"select {KEY} from '{folder}/{table}/*/*.parquet'" for table in tables)
    return Counter(duckdb.sql(" union all ".join(files)).fetchall())


def in_postgres(server: PostgresServer) -> Counter[Place]:
    query = "select tablename from pg_tables where schemaname = 'test'"
    tables = [name for (name,) in server.ask(query) if name not in ("bridge", "positions")]
    union = " union all ".join(f"select {KEY} from test.{table}" for table in tables)
    return Counter(map(tuple, server.ask(union)))


def in_kafka(servers: str, topic: str) -> Counter[Place]:
    found = (place(r.headers()) for r in kafka.records(servers, topic))
    return Counter(p or ("", 0, "", 0) for p in found)


def in_redis(server: RedisServer) -> Counter[Place]:
    entries: Any = server.client.xrange(RedisConfig().names("test").events)
    events = (msgspec.json.decode(fields[b"event"]) for _, fields in entries)
    return Counter((e["source"], e["epoch"], e["topic"], e["seq"]) for e in events)


def last_fill(watch: Watch, ids: list[str]) -> int:
    """Wait until all orders are filled; return when the last fill was published, UNIX ns."""

    def filled() -> dict[str, int]:
        fills = ((e.ts_pub_ns, f) for e, f in watch.events if isinstance(f, wire.Fill))
        return {f.client_order_id: at for at, f in fills if f.client_order_id in ids}

    while len(found := filled()) < len(ids):
        watch.until(lambda e: isinstance(e, wire.Fill), "the fills of all orders")
    return max(found.values())


def filled_in(lake: Path, name: str) -> bool:
    """Whether the lake has a fill of an order."""
    found = duckdb.sql(f"select client_order_id from '{lake}/fills/*/*.parquet'")
    return (name,) in found.fetchall()


def shown(gateway: Gateway) -> str:
    """The page of metrics."""
    return httpx.get(f"{gateway.url}/metrics", headers={"X-API-Key": gateway.key}).text


def counters(page: str) -> dict[tuple[str, str], float]:
    """What each process counts, as the page of metrics has it."""
    line = r'^argonaut_process_counter\{process="(.*?)",role=".*?",counter="(.*?)"\} (\S+)$'
    return {(p, c): float(n) for p, c, n in re.findall(line, page, flags=re.MULTILINE)}


@needs_redis
@needs_postgres
@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within the driver of PostgreSQL
def test_every_counterpart_killed_beside_a_trading_grid_loses_and_doubles_nothing(
    procs: Procs,
    addresses: Addresses,
    tmp_path: Path,
    context: "zmq.Context[zmq.Socket[bytes]]",
    redis_server: RedisServer,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hook, broker = Webhook(procs, tmp_path), Broker(procs)
    monkeypatch.setenv("ARGONAUT_ALERTS", hook.url)
    monkeypatch.setenv("ARGONAUT_POSTGRES", postgres.uri)
    grid = Grid(
        tmp_path, addresses, markets.bar_columns(4_000),
        feed={"speed": 20}, node={"venue": '"paper"', "stop_at_end": "false", "ttl_ms": 250},
    )  # fmt: skip
    topic = f"test-{uuid.uuid4().hex[:8]}"
    beside(
        grid,
        {
            "tcp://127.0.0.1:5580": addresses.requests.replace("requests", "serving"),
            ".argonaut/runs/eurusd-ppo": str(grid.checkpoint.path),
            "port = 8080": "port = 0",
            "[gateway]\nport = 8180\n": "",  # the helper's own
            "redis://127.0.0.1:6379/0": redis_server.url,
            "127.0.0.1:9092": broker.servers,
            '"argonaut"': f'"{topic}"',
            "flush_s = 10": "flush_s = 0.2",
            "flush_s = 1\n": "flush_s = 0.2\n",
            "fill_qty = 100000": f"fill_qty = {LARGE}",
            "per_minute = 20": "per_minute = 1000",
        },
    )
    gateway, model = Gateway(grid), ModelServer(grid)
    others: list[Any] = [redis_server, broker, postgres, hook]
    for each in others:  # nobody is there when the grid begins
        each.kill()
    up = grid.up(procs)
    watch = Watch(context, grid)
    try:
        for name in BRIDGES:
            up.expect(f"ready bridge-{name}", 90.0)
        gateway.ready()
        watch.outcomes(20, timeout_s=60.0)
        for name in ("kafka", "postgres"):  # which know only there where to go on
            watch.until(partial(waits, f"bridge-{name}"), f"bridge-{name} to say that it waits")
        for each in others:
            each.start()
        desk = Desk(gateway, redis_server)
        saved = grid.home.bridges / "test.alerts.json"

        def told() -> bool:
            return not alerts.load(saved).kept.waiting

        counterparts = [*others, model]
        for each in counterparts:
            desk.redis()
            desk.settle()
            if each is hook:  # killed between a message and its answer, it would get it again
                traded(watch, 5, "action")
                until(told, "the alerts so far to be sent")
            each.kill()
            desk.rest()
            traded(watch, 10)
            each.start()
        traded(watch, 5, "action")
        until(told, "the alerts so far to be sent", 60.0)
        for each in counterparts:
            each.kill()
        desk.rest()
        desk.rest()
        traded(watch, 20)
        for each in counterparts:
            each.start()
        desk.redis()
        desk.settle()
        traded(watch, 20, "action")  # the champion asks the server again
        cut_ns = last_fill(watch, desk.ids)
        place_of = f"select 1 from test.fills where client_order_id = '{desk.ids[-1]}'"
        until(lambda: postgres.has(place_of), "the last order in PostgreSQL", 60.0)
        lake = grid.home.lakes / "test"
        until(lambda: filled_in(lake, desk.ids[-1]), "the last order in the lake", 60.0)
        until(told, "the last alerts to be sent", 60.0)
        page = until(lambda: shown(gateway), "the page of metrics")
        table = status.render(status.collect(addresses, 1.5))
        children = {child.name: child for child in grid.state().children}
        assert up.stop(60.0) == 0, up.text
    finally:
        watch.close()
        gateway.client.close()

    # no process of the grid died but the model server, which was killed
    assert {child.phase for child in children.values()} == {"ready"}
    assert {n for n, child in children.items() if child.restarts} == {"serving"}
    # trading went on: each decision ended once, by an action or by a fallback that is counted
    path = find(grid.home.sessions, "latest")
    (run,) = grid.runs()
    assert len(run.decisions) >= 120
    fallbacks = sum(o.how == "fallback" for o in run.outcomes.values())
    assert set(run.decisions) - set(run.outcomes) <= {max(run.decisions)}
    assert fallbacks > 0
    counted = counters(page)
    assert counted["agent-alpha", "undecided"] > 0
    beats = (wire.event(e) for t, e, _ in Session.open(path) if t == "sys.node")
    last = [beat for beat in beats if isinstance(beat, wire.Heartbeat)][-1]
    assert last.counters["fallback"] == fallbacks
    # each order by hand happened once
    fills = [f.client_order_id for f in run.fills if f.client_order_id in set(desk.ids)]
    assert sorted(fills) == sorted(desk.ids)
    assert len(set(desk.ids)) == len(desk.ids) == 2 * len(counterparts) + 3
    journal = log.read(grid.home.venues / "test.sqlite", "main")
    assert [one for one in check(read([path], journal)) if one.violations] == []
    # each event is once in each place
    events = [(t, e) for t, e, _ in Session.open(path) if not t.startswith("sys.")]
    recorded = Counter((e.source, e.epoch, t, e.seq) for t, e in events)
    before = {(e.source, e.epoch, t, e.seq) for t, e in events if e.ts_pub_ns <= cut_ns}
    assert max(recorded.values()) == 1
    gone = counted["bridge-redis", "events_dropped"]
    of_redis = {p for p in before if p[2].startswith(RedisConfig().topics)}
    for where, found, expected in (
        ("PostgreSQL", in_postgres(postgres), before),
        ("the lake", in_lake(lake), before),
        ("Kafka", in_kafka(broker.servers, topic), before),
        ("Redis", in_redis(redis_server), of_redis),
    ):
        assert max(found.values()) == 1, where
        assert found.keys() <= recorded.keys(), where
        lacks = expected - found.keys()
        assert len(lacks) == (gone if where == "Redis" else 0), (where, sorted(lacks)[:5])
    # what came after the bridges had ended is added without a word twice
    to_lake(Session.open(path), lake)
    assert in_lake(lake) == recorded
    more = ("--session", "latest", "--config", grid.config, "--home", grid.home.root)
    rest = procs.python(LAUNCH, "bridge", "kafka", *more)
    assert rest.wait(60) == 0, rest.text
    assert in_kafka(broker.servers, topic) == recorded
    # each large fill was told once
    large = [
        f"{f.side} {f.qty:,.10g} at {f.px:.10g}, position {f.position_qty:,.10g}, {to_iso(at)}"
        for at, f in run.events
        if isinstance(f, wire.Fill) and f.qty >= LARGE
    ]
    assert len(large) >= len(desk.ids)
    assert Counter(hook.texts("test: large fill")) == Counter(large)
    # what went wrong meanwhile is shown
    for process, counter in (
        ("bridge-redis", "events_failed"),
        ("bridge-redis", "redis_errors"),
        ("bridge-kafka", "failures"),
        ("bridge-postgres", "failures"),
        ("bridge-alerts", "failed"),
        ("node", "fallback"),
    ):
        assert counted[process, counter] > 0, (process, counter)
    for name in BRIDGES:
        assert counted.get((f"bridge-{name}", "missing"), 0) == 0, name
        assert f"bridge-{name} " in table
