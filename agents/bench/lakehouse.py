"""Rows per second into tables, as the bridges write them.

rows     frames of quotes through the bridge's follower and sink, committed and synced to disk;
         beside one call that writes the same columns, already gathered, as one file
rows_cpu the same by seconds of this process's CPU, which other work on the machine does not take
iceberg  into Apache Iceberg, a catalog of SQLite on disk; beside one commit of the same columns
postgres into the server that ARGONAUT_POSTGRES names; beside the same. Left out without one
s3       into the place that ARGONAUT_S3 names, at the service of ARGONAUT_S3_ENDPOINT; likewise
kafka_in records of a topic through the feed's inflow onto its tape; beside the client that reads
         them and does nothing. The broker is librdkafka's mock, or that of ARGONAUT_KAFKA
"""

import importlib.util
import os
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from agents.bench.report import Row
from grid import wire
from grid.bridges.config import KafkaConfig, KafkaFeed, S3Config
from grid.bridges.follower import Follower
from grid.bridges.lake import Lake
from grid.bridges.lakehouse import LakeSink, Store
from grid.bridges.places import Bucket
from grid.bridges.position import Position
from grid.bridges.tables import arrow
from grid.dataset import Dataset, Manifest, Quality
from grid.instrument import CurrencyPair
from grid.livetape import LiveTape
from grid.playhead import Playhead
from grid.venue import Venue

ROWS: Final = 300_000
RECORDS: Final = 50_000  # the mock broker keeps no more than some of a partition
ROUNDS: Final = 3
_TOPIC: Final = "md.EUR/USD.SIM.quote"
_PAIR: Final = CurrencyPair(
    id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD"
)
_START_NS: Final = 1_577_836_800_000_000_000


def run() -> list[Row]:
    """Measure; takes about ten seconds, and five for each store."""
    frames = [_frame(seq) for seq in range(1, ROWS + 1)]
    taken = [(topic, e, wire.event(e)) for topic, e in map(wire.unpack, frames)]
    table = arrow("quotes", taken)
    rows = _parquet(frames, table)
    if importlib.util.find_spec("pyiceberg"):
        rows.append(_stored("iceberg", _iceberg, frames, table))
    if os.environ.get("ARGONAUT_POSTGRES"):
        rows.append(_stored("postgres", _postgres, frames, table))
    if os.environ.get("ARGONAUT_S3"):
        rows.append(_stored("s3", _s3, frames, table))
    if importlib.util.find_spec("confluent_kafka"):
        rows.append(_kafka_in(frames[:RECORDS]))
    return rows


def _parquet(frames: list[bytes], table: pa.Table) -> list[Row]:
    bridge, cpu, plain = [], [], []
    for _ in range(ROUNDS):
        with TemporaryDirectory(prefix="argonaut-") as name:
            with Lake(Path(name) / "lake") as lake:
                wall_s, cpu_s = _bridged(lake, frames)
            bridge.append(ROWS / wall_s)
            cpu.append(ROWS / cpu_s)
            started_s = time.perf_counter()
            pq.write_table(table, Path(name) / "plain.parquet", compression="zstd")
            plain.append(ROWS / (time.perf_counter() - started_s))
    baseline = statistics.median(plain)
    return [
        Row.of("rows", statistics.median(bridge), "rows/s", baseline),
        Row.of("rows_cpu", statistics.median(cpu), "rows/s", baseline),
    ]


def _stored(name: str, make: Callable[[Path], Any], frames: list[bytes], table: pa.Table) -> Row:
    bridge, plain = [], []
    for _ in range(ROUNDS):
        with TemporaryDirectory(prefix="argonaut-") as folder:
            store = make(Path(folder))
            bridge.append(ROWS / _bridged(store, frames)[0])
            store.close()
            store = make(Path(folder) / "plain")
            started_s = time.perf_counter()
            store.commit({"quotes": table}, Position(), 0)
            plain.append(ROWS / (time.perf_counter() - started_s))
            store.close()
    return Row.of(name, statistics.median(bridge), "rows/s", statistics.median(plain))


