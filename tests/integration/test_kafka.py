"""Events of a grid as records of Kafka: each once, in order, whatever is killed.

The broker is librdkafka's mock, which speaks the protocol and can be taken down. With
`ARGONAUT_KAFKA=HOST:PORT` it is a real one, and only what needs no fault of it is tested.
"""

import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from grid import wire
from grid.bridges.config import KafkaConfig
from grid.bridges.kafka import KafkaSink
from grid.bridges.record import place
from grid.bus import Addresses
from grid.mender import Arrived
from grid.session import Session, find
from tests.support import kafka
from tests.support.disks import fill, small_disk
from tests.support.grids import LAUNCH, Grid
from tests.support.procs import Procs, until

__all__ = ["small_disk"]

REAL = os.environ.get("ARGONAUT_KAFKA", "")


def test_bridge_killed_and_broker_down_lose_and_double_no_record(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    broker = None if REAL else procs.python(Path(kafka.__file__))
    servers = REAL or (broker.expect("kafka at").split()[-1] if broker else "")
    topic = f"test-{uuid.uuid4().hex[:8]}"
    section = f'[kafka]\nservers = "{servers}"\ntopic = "{topic}"\n'
    grid = Grid(tmp_path, addresses, feed={"speed": 20}, agents=section)
    file = grid.home.bridges / "test.kafka.json"
    up = grid.up(procs)
    up.expect("ready bridge-kafka", 90.0)
    pid = grid.pid_of("bridge-kafka")
    until(file.is_file, "a position")
    if broker is not None:
        broker.popen.send_signal(signal.SIGUSR1)
    os.kill(pid, signal.SIGKILL)
    until(lambda: grid.pid_of("bridge-kafka") != pid, "its successor")
    if broker is not None:
        broker.popen.send_signal(signal.SIGUSR2)
    assert up.wait(90) == 0
    path = find(grid.home.sessions, "latest")
    recorded = {
        (e.source, e.epoch, topic, e.seq): e
        for topic, e, _ in Session.open(path)
        if not topic.startswith("sys.")
    }
    whole = ("bridge", "kafka", "--session", "latest", "--config", grid.config)
    again = procs.python(LAUNCH, *whole, "--home", grid.home.root)
    assert again.wait(60) == 0, again.text
    sent = int(again.expect("records sent").split()[0].replace(",", ""))
    assert sent < len(recorded) / 2  # the bridge itself had sent what came while the grid ran
    found = kafka.records(servers, topic)
    assert Counter(place(r.headers()) for r in found) == Counter(list(recorded))
    order: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for record in found:
        source, epoch, name, seq = place(record.headers()) or ("", 0, "", 0)
        order[source, epoch, name].append(seq)
        envelope = recorded[source, epoch, name, seq]
        assert record.value() == bytes(envelope.body)
        assert dict(record.headers())["version"] == str(wire.VERSION).encode()
        assert record.key().decode() in name
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in order.values())
    # without its position, the bridge finds at the broker what it has sent
    file.unlink()
    anew = procs.python(LAUNCH, *whole, "--home", grid.home.root)
    assert anew.wait(60) == 0, anew.text
    assert anew.expect("records sent").startswith("0 records sent, ")


def test_position_that_a_full_disk_does_not_take_is_written_when_there_is_room(
    procs: Procs, small_disk: Path
) -> None:
    broker = procs.python(Path(kafka.__file__))
    servers = broker.expect("kafka at").split()[-1]
    file = small_disk / "kafka.json"
    sink = KafkaSink(KafkaConfig(servers=servers, topic="full"), file)
    filler = fill(small_disk)
    topic = "md.X.SIM.quote"
    frame = wire.pack(topic, "feed", 1, 1, 1, wire.Quote("X.SIM", 1, 1.0, 1.1, 5.0, 6.0))
    sink.put(Arrived(0, *wire.unpack(frame), frame))

    def turned(fact: Callable[[], bool]) -> bool:
        sink.turn(time.monotonic())
        return fact()

    until(lambda: turned(lambda: sink.unsaved > 0), "an attempt to write it")
    assert not file.exists()
    filler.unlink()
    until(lambda: turned(file.exists), "the position")
    sink.close()
    assert sink.counters()["acknowledged"] == 1
