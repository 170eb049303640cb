"""The sink that hands events on to Kafka, each once and in order.

A record's key is the instrument or strategy, its headers say where it stands on the bus: `topic`,
`source`, `epoch`, `seq`, `version`, `encoding`. What the broker has acknowledged is kept as a
position; what it took after that was kept is read back from the end of the topics before anything
new is sent. While no broker answers, this sink is full, and what comes meanwhile is fetched later.
"""

import importlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from grid import wire
from grid.bridges.config import KafkaConfig
from grid.bridges.plain import as_json
from grid.bridges.position import Mark, Position
from grid.bridges.record import place
from grid.durable import write_atomic
from grid.errors import BridgeError, ConfigError, ProtocolError
from grid.mender import Arrived

log = logging.getLogger(__name__)

SAVE_S: Final = 1.0
END_S: Final = 3.0  # at the end, for what is not acknowledged
FLIGHT: Final = 50_000  # records that may wait for their acknowledgement
ASK_S: Final = 2.0  # a broker is asked so long, again and again
STUCK_S: Final = 60.0  # a session is given up when nothing was acknowledged for so long


class Saved(msgspec.Struct):
    """What is kept: the position, and for each Kafka topic and partition the next offset."""

    servers: str = ""
    position: tuple[Mark, ...] = ()
    saved_ns: int = 0
    offsets: dict[str, dict[int, int]] = {}