def _iceberg(folder: Path) -> Any:
    from grid.bridges import iceberg

    return iceberg.IcebergStore(iceberg.catalog(iceberg.local(folder)), "bench")


def _postgres(folder: Path) -> Any:
    from grid.bridges.postgres import PostgresStore

    return PostgresStore(os.environ["ARGONAUT_POSTGRES"], f"bench_{uuid.uuid4().hex[:8]}")


def _s3(folder: Path) -> Any:
    where = f"{os.environ['ARGONAUT_S3']}/{uuid.uuid4().hex[:8]}"
    return Lake(Bucket(where, S3Config(endpoint=os.environ.get("ARGONAUT_S3_ENDPOINT", ""))))


def _frame(seq: int) -> bytes:
    px = 1.1 + seq % 1_000 / 1e5
    quote = wire.Quote("EUR/USD.SIM", _START_NS + seq * 1_000_000, px, px + 1e-5, 1e6, 1e6)
    return wire.pack(_TOPIC, "node", 1, seq, _START_NS + seq, quote)


def _bridged(store: Store, frames: list[bytes]) -> tuple[float, float]:
    started_s, began_s = time.perf_counter(), time.process_time()
    sink = LakeSink(store)
    follower = Follower("bench", Position(), ("md.",))
    for frame in frames:
        for event in follower.take(frame, 0.0):
            sink.put(event)
    sink.close()
    assert sink.rows == ROWS
    return time.perf_counter() - started_s, time.process_time() - began_s


def _kafka_in(frames: list[bytes]) -> Row:
    from confluent_kafka import Consumer, Producer, TopicPartition

    from grid.bridges.inflow import Inflow
    from grid.bridges.kafka import KafkaSink

    mock = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
    found = mock.list_topics(timeout=10.0).brokers.values()
    servers = os.environ.get("ARGONAUT_KAFKA") or ",".join(f"{b.host}:{b.port}" for b in found)
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    rates, plain = [], []
    with TemporaryDirectory(prefix="argonaut-") as folder:
        sink = KafkaSink(KafkaConfig(servers=servers, topic=topic), Path(folder) / "position")
        sink.play(frames, lambda: False)
        sink.close()
    partitions = mock.list_topics(f"{topic}.md", timeout=10.0).topics[f"{topic}.md"].partitions
    for _ in range(ROUNDS):
        tape = LiveTape(_dataset(), Venue())
        inflow = Inflow(KafkaFeed(servers=servers, topic=f"{topic}.md"), tape, _PAIR.id, None)
        playhead = Playhead(0)
        started_s = time.perf_counter()
        while tape.rows < len(frames):
            inflow.turn(playhead)
            tape.release(tape.rows)
        rates.append(len(frames) / (time.perf_counter() - started_s))
        inflow.close()
        reader = Consumer({"bootstrap.servers": servers, "group.id": "bench"})
        reader.assign([TopicPartition(f"{topic}.md", p, 0) for p in partitions])
        left = len(frames)
        started_s = time.perf_counter()
        while left > 0:
            left -= len(reader.consume(1_000, 0.1))
        plain.append(len(frames) / (time.perf_counter() - started_s))
        reader.close()
    return Row.of("kafka_in", statistics.median(rates), "rows/s", statistics.median(plain))


def _dataset() -> Dataset:
    """Return the one row before those of the topic."""
    columns = {name: np.ones(1) for name in ("bid_px", "ask_px", "bid_qty", "ask_qty")}
    manifest = Manifest(
        name="bench", kind="quotes", instrument=_PAIR, rows=1, start_ns=_START_NS,
        end_ns=_START_NS, fingerprint="", quality=Quality(rows_read=1), source="bench",
    )  # fmt: skip
    return Dataset(Path(), manifest, {"ts_event": np.array([_START_NS]), **columns})
