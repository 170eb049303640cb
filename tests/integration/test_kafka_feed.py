"""Rows of a Kafka topic traded by a grid: bus, Kafka, bus, and the same rows."""

import os
import signal
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from grid import wire
from grid.bridges.config import KafkaConfig, KafkaFeed
from grid.bridges.inflow import Inflow
from grid.bridges.kafka import KafkaSink
from grid.bridges.plain import as_json
from grid.bus import Addresses
from grid.dataset import Dataset, to_iso
from grid.errors import BridgeError
from grid.livetape import LiveTape
from grid.playhead import Playhead
from grid.session import Session, find
from grid.tape import Tape
from grid.venue import Venue
from tests.support import kafka
from tests.support.feeder import MINUTE_NS, START_NS, write_dataset
from tests.support.grids import FIRST_LIVE, Grid, Watch
from tests.support.procs import Procs, until

REAL = os.environ.get("ARGONAUT_KAFKA", "")


def frames(grid: Grid) -> list[bytes]:
    """What a node's publisher would say of the dataset's live rows."""
    tape = Tape(grid.dataset, Venue(), FIRST_LIVE, grid.dataset.manifest.rows)
    seqs: Counter[str] = Counter()
    found = []
    for i in range(tape.rows * tape.per_row):
        event = tape.event(i)
        topic = wire.topic_of(event)
        seqs[topic] += 1
        found.append(wire.pack(topic, "node", 1, seqs[topic], event.ts_event_ns, event))
    return found


