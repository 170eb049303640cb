"""Rows of a Kafka topic into the tape of a feed, each once, with an offset to go on from.

What the node has processed is kept as the next offset of each partition, so that a feed that was
killed, or a grid that was stopped, goes on there; the rows before it are read again as history. An
absent broker is waited for. Records are read only while the tape has room.
"""

import importlib
import logging
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from grid import wire
from grid.bridges import record as records
from grid.bridges.config import KafkaFeed
from grid.errors import BridgeError, ConfigError, ProtocolError
from grid.livetape import RECENT, At, LiveTape
from grid.playhead import Playhead

log = logging.getLogger(__name__)

BURST: Final = 1_000  # records taken before anything else has its turn
TURN_S: Final = 0.005  # from one look at the broker's records to the next
ASK_S: Final = 1.0  # a broker is asked so long, again and again


class Kept(msgspec.Struct):
    """What outlives a start: the node that was served, and the next offset of each partition."""

    servers: str
    topic: str
    instrument_id: str
    epoch: int = 0
    window: int | None = None
    offsets: dict[int, int] = {}


class Inflow:
    """Reads the topic, and is the feed's bookmark.

    Args:
        config: where the rows are.
        tape: where they go.
        instrument_id: of the rows that are played.
        file: of the position; None keeps none.

    Attributes:
        read: records.
        bad: records that are no row.
        versions: records of another version of the wire, or of none.
        expired: records that the cluster had deleted before they were read.

    Raises:
        BridgeError: the file is damaged.
        ConfigError: confluent-kafka is not installed, or refuses the config.
    """

    def __init__(
        self, config: KafkaFeed, tape: LiveTape, instrument_id: str, file: Path | None
    ) -> None:
        try:
            self._kafka: Any = importlib.import_module("confluent_kafka")
        except ImportError:
            raise ConfigError(
                "feed.kafka: expected the package confluent-kafka, found none: install"
                " argonaut-nt[kafka]"
            ) from None
        self.read = 0
        self.bad = 0
        self.versions = 0
        self.expired = 0
        self._config = config
        self._tape = tape
        self._kept = Kept(config.servers, config.topic, instrument_id)
        self._fd = -1
        self._size = 0
        if file is not None:
            self._open(file)
        self._begin: dict[int, int] = {}  # of each partition, the first offset to be played
        self._next: dict[int, int] = {}  # to be read
        self._ended: set[int] = set()  # partitions whose end was reached once
        self._astray: set[int] = set()  # whose next record was deleted before it was read
        try:
            self._consumer = self._kafka.Consumer(
                {
                    "bootstrap.servers": config.servers,
                    "group.id": "argonaut-feed",  # no group is joined: offsets are kept here
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "queued.min.messages": 10_000,
                    "queued.max.messages.kbytes": 16_384,
                    "fetch.error.backoff.ms": 100,
                    "fetch.queue.backoff.ms": 5,
                    "reconnect.backoff.max.ms": 1_000,
                    "error_cb": lambda error: log.warning("kafka: %s", error),
                }
            )
        except self._kafka.KafkaException as e:
            raise ConfigError(f"feed.kafka: {e}") from e

    def load(self, playhead: Playhead) -> None:
        """Put `playhead` where the last one was."""
        playhead.open = True
        if self._kept.epoch:
            playhead.resume(self._kept.epoch, self._kept.window, 0)

    def save(self, playhead: Playhead) -> None:
        """Keep where `playhead` is: one small write."""
        self._tape.release(playhead.done)
        kept = self._kept
        kept.epoch, kept.window = playhead.epoch, playhead.window
        begun = {p: max(at, self._begin[p]) for p, at in self._next.items()}
        kept.offsets = {**kept.offsets, **begun, **self._tape.open_offsets()}
        if self._fd >= 0:
            text = msgspec.json.encode(kept)
            self._size = max(self._size, len(text))  # spaces over what was longer
            os.pwrite(self._fd, text.ljust(self._size), 0)

    def turn(self, playhead: Playhead) -> bool:
        """Take what has come; say whether the market may be played.

        It may when all that was processed before is known again, and something after it, or that
        there is nothing yet.

        Raises:
            BridgeError: the broker refuses for good.
        """
        try:
            if not self._next:
                self._assign()
            if self._astray:
                self._catch_up()
        except self._kafka.KafkaException as e:
            self._judge(e.args[0])
        while self._next and not self._tape.full:
            found = self._consumer.consume(BURST, 0)
            for each in found:  # all of them, whatever one of them says: none comes again
                self._take(each)
            if len(found) < BURST:
                break
        playhead.events = self._tape.rows
        playhead.open = not self._tape.closed
        known = all(self._next[p] >= self._begin[p] or p in self._ended for p in self._next)
        return bool(self._next) and known and (
            self._tape.rows > 0 or self._tape.closed or self._ended >= set(self._next)
        )  # fmt: skip

    def _assign(self) -> None:
        """Find the partitions, and where to begin in each."""
        told = self._consumer.list_topics(timeout=ASK_S).topics.get(self._config.topic)
        if told is None or not told.partitions:
            return
        begin: dict[int, int] = {}
        start: dict[int, int] = {}
        for partition in told.partitions:
            at = self._kafka.TopicPartition(self._config.topic, partition)
            low, high = self._consumer.get_watermark_offsets(at, timeout=ASK_S)
            first = low if self._kept.offsets or self._config.begin == "earliest" else high
            begin[partition] = self._kept.offsets.get(partition, first)
            self.expired += max(0, low - begin[partition])
            if begin[partition] > high:
                raise BridgeError(
                    f"kafka at {self._config.servers}: expected {begin[partition]:,} records or"
                    f" more in partition {partition} of {self._config.topic}, found {high:,}: it is"
                    " not the topic that was read before"
                )
            start[partition] = max(low, begin[partition] - RECENT)
        self._read_from(start)
        self._begin, self._next = begin, start

    def _take(self, record: Any) -> None:
        partition = record.partition()
        error = record.error()
        if error is not None:
            self._fail(partition, error)
            return
        self._next[partition] = record.offset() + 1
        self.read += 1
        headers = dict(record.headers() or ())
        if records.version_of(headers) != wire.VERSION:
            self.versions += 1
            return
        try:
            row = records.row(record.value() or b"")
        except ProtocolError as e:
            self.bad += 1
            log.debug("partition %d, offset %d: %s", partition, record.offset(), e)
            return
        at = At(partition, record.offset())
        known = record.offset() < self._begin[partition]
        self._tape.put(row, records.place_of(headers), at, known)

    def _fail(self, partition: int, error: Any) -> None:
        codes = self._kafka.KafkaError
        if error.code() == codes._PARTITION_EOF:
            self._ended.add(partition)
        elif error.code() == codes._AUTO_OFFSET_RESET:
            self._astray.add(partition)
        else:
            self._judge(error)

    def _judge(self, error: Any) -> None:
        if error.fatal():
            raise BridgeError(f"kafka at {self._config.servers}: {error}")
        log.info("waiting for %s at %s: %s", self._config.topic, self._config.servers, error)

    def _catch_up(self) -> None:
        """Go on with the oldest records there are: what was to be read had been deleted."""
        for partition in self._astray:
            at = self._kafka.TopicPartition(self._config.topic, partition)
            low, _ = self._consumer.get_watermark_offsets(at, timeout=ASK_S)
            self.expired += max(0, low - self._next[partition])
            self._next[partition] = low
        # a partition that has failed takes no seek
        self._read_from(self._next)
        self._astray.clear()

    def _read_from(self, offsets: dict[int, int]) -> None:
        self._consumer.assign(
            [self._kafka.TopicPartition(self._config.topic, p, at) for p, at in offsets.items()]
        )

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats; `behind` are records that wait at the broker."""
        tape = self._tape
        return {
            "read": float(self.read),
            "behind": float(self._behind()),
            "late": float(tape.late),
            "repeated": float(tape.repeated),
            "missing": float(tape.missing + self.expired),
            "others": float(tape.others),
            "unreadable": float(self.bad),
            "versions": float(self.versions),
        }

    def _behind(self) -> int:
        found = 0
        for partition, at in self._next.items():
            where = self._kafka.TopicPartition(self._config.topic, partition)
            _, high = self._consumer.get_watermark_offsets(where, cached=True)
            found += max(0, high - at)
        return found

    def close(self) -> None:
        """Let the broker go."""
        self._consumer.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        text = file.read_bytes()
        self._size = len(text)
        if not text:
            return
        try:
            found = msgspec.json.decode(text, type=Kept)
        except msgspec.MsgspecError as e:
            raise BridgeError(f"{file}: expected a position in Kafka: {e}") from e
        mine = self._kept
        if (found.servers, found.topic) != (mine.servers, mine.topic):
            return  # offsets mean nothing elsewhere
        if found.instrument_id == mine.instrument_id:
            self._kept = found
