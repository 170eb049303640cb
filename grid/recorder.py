"""Records every event of the bus into a session, as an ordinary subscriber.

Two threads: the one of the socket receives, stamps and queues; the one of the file writes. The
queue between them is bounded in bytes; what it cannot hold is counted, and the loss is written in
its place. A crash of this process loses what is younger than `FLUSH_S` and what still queues.
"""

import logging
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from grid import session, wire
from grid.bus import Addresses, Publisher, Subscriber, new_context, wait
from grid.errors import BusError, ProtocolError, SessionError
from grid.eventfile import EventFile, heartbeat
from grid.process import Lifeline
from grid.session import LostRecord, Manifest

log = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 * 1024 * 1024
FRAME_COST_BYTES: Final = 150  # of Python's objects around a frame that queues
NAP_S: Final = 0.005  # times of arrival are late by as much; those of publication are exact
FLUSH_S: Final = 0.05  # `kill -9` loses no more than this
SYNC_S: Final = 1.0  # a power cut loses no more than this
IDLE_S: Final = 0.01
BEAT_S: Final = 1.0
STUCK_S: Final = 10.0  # a disk may take this long before the supervisor hears of it
START_TIMEOUT_S: Final = 30.0


class Queue:
    """Frames on their way from the socket's thread to the file's: one puts, one takes.

    Attributes:
        lost: frames that were let go because the queue was full.
    """

    def __init__(self, limit_bytes: int = QUEUE_BYTES) -> None:
        self.lost = 0
        self._limit_bytes = limit_bytes
        self._items: deque[tuple[int, bytes | LostRecord]] = deque()
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

    def mark(self, ts_ns: int) -> None:
        """Append a record of the frames lost since the last one, if any."""
        if self._gap:
            self._items.append((ts_ns, LostRecord(cause="queue", frames=self._gap)))
            self._gap = 0

    def take(self) -> tuple[int, bytes | LostRecord] | None:
        """Remove and return the oldest, or None."""
        try:
            item = self._items.popleft()
        except IndexError:
            return None
        if isinstance(item[1], bytes):
            self._out_bytes += len(item[1]) + FRAME_COST_BYTES
        return item


class Writer:
    """The file's thread: takes from the queue, writes, flushes.

    Attributes:
        error: what ended the thread before its time.
        turned_s: when its loop last came round, monotonic.
        file: to ask for its counts.
    """

    def __init__(self, queue: Queue, file: EventFile) -> None:
        self.error: Exception | None = None
        self.turned_s = time.monotonic()
        self._queue = queue
        self.file = file
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
        flushed_s = synced_s = time.monotonic()
        while True:
            ending = self._end.is_set()  # before the last look at the queue
            for _ in range(1_000):
                item = self._queue.take()
                if item is None:
                    break
                self.file.write(*item)
            else:
                ending = False
            self.turned_s = now_s = time.monotonic()
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


def run(
    addresses: Addresses,
    life: Lifeline,
    sessions: Path,
    *,
    label: str,
    epoch: int,
    name: str = "recorder",
    config_digest: str = "",
    versions: dict[str, str] | None = None,
) -> Path:
    """Record until `life.stopping` and return the session's folder, which is gone if it is empty.

    Ready when a heartbeat of the broker has come through the proxy: nothing is lost from then on.

    Args:
        addresses: of the grid.
        life: of this process.
        sessions: the folder of all sessions.
        label: end of the session's id, as in `20261124-061500-demo`.
        epoch: of this process.
        name: of this process.
        config_digest: of the grid's config, for the manifest.
        versions: package -> version, for the manifest.

    Raises:
        BusError: no heartbeat of a broker within 30 s.
        SessionError: the disk refused.
    """
    started_ns = time.time_ns()
    folder = session.new_folder(sessions, label, started_ns)
    manifest = Manifest(
        id=folder.name,
        state="recording",
        started_ns=started_ns,
        config_digest=config_digest,
        versions=versions or {},
        addresses=msgspec.to_builtins(addresses),
    )
    manifest.write(folder)
    context = new_context()
    subscriber = Subscriber(context, addresses.events_out, [""])
    publisher = Publisher(context, addresses.events_in, name, epoch, role="recorder")
    file = EventFile(folder)
    queue = Queue()
    writer = Writer(queue, file)
    log.info("recording to %s", folder)
    try:
        _loop(addresses, subscriber, publisher, queue, writer, life)
        publisher.heartbeat("stopping", _counters(queue, file))
    finally:
        subscriber.close()
        publisher.close()
        context.destroy(linger=0)
        writer.close(timeout_s=STUCK_S)
        if not file.events:  # no broker came: a session of nothing would be the latest
            shutil.rmtree(folder)
            log.info("nothing was recorded: %s is removed", folder)
    if not file.events:
        return folder
    complete = msgspec.structs.replace(
        manifest,
        state="complete",
        ended_ns=time.time_ns(),
        events=file.events,
        lost=file.tracker.missing + queue.lost,
        counts=dict(file.counts),
    )
    complete.write(folder)
    log.info("recorded %d events in %s", file.events, folder)
    return folder


def _loop(
    addresses: Addresses,
    subscriber: Subscriber,
    publisher: Publisher,
    queue: Queue,
    writer: Writer,
    life: Lifeline,
) -> None:
    ready = False
    now_s = next_beat_s = time.monotonic()
    deadline_s = now_s + START_TIMEOUT_S
    while not life.stopping:
        wait([subscriber, life.wake_fd], next_beat_s - now_s)
        frame = subscriber.frame()
        if frame is not None and ready:
            # a nap, so that one wake-up takes many events and agents have the cores meanwhile
            wait([life.wake_fd], NAP_S)
        while frame is not None:
            queue.put(time.time_ns(), frame)
            if not ready and _is_brokers_beat(frame):
                ready = True
                life.ready()
            if (now_s := time.monotonic()) >= next_beat_s:
                break
            frame = subscriber.frame()
        now_s = time.monotonic()
        if not ready and now_s > deadline_s:
            raise BusError(
                f"{addresses.events_out}: no heartbeat of a broker within {START_TIMEOUT_S:g} s"
            )
        if now_s >= next_beat_s:
            next_beat_s = now_s + BEAT_S
            writer.check()
            queue.mark(time.time_ns())
            publisher.heartbeat("running", _counters(queue, writer.file))
            if now_s - writer.turned_s < STUCK_S:
                life.beat()
    while (frame := subscriber.frame()) is not None:
        queue.put(time.time_ns(), frame)
    queue.mark(time.time_ns())


def _is_brokers_beat(frame: bytes) -> bool:
    try:
        beat = heartbeat(*wire.unpack(frame))
    except ProtocolError:
        return False
    return beat is not None and beat.role == "broker"


def _counters(queue: Queue, file: EventFile) -> dict[str, float]:
    counts = file.tracker.counts
    return {
        "events": float(file.events),
        "flushed": float(file.flushed),
        "bytes": float(file.size_bytes),
        "queue_bytes": float(queue.size_bytes),
        "queue_lost": float(queue.lost),
        "gaps": float(counts["gap"]),
        "missing": float(file.tracker.missing),
        "duplicates": float(counts["duplicate"]),
        "old_epoch": float(counts["old_epoch"]),
        "bad": float(file.bad),
    }
