"""Events of a grid in PostgreSQL, in Iceberg beside it: each once, whoever is killed."""

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adbc_driver_manager import AdbcStatusCode

from grid import wire
from grid.bridges import iceberg
from grid.bridges.lakehouse import LakeSink
from grid.bridges.postgres import PostgresStore
from grid.bus import Addresses
from grid.errors import BridgeError, UnreachableError
from grid.mender import Arrived
from grid.session import Session, find
from tests.support.grids import LAUNCH, Grid
from tests.support.postgres_server import PostgresServer, needs_postgres
from tests.support.procs import Procs, until

pytestmark = [needs_postgres, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TOPIC = "md.X.SIM.quote"
KEY = "source, source_epoch, topic, topic_seq"


@pytest.fixture(scope="module")
def shared() -> Iterator[PostgresServer]:
    # a short path, for its socket; where `nobody` may come
    with tempfile.TemporaryDirectory(prefix="argonaut-") as folder:
        Path(folder).chmod(0o755)
        made = PostgresServer(Path(folder) / "pg")
        yield made
        made.close()


@pytest.fixture
def server(shared: PostgresServer) -> PostgresServer:
    shared.ask("drop schema if exists test cascade")
    return shared


def quote(seq: int, text: str = "X.SIM") -> Arrived:
    event = wire.Quote(text, seq, 1.0, 1.1, 5.0, 6.0)
    frame = wire.pack(TOPIC, "feed", 1, seq, seq, event)
    return Arrived(0, *wire.unpack(frame), frame)


def seqs(server: PostgresServer) -> list[int]:
    return [n for (n,) in server.ask("select topic_seq from test.quotes order by 1")]


def end_in(catalog: Any) -> bool:
    if not catalog.table_exists("test.events"):
        return False
    return "end" in catalog.load_table("test.events").scan().to_arrow()["kind"].to_pylist()


def test_store_holds_every_kind_and_gets_the_columns_it_lacks(server: PostgresServer) -> None:
    store = PostgresStore(server.uri, "test")
    sink = LakeSink(store)
    sink.put(quote(1))
    sink.flush()
    with pytest.raises(UnreachableError, match="another process writes it"):
        PostgresStore(server.uri, "test")
    store.close()
    server.ask("alter table test.quotes drop column history")  # as by an older version
    depth = wire.Depth("X.SIM", 5, (1.0, 0.9), (1.1, 1.2), (5.0, 0.0), (6.0, 7.0))
    frame = wire.pack("md.X.SIM.depth", "feed", 1, 1, 1, depth)
    store = PostgresStore(server.uri, "test")
    sink = LakeSink(store)
    sink.put(quote(2, "zero\0"))
    sink.put(Arrived(0, *wire.unpack(frame), frame))
    sink.flush()
    store.close()
    found = server.ask("select instrument_id, history from test.quotes order by topic_seq")
    assert found == [("X.SIM", None), ("zero\ufffd", False)]
    assert server.ask("select bid_pxs, ask_qtys from test.depths") == [([1.0, 0.9], [6.0, 7.0])]


def test_commit_whose_answer_is_lost_is_made_once(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(server.uri, "test")
    sink = LakeSink(store, flush_rows=2, flush_s=0.0)
    done = store._connection.commit

    def lost() -> None:
        done()
        raise store._driver.OperationalError("gone", status_code=AdbcStatusCode.IO)

    monkeypatch.setattr(store._connection, "commit", lost)
    sink.put(quote(1))
    sink.put(quote(2))
    assert sink.full
    assert sink.failures == 1
    sink.put(quote(3))
    until(lambda: sink.turn(1e12) or not sink.full, "the store")
    sink.close()
    store.close()
    assert seqs(server) == [1, 2, 3]


def test_store_refused_by_the_database_says_so(server: PostgresServer) -> None:
    server.ask("create schema test")
    server.ask("create table test.quotes (source int)")
    store = PostgresStore(server.uri, "test")
    sink = LakeSink(store)
    sink.put(quote(1))
    with pytest.raises(BridgeError, match="expected the column source as text, found int4"):
        sink.flush()  # COPY would have taken the text `feed` for a number
    store.close()


def test_grid_is_in_postgres_and_iceberg_once_whatever_is_killed(
    procs: Procs,
    addresses: Addresses,
    tmp_path: Path,
    server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARGONAUT_POSTGRES", server.uri)
    section = (
        "[postgres]\nflush_s = 0.05\n"
        '[lakehouse]\nformat = "iceberg"\nflush_s = 0.05\ncompact_files = 4\n'
    )
    options = {"feed": {"speed": 40}, "node": {"stop_at_end": "false"}}
    grid = Grid(tmp_path, addresses, agents=section, **options)
    up = grid.up(procs)
    up.expect("ready bridge-lakehouse", 90.0)
    pids = {name: grid.pid_of(name) for name in ("bridge-postgres", "bridge-lakehouse")}
    folder = (grid.home.lakes / "test").resolve()
    where = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": folder.as_uri()}
    catalog = iceberg.catalog(where)
    until(lambda: catalog.table_exists("test.bars"), "a commit to Iceberg")
    until(lambda: server.has("select 1 from test.bars"), "one to PostgreSQL")
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    server.kill()
    until(lambda: all(grid.pid_of(name) != pid for name, pid in pids.items()), "successors")
    server.start()
    compact = procs.python(  # beside the running bridge
        LAUNCH, "bridge", "lakehouse", "--compact", "--config", grid.config, "--home",
        grid.home.root,
    )  # fmt: skip
    assert compact.wait(60) == 0, compact.text
    ended = "select 1 from test.events where kind = 'end'"
    until(lambda: server.has(ended), "the end in PostgreSQL", 90.0)
    until(lambda: end_in(catalog), "the end in Iceberg", 90.0)
    up.stop(60.0)
    recorded = Counter(
        (e.source, e.epoch, topic, e.seq)
        for topic, e, _ in Session.open(find(grid.home.sessions, "latest"))
        if not topic.startswith("sys.")
    )
    tables = [
        name
        for (name,) in server.ask("select tablename from pg_tables where schemaname = 'test'")
        if name not in ("bridge", "positions")
    ]
    union = " union all ".join(f"select {KEY} from test.{table}" for table in tables)
    assert Counter(map(tuple, server.ask(union))) == recorded
    found: Counter[Any] = Counter()
    for name in tables:
        rows = catalog.load_table(f"test.{name}").scan().to_arrow()
        found.update(zip(*(rows[c.strip()].to_pylist() for c in KEY.split(",")), strict=True))
    assert found == recorded
    (run,) = grid.runs()
    fills = server.ask("select trade_id, px from test.fills order by topic_seq")
    assert fills == [(f.trade_id, f.px) for f in run.fills]
    catalog.close()
