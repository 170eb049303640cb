"""The file's side of a recorder: a bounded queue, and the thread that mends and writes.

The queue is bounded in bytes; what it cannot hold is counted, and the loss is written in its place.
"""

import threading
import time
from collections import deque
from typing import Final

from grid import wire
from grid.errors import ProtocolError, SessionError
from grid.eventfile import EventFile, heartbeat
from grid.mender import Arrived, Mender
from grid.ring import Ring
from grid.session import LostRecord

QUEUE_BYTES: Final = 64 * 1024 * 1024
FRAME_COST_BYTES: Final = 150  # of Python's objects around a frame that queues
FLUSH_S: Final = 0.05  # `kill -9` loses no more than this, and what is held back for a hole
SYNC_S: Final = 1.0  # a power cut loses no more than this
IDLE_S: Final = 0.01

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

    Attributes:
        error: what ended the thread before its time.
        turned_s: when its loop last came round, monotonic.
        file: to ask for its counts.
        mender: to ask for what it wants, and for its counts.
    """

    def __init__(self, queue: Queue, file: EventFile, mender: Mender, ring: Ring) -> None:
        self.error: Exception | None = None
        self.turned_s = time.monotonic()
        self.file = file
        self.mender = mender
        self._queue = queue
        self._ring = ring
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
            self.file.close()
        except Exception as e:
            self.error = e

    def _write(self) -> None:
        flushed_s = synced_s = self.turned_s
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
                return self.file.flush()
            if now_s - flushed_s >= FLUSH_S:
                self.file.flush()
                flushed_s = now_s
            if now_s - synced_s >= SYNC_S:
                self.file.sync()
                synced_s = now_s
            if item is None:
                self._end.wait(IDLE_S)

    def _take(self, ts_ns: int, item: Item) -> None:
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
        else:
            if isinstance(item, wire.Frames):
                for frame in item.frames:
                    self._keep(*wire.unpack(frame), frame)
            self._append(self.mender.take_reply(item, self.turned_s))

    def _keep(self, topic: str, envelope: wire.Envelope, frame: bytes) -> None:
        if not topic.startswith("sys."):
            self._ring.keep((envelope.source, envelope.epoch, topic), envelope.seq, frame)

    def _append(self, events: list[Arrived]) -> None:
        for event in events:
            self.file.append(*event)