class KafkaSink:
    """Sends events to Kafka and counts what became of them.

    Attributes:
        position: what the broker has.
        acknowledged: records.
        found: records that the broker had and the position did not.
        failures: connections that broke or were refused, and what else librdkafka tells of.
        unsaved: times that the position could not be written.

    Args:
        config: of the bridge.
        file: of the position.

    Raises:
        BridgeError: the file is damaged.
        ConfigError: confluent-kafka is not installed, or refuses the config.
    """

    def __init__(self, config: KafkaConfig, file: Path) -> None:
        try:
            self._kafka: Any = importlib.import_module("confluent_kafka")
        except ImportError:
            raise ConfigError(
                "kafka: expected the package confluent-kafka, found none: install"
                " argonaut-nt[kafka]"
            ) from None
        self.acknowledged = 0
        self.found = 0
        self.failures = 0
        self.unsaved = 0
        self._config = config
        self._file = file
        self._saved = _load(file)
        if self._saved.servers != config.servers:
            self._saved = Saved(config.servers)  # offsets mean nothing elsewhere
        self.position = Position(self._saved.position)
        self._waiting: deque[Arrived] = deque()
        self._flight = 0
        self._changed = False
        self._save_s = 0.0
        self._failure = ""
        self._bad = 0
        # retried for ever: a record that is given up would leave a hole before those behind it
        self._producer = self._kafka.Producer(
            {
                "bootstrap.servers": config.servers,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "message.max.bytes": 2 * wire.MAX_FRAME_BYTES,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 2 * FLIGHT,
                "reconnect.backoff.max.ms": 1_000,
                "error_cb": self._failed,
            }
        )

    @property
    def full(self) -> bool:
        """Whether it waits for the broker."""
        return bool(self._waiting) or self._flight >= FLIGHT

    @property
    def saved_ns(self) -> int:
        """When the position was saved, UNIX ns."""
        return self._saved.saved_ns

    def catch_up(self, stopping: Callable[[], bool]) -> bool:
        """Read from the end of the topics what the broker has beyond the position.

        Args:
            stopping: asked now and then; the process's beat may go with it.

        Returns:
            Whether it is done; False when `stopping` said so before.
        """
        consumer = self._kafka.Consumer(
            {
                "bootstrap.servers": self._config.servers,
                "group.id": f"{self._config.topic}-bridge",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "error_cb": self._failed,
            }
        )
        try:
            while not stopping():
                try:
                    self._read_ends(consumer, stopping)
                    return not stopping()
                except self._kafka.KafkaException as e:
                    log.info("waiting for a broker at %s: %s", self._config.servers, e)
            return False
        finally:
            consumer.close()

    def _failed(self, error: Any) -> None:
        self.failures += 1
        log.warning("kafka: %s", error)

    def _read_ends(self, consumer: Any, stopping: Callable[[], bool]) -> None:
        topics = consumer.list_topics(timeout=ASK_S).topics
        left: dict[tuple[str, int], int] = {}
        starts = []
        for name in topics:
            if not name.startswith(f"{self._config.topic}."):
                continue
            for partition in topics[name].partitions:
                at = self._kafka.TopicPartition(name, partition)
                low, high = consumer.get_watermark_offsets(at, timeout=ASK_S)
                start = max(low, self._saved.offsets.get(name, {}).get(partition, low))
                if start < high:
                    left[name, partition] = high
                    starts.append(self._kafka.TopicPartition(name, partition, start))
        consumer.assign(starts)
        while left and not stopping():
            for record in consumer.consume(1_000, ASK_S / 4):
                where = (record.topic(), record.partition())
                if record.error() is not None:
                    if record.error().code() != self._kafka.KafkaError._PARTITION_EOF:
                        raise self._kafka.KafkaException(record.error())
                    left.pop(where, None)
                    continue
                self._take_back(record)
                if record.offset() + 1 >= left.get(where, 0):
                    left.pop(where, None)

    def _take_back(self, record: Any) -> None:
        where = place(record.headers())
        self._note_offset(record)
        if where is not None and not self.position.passed(*where):
            self.position.advance(*where)
            self.found += 1

    def put(self, arrived: Arrived) -> None:
        """Send the next event, or have it wait for room."""
        if arrived.topic.startswith("sys."):
            return
        if self.full or not self._send(arrived):
            self._waiting.append(arrived)

    def _send(self, arrived: Arrived) -> bool:
        _, topic, envelope, _ = arrived
        body = bytes(envelope.body)
        if self._config.encoding == "json":
            try:
                body = as_json(wire.event(envelope))
            except ProtocolError:
                self._bad += 1  # of a kind that only later versions know
                return True

        def delivered(error: Any, record: Any) -> None:
            self._flight -= 1
            if error is not None:
                self._failure = self._failure or str(error)
            elif not self._failure:
                self.acknowledged += 1
                self._changed = True
                self._note_offset(record)
                self.position.advance(envelope.source, envelope.epoch, topic, envelope.seq)

        head, _, rest = topic.partition(".")
        key = rest.rpartition(".")[0] if head == "md" else rest
        try:
            self._producer.produce(
                f"{self._config.topic}.{head}",
                body,
                key.encode(),
                headers=_headers(topic, envelope, self._config.encoding),
                on_delivery=delivered,
            )
        except BufferError:
            return False
        except self._kafka.KafkaException as e:
            raise BridgeError(f"kafka at {self._config.servers}: {e}") from e
        self._flight += 1
        return True

    def turn(self, now_s: float) -> None:
        """Take acknowledgements, send what waits, keep the position.

        Raises:
            BridgeError: the broker refused a record for good.
        """
        self._producer.poll(0)
        if self._failure:
            self._save(now_s)
            raise BridgeError(f"kafka at {self._config.servers}: {self._failure}")
        while self._waiting and self._flight < FLIGHT and self._send(self._waiting[0]):
            self._waiting.popleft()
        if self._changed and now_s - self._save_s >= SAVE_S:
            self._save(now_s)

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {
            "acknowledged": float(self.acknowledged),
            "in_flight": float(self._flight),
            "waiting": float(len(self._waiting)),
            "found": float(self.found),
            "failures": float(self.failures),
            "unsaved": float(self.unsaved),
            "unknown": float(self._bad),
        }

    def close(self) -> None:
        """Wait for acknowledgements, for a moment; the rest is sent after the next start."""
        until_s = time.monotonic() + END_S
        while (self._flight or self._waiting) and time.monotonic() < until_s:
            self._producer.poll(0.05)
            self.turn(time.monotonic())
        self._save(time.monotonic())
        self._producer.purge()  # else its end would wait for a broker that may not come
        self._producer.poll(0)

    def play(self, frames: Iterable[bytes], stopping: Callable[[], bool]) -> None:
        """Send all of a session that the broker has not, and wait until it has.

        Raises:
            BridgeError: nothing was acknowledged for `STUCK_S`.
        """
        sent = Position(self.position.marks())
        for frame in frames:
            topic, envelope = wire.unpack(frame)
            key = (envelope.source, envelope.epoch, topic, envelope.seq)
            if sent.passed(*key):
                continue
            sent.advance(*key)
            self.put(Arrived(0, topic, envelope, frame))
            self._settle(lambda: self.full, stopping)
        self._settle(lambda: self._flight > 0 or bool(self._waiting), stopping)
        self._save(time.monotonic())

    def _settle(self, unsettled: Callable[[], bool], stopping: Callable[[], bool]) -> None:
        known, since_s = self.acknowledged, time.monotonic()
        self.turn(since_s)
        while unsettled() and not stopping():
            self._producer.poll(0.05)
            now_s = time.monotonic()
            self.turn(now_s)
            if self.acknowledged != known:
                known, since_s = self.acknowledged, now_s
            elif now_s - since_s > STUCK_S:
                raise BridgeError(
                    f"kafka at {self._config.servers}: nothing acknowledged within {STUCK_S:g} s"
                )

    def _note_offset(self, record: Any) -> None:
        partitions = self._saved.offsets.setdefault(record.topic(), {})
        partitions[record.partition()] = record.offset() + 1

    def _save(self, now_s: float) -> None:
        self._saved.position = self.position.marks()
        self._saved.saved_ns = time.time_ns()
        self._save_s = now_s
        try:
            write_atomic(self._file, msgspec.json.encode(self._saved))
        except OSError as e:  # of a disk that is full; the records themselves say how far they are
            self.unsaved += 1
            log.warning("%s: not written: %s", self._file, e)
        else:
            self._changed = False


def _load(file: Path) -> Saved:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Saved)
    except FileNotFoundError:
        return Saved()
    except msgspec.MsgspecError as e:
        raise BridgeError(f"{file}: expected a position in Kafka: {e}") from e


def _headers(topic: str, envelope: wire.Envelope, encoding: str) -> list[tuple[str, bytes]]:
    return [
        ("topic", topic.encode()),
        ("source", envelope.source.encode()),
        ("epoch", str(envelope.epoch).encode()),
        ("seq", str(envelope.seq).encode()),
        ("ts_pub_ns", str(envelope.ts_pub_ns).encode()),
        ("version", str(envelope.version).encode()),
        ("encoding", encoding.encode()),
    ]