def test_grid_trades_the_rows_of_a_topic_each_once_whatever_is_killed(
    procs: Procs, addresses: Addresses, context: Any, tmp_path: Path
) -> None:
    broker = None if REAL else procs.python(Path(kafka.__file__))
    servers = REAL or (broker.expect("kafka at").split()[-1] if broker else "")
    topic = f"test-{uuid.uuid4().hex[:8]}"
    where = f'{{ servers = "{servers}", topic = "{topic}.md" }}'
    grid = Grid(tmp_path, addresses, feed={"kafka": where})
    ts = grid.dataset.columns["ts_event"]
    grid.config.write_text(
        grid.config.read_text().replace("[node]", f'end = "{to_iso(int(ts[-1]))}"\n[node]')
    )
    told = frames(grid)
    half = len(told) // 2
    # one half as MessagePack, a part of it twice, as a bridge that was killed may send it
    sinks = [
        KafkaSink(KafkaConfig(servers=servers, topic=topic, encoding=encoding), tmp_path / name)
        for name, encoding in (("first", "msgpack"), ("again", "msgpack"), ("second", "json"))
    ]
    running = threading.Event().is_set
    sinks[0].play(told[:half], running)
    sinks[1].play(told[half - 50 : half], running)
    up = grid.up(procs)
    watch = Watch(context, grid)
    watch.outcomes(half // 4, timeout_s=90.0)
    pid = grid.pid_of("feed")
    if broker is not None:
        broker.popen.send_signal(signal.SIGUSR1)
    os.kill(pid, signal.SIGKILL)
    until(lambda: grid.pid_of("feed") != pid, "its successor")
    if broker is not None:
        broker.popen.send_signal(signal.SIGUSR2)
    sinks[2].play(told[half:], running)
    for sink in sinks:
        sink.close()
    watch.close()
    assert up.wait(60) == 0, up.text
    session = Session.open(find(grid.home.sessions, "latest"))
    rows = [wire.event(e) for name, e, _ in session if name.startswith("md.")]
    live = [row for row in rows if isinstance(row, wire.Row.__value__) and not row.history]
    sent = [wire.event(wire.unpack(frame)[1]) for frame in told]
    assert live == sent[:-2]  # the end has come with the quote of the last bar's open
    history = [row.ts_event_ns for row in rows if getattr(row, "history", False)]
    assert history == sorted(history)
    assert history
    assert history[-1] < ts[FIRST_LIVE]


@pytest.fixture
def servers(procs: Procs) -> str:
    return REAL or procs.python(Path(kafka.__file__)).expect("kafka at").split()[-1]


def quote(minute: int) -> wire.Quote:
    return wire.Quote("EUR/USD.SIM", START_NS + minute * MINUTE_NS, 1.0, 1.1, 5.0, 6.0)


def produce(servers: str, topic: str, minutes: range, version: int = wire.VERSION) -> None:
    """Write records as a stranger would, who knows of no bus."""
    producer = Producer(
        {"bootstrap.servers": servers, "queue.buffering.max.messages": 200_000, "linger.ms": 5}
    )
    for minute in minutes:
        headers = [("version", str(version).encode())]
        producer.produce(topic, as_json(quote(minute)), b"EUR/USD.SIM", headers=headers)
        producer.poll(0)
    assert producer.flush(30.0) == 0


def inflow_of(config: KafkaFeed, folder: Path) -> tuple[Inflow, LiveTape, Playhead]:
    dataset = Dataset.open(folder / "data")
    tape = LiveTape(dataset, Venue())
    inflow = Inflow(config, tape, "EUR/USD.SIM", folder / "position.json")
    playhead = Playhead(0)
    inflow.load(playhead)
    until(lambda: inflow.turn(playhead), "the topic")
    return inflow, tape, playhead


def test_topic_is_taken_from_now_on_and_gone_on_with_behind_what_was_processed(
    servers: str, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "data", "quotes", 3)
    topic = f"test-{uuid.uuid4().hex[:8]}"
    config = KafkaFeed(servers=servers, topic=topic, begin="latest")
    produce(servers, topic, range(5, 10))
    inflow, tape, playhead = inflow_of(config, tmp_path)
    assert tape.rows == 0
    produce(servers, topic, range(10, 15))
    produce(servers, topic, range(15, 17), version=99)
    until(lambda: inflow.turn(playhead) and inflow.versions == 2, "the records")
    assert [tape.event(i) for i in range(tape.rows)] == [quote(m) for m in range(10, 15)]
    playhead.subscribe(7)
    playhead.credit(7, 3)
    for _ in range(3):
        playhead.sent(0.0)
    playhead.credit(7, 5)  # two were processed
    inflow.save(playhead)
    inflow.close()
    inflow, tape, playhead = inflow_of(config, tmp_path)
    assert playhead.epoch == 7
    assert [tape.event(i) for i in range(tape.rows)] == [quote(m) for m in range(12, 15)]
    minutes = [(r.ts_event_ns - START_NS) // MINUTE_NS for r in tape.history(0, 100)]
    # of the dataset; of the topic, what was there before; what was processed
    assert minutes == [1, 2, 3, *range(5, 12)]
    inflow.close()
    (tmp_path / "position.json").write_text("{")
    with pytest.raises(BridgeError, match="expected a position in Kafka"):
        inflow_of(config, tmp_path)


@pytest.mark.skipif(bool(REAL), reason="a real broker keeps its records for longer")
def test_records_that_were_deleted_before_they_were_read_are_counted(
    servers: str, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "data", "quotes", 3)
    topic = f"test-{uuid.uuid4().hex[:8]}"
    produce(servers, topic, range(5, 10))
    inflow, tape, playhead = inflow_of(KafkaFeed(servers=servers, topic=topic), tmp_path)
    until(lambda: inflow.turn(playhead) and inflow.read == 5, "the first")
    partitions = [TopicPartition(topic, p) for p in range(4)]
    inflow._consumer.pause(partitions)
    produce(servers, topic, range(10, 120_000))  # the broker keeps a part of them
    inflow._consumer.resume(partitions)

    def all_read() -> bool:
        inflow.turn(playhead)
        tape.release(tape.rows)
        return inflow.read + inflow.expired == 120_000 - 5

    until(all_read, "the last")
    assert inflow.expired > 0
    assert inflow.counters()["missing"] == inflow.expired
    assert inflow.counters()["behind"] == 0.0
    inflow.close()
