"""The file's side of a recorder: a bounded queue, and the thread that mends and writes.

The queue is bounded in bytes; what it cannot hold is counted, and the loss is written in its place.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from grid import wire
from grid.errors import ProtocolError, SessionError
from grid.eventfile import EventFile, heartbeat
from grid.mender import Arrived, Mender
from grid.ring import Ring
from grid.session import LostRecord
from grid.spill import Spill
from grid.syncer import Syncer

log = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
FRAME_COST_BYTES: Final = 150  # of Python's objects around a frame that queues
FSYNC_S: Final = 0.1  # a crash loses no more than the events of so long
FLUSH_SHARE: Final = 0.5  # of that; the rest is for the queue, for a turn and for the disk
IDLE_S: Final = 0.01
STUCK_S: Final = 10.0  # a disk may take this long before the supervisor hears of it
SAY_S: Final = 10.0  # between two warnings of the same kind

type Item = bytes | LostRecord | wire.HistoryReply


class Queue:
    """Frames on their way from the socket's thread to the file's: one puts, one takes.

    Attributes:
        lost: frames that were let go because the queue was full.
    """

    def __init__(self, limit_bytes: int = QUEUE_BYTES) -> None:
        self.lost = 0
        self._limit_bytes = limit_bytes
        self._items: deque[tuple[int, Item]] = deque()
        self._in_bytes = self._out_bytes = 0  # each is written by one thread alone
        self._gap = 0

    @property
    def size_bytes(self) -> int:
        """What is held now."""
        return self._in_bytes - self._out_bytes

    def put(self, ts_ns: int, frame: bytes) -> None:
        """Append a frame that arrived at `ts_ns`, or count it as lost."""
        if self.size_bytes + len(frame) + FRAME_COST_BYTES > self._limit_bytes:
            self.lost += 1
            self._gap += 1
            return
        self.mark(ts_ns)
        self._in_bytes += len(frame) + FRAME_COST_BYTES
        self._items.append((ts_ns, frame))

    def put_reply(self, ts_ns: int, reply: wire.HistoryReply) -> None:
        """Append an answer to what was asked for; there is one at a time, so it needs no bound."""
        self._items.append((ts_ns, reply))

    def mark(self, ts_ns: int) -> None:
        """Append a record of the frames lost since the last one, if any."""
        if self._gap:
            self._items.append((ts_ns, LostRecord(cause="queue", frames=self._gap)))
            self._gap = 0

    def take(self) -> tuple[int, Item] | None:
        """Remove and return the oldest, or None."""
        try:
            item = self._items.popleft()
        except IndexError:
            return None
        if isinstance(item[1], bytes):
            self._out_bytes += len(item[1]) + FRAME_COST_BYTES
        return item


class Writer:
    """The file's thread: takes from the queue, keeps in the ring, mends, writes, flushes.

    When the disk refuses, it goes on without the file: what is kept in the ring is still there for
    those who missed it.

    Args:
        queue: what has arrived.
        file: where it goes.
        spill: where it waits while something before it is fetched.
        mender: fetches.
        ring: keeps it for others.
        fsync_s: from an event's arrival until no crash can take it away, at most.
        on_damage: called once, in the file's thread, when the disk has refused.

    Attributes:
        error: what ended the thread before its time.
        turned_s: when its loop last came round, monotonic.
        file: to ask for its counts.
        mender: to ask for what it wants, and for its counts.
        late: flushes that came later than `fsync_s` after the arrival of what they flushed.
    """

    def __init__(
        self,
        queue: Queue,
        file: EventFile,
        spill: Spill,
        mender: Mender,
        ring: Ring,
        *,
        fsync_s: float = FSYNC_S,
        on_damage: Callable[[], None] = lambda: None,
    ) -> None:
        self.error: Exception | None = None
        self.turned_s = time.monotonic()
        self.file = file
        self.mender = mender
        self.late = 0
        self.syncer = Syncer(lambda: file.flushed, self._sync)
        self._queue = queue
        self._spill = spill
        self._ring = ring
        self._fsync_s = fsync_s
        self._on_damage = on_damage
        self._oldest_ns = 0  # arrival of the first event that is not flushed
        self._said_s = -SAY_S
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write what queues, close the file, end the thread.

        Raises:
            SessionError: it did not end in time, or the file could not be written.
        """
        self._end.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise SessionError(f"recording: the disk took more than {timeout_s:g} s to close it")
        self.check()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._write()
            self.syncer.close(timeout_s=STUCK_S)
            self._guarded(self.file.close)
            self._spill.close()
            if self.file.damage:
                self.file.close()
        except Exception as e:
            self.error = e

    def _write(self) -> None:
        flushed_s = self.turned_s
        while True:
            ending = self._end.is_set()  # before the last look at the queue
            for _ in range(1_000):
                item = self._queue.take()
                if item is None:
                    break
                self._take(*item)
            else:
                ending = False
            self.turned_s = now_s = time.monotonic()
            self._append(self.mender.end() if ending else self.mender.overdue(now_s))
            if ending:
                return self._guarded(self._flush)
            if now_s - flushed_s >= self._fsync_s * FLUSH_SHARE:
                self._guarded(self._flush)
                flushed_s = now_s
            if item is None:
                self._end.wait(IDLE_S)

    def _flush(self) -> None:
        if self.syncer.error is not None:
            raise self.syncer.error
        self._spill.flush()
        self.file.flush()
        if not self.mender.holds:
            self._spill.clear()
        if not self._oldest_ns:
            return
        self.syncer.ask()
        behind_s = (time.time_ns() - self._oldest_ns) / 1e9
        self._oldest_ns = 0
        if behind_s > self._fsync_s:
            self.late += 1
            if self.turned_s - self._said_s >= SAY_S:
                self._said_s = self.turned_s
                log.warning(
                    "flushed %.0f ms after arrival, %.0f ms promised",
                    behind_s * 1e3,
                    self._fsync_s * 1e3,
                )

    def _sync(self) -> None:
        self._spill.sync()
        self.file.sync()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do something with the disk; when it refuses, record no more."""
        if self.file.damage:
            return
        try:
            act()
        except (OSError, SessionError) as e:
            cause = e if isinstance(e, OSError) else e.__cause__
            if not isinstance(cause, OSError):
                raise
            self.file.spoil(cause)
            self._on_damage()

    def _take(self, ts_ns: int, item: Item) -> None:
        self._oldest_ns = self._oldest_ns or ts_ns
        if isinstance(item, LostRecord):
            self.file.write(ts_ns, item)
        elif isinstance(item, bytes):
            try:
                topic, envelope = wire.unpack(item)
            except ProtocolError:
                self.file.bad += 1
                return
            self._keep(topic, envelope, item)
            arrived = Arrived(ts_ns, topic, envelope, item)
            beat = heartbeat(topic, envelope)
            self._append(self.mender.take(arrived, beat, self.turned_s))
            if self.mender.holds and not self.file.damage:
                self._spill.keep(ts_ns, item)
        else:
            if isinstance(item, wire.Frames):
                for frame in item.frames:
                    self._keep(*wire.unpack(frame), frame)
                    if not self.file.damage:
                        self._spill.keep(ts_ns, frame)
            self._append(self.mender.take_reply(item, self.turned_s))

    def _keep(self, topic: str, envelope: wire.Envelope, frame: bytes) -> None:
        if not topic.startswith("sys."):
            self._ring.keep((envelope.source, envelope.epoch, topic), envelope.seq, frame)

    def _append(self, events: list[Arrived]) -> None:
        for event in events:
            self.file.append(*event)
