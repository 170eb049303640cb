"""Records every event of the bus into a session, as an ordinary subscriber, and answers history.

Three threads: the one of the socket receives, stamps and queues; the one of the file mends and
writes; the third waits for the disk. What this process missed it fetches from whoever published it;
what others missed they fetch here. A crash loses what arrived in the last `fsync_s`, no more; a
full disk ends the recording, but neither this process nor the trading.
"""

import logging
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from grid import session, spill, wire
from grid.bus import (
    BROKER_TIMEOUT_S,
    SAY_S,
    Addresses,
    Publisher,
    Requester,
    Responder,
    Subscriber,
    Waiter,
    new_context,
    readable,
    wait,
)
from grid.config import digest
from grid.errors import BusError, ProtocolError, RecordingError
from grid.eventfile import EventFile, heartbeat
from grid.history import HISTORY, History
from grid.mender import Mender
from grid.process import Lifeline
from grid.reserve import Reserve
from grid.ring import Ring
from grid.session import Manifest
from grid.writer import FSYNC_S, STUCK_S, Queue, Writer

log = logging.getLogger(__name__)

NAP_S: Final = 0.005  # times of arrival are late by as much; those of publication are exact
BURST: Final = 5_000  # frames taken before anything else has its turn
TURN_S: Final = 0.05  # the longest wait of the loop: the writer may want something
ASK_S: Final = 0.1  # until what is wanted is asked for again
BEAT_S: Final = 0.5
HISTORY_BYTES: Final = 64 * 1024 * 1024


def run(
    addresses: Addresses,
    life: Lifeline,
    sessions: Path,
    *,
    label: str,
    epoch: int,
    name: str = "recorder",
    history_bytes: int = HISTORY_BYTES,
    fsync_s: float = FSYNC_S,
    config: dict[str, Any] | None = None,
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
        history_bytes: of events that are kept for those who missed some.
        fsync_s: from an event's arrival until no crash can take it away, at most.
        config: of the grid, resolved, for the manifest.
        versions: package -> version, for the manifest.

    Raises:
        BusError: no heartbeat of a broker within `BROKER_TIMEOUT_S`.
        RecordingError: the disk refused; when it did so during the run, that is told at its end.
    """
    started_ns = time.time_ns()
    manifest = Manifest(
        id="",
        state="recording",
        started_ns=started_ns,
        config_digest=digest(config) if config else "",
        config=config or {},
        versions=versions or {},
        addresses=msgspec.to_builtins(addresses),
    )
    try:
        folder = session.new_folder(sessions, label, started_ns)
        manifest = msgspec.structs.replace(manifest, id=folder.name)
        manifest.write(folder)
        reserve = Reserve(folder / ".reserve")
        file = EventFile(folder)
    except OSError as e:
        raise RecordingError(f"{sessions}: no session can begin: {e.strerror}") from e

    def tell() -> None:
        log.error("%s: %s: recording has stopped, trading goes on", folder, file.damage)
        reserve.release()
        _write(file.told(manifest, time.time_ns(), queue.lost), folder)

    ring, queue, mender = Ring(history_bytes), Queue(), Mender(name)
    held = spill.Spill(folder / session.HELD)
    writer = Writer(queue, file, held, mender, ring, fsync_s=fsync_s, on_damage=tell)
    log.info("recording to %s", folder)
    desk = _Desk(addresses, name, epoch, queue, writer, History(ring))
    try:
        desk.work(life)
        desk.publisher.heartbeat("stopping", desk.counters())
    finally:
        desk.close()
        writer.close(timeout_s=STUCK_S)
        reserve.release()
    _write(file.told(manifest, time.time_ns(), queue.lost), folder)
    log.info("recorded %d events in %s", file.events, folder)
    if file.damage:
        raise RecordingError(
            f"{folder}: {file.damage}: {file.unrecorded} events were not recorded after the first "
            f"{file.events}"
        )
    return folder


def _write(manifest: Manifest, folder: Path) -> None:
    try:
        manifest.write(folder)
    except OSError as e:  # the events stand; only what is told of them does not
        log.error("%s: the manifest cannot be written: %s", folder, e.strerror)


class _Desk:
    """The socket's thread: events in, history out, and what the writer wants fetched."""

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        epoch: int,
        queue: Queue,
        writer: Writer,
        history: History,
    ) -> None:
        self._address = addresses.events_out
        self._queue = queue
        self._writer = writer
        self._history = history
        self._asked: wire.Fetch | None = None
        self._asked_s = 0.0
        self._broker_was_heard = False
        self._context = new_context()
        self._subscriber = Subscriber(self._context, addresses.events_out, [""])
        self._requester = Requester(self._context, addresses.requests)
        self._responder = Responder(self._context, addresses.strategies)
        self.publisher = Publisher(self._context, addresses.events_in, name, epoch, role="recorder")

    def close(self) -> None:
        """Close the sockets."""
        for end in (self._subscriber, self._requester, self._responder, self.publisher):
            end.close()
        self._context.destroy(linger=0)

    def work(self, life: Lifeline) -> None:
        """Record until `life.stopping`."""
        waiter = Waiter((self._subscriber, self._responder, life.wake_fd))
        ready = flood = False
        now_s = next_beat_s = time.monotonic()
        said_s = now_s - SAY_S + 1.0
        deadline_s = now_s + BROKER_TIMEOUT_S
        while not life.stopping:
            waiter.wait(min(TURN_S, max(0.0, next_beat_s - now_s)))
            if ready and not flood and readable(self._subscriber.socket):
                # a nap, so that one wake-up takes many events and agents have the cores meanwhile
                wait([life.wake_fd], NAP_S)
            flood = self._receive()
            if not ready and self._broker_was_heard:
                ready = True
                life.ready()
            self._serve()
            self._fetch()
            now_s = time.monotonic()
            if now_s >= next_beat_s:
                next_beat_s = now_s + BEAT_S
                self._beat(life, now_s)
                if not ready and now_s > deadline_s:
                    raise BusError(
                        f"{self._address}: no heartbeat of a broker within {BROKER_TIMEOUT_S:g} s"
                    )
                if not ready and now_s - said_s > SAY_S:
                    said_s = now_s
                    log.info("waiting for a broker at %s", self._address)
        while self._receive():
            pass
        self._queue.mark(time.time_ns())

    def _receive(self) -> bool:
        """Queue the frames that are here; say whether there may be more."""
        frames = self._subscriber.frames(BURST)
        for frame in frames:
            self._queue.put(time.time_ns(), frame)
            if not self._broker_was_heard:
                self._broker_was_heard = _is_brokers_beat(frame)
        return len(frames) == BURST

    def counters(self) -> dict[str, float]:
        """Return the counters of the heartbeat."""
        queue, file, mender = self._queue, self._writer.file, self._writer.mender
        counts = file.tracker.counts
        return {
            "events": float(file.events),
            "flushed": float(file.flushed),
            "bytes": float(file.size_bytes),
            "synced": float(self._writer.syncer.synced),
            "sync_ms": self._writer.syncer.slowest_s() * 1e3,
            "flushed_late": float(self._writer.late),
            "unrecorded": float(file.unrecorded),
            "dropped": float(self.publisher.dropped + queue.lost + file.unrecorded),
            "queue_bytes": float(queue.size_bytes),
            "queue_lost": float(queue.lost),
            "gaps": float(counts["gap"]),
            "missing": float(file.tracker.missing),
            "mended": float(mender.mended),
            "mending": float(mender.held),
            "given_up": float(mender.given_up),
            "duplicates": float(counts["duplicate"]),
            "old_epoch": float(counts["old_epoch"]),
            "bad": float(file.bad),
            **{k: float(v) for k, v in self._history.counts.items()},
        }

    def _beat(self, life: Lifeline, now_s: float) -> None:
        self._writer.check()
        self._queue.mark(time.time_ns())
        self._responder.register(HISTORY, self.publisher.epoch)
        damage = self._writer.file.damage
        state = f"damaged: {damage}" if damage else "running"
        self.publisher.heartbeat(state, self.counters())
        if now_s - self._writer.turned_s < STUCK_S:
            life.beat()

    def _serve(self) -> None:
        """Answer those who missed something."""
        while (found := self._responder.recv()) is not None:
            corr, request = found
            if isinstance(request, wire.Fetch | wire.Tail):
                reply: wire.Reply = self._history.answer(request, time.monotonic())
            else:
                reply = wire.Refused("this is a history, and no strategy", retry=False)
            self._responder.reply(corr, reply)

    def _fetch(self) -> None:
        """Ask for what the writer wants, again after a while, and hand it the reply."""
        while (reply := self._requester.recv()) is not None:
            if isinstance(reply, wire.Frames | wire.Evicted | wire.Refused):
                self._queue.put_reply(time.time_ns(), reply)
        want, now_s = self._writer.mender.want, time.monotonic()
        if want is None or (want == self._asked and now_s - self._asked_s < ASK_S):
            return
        self._asked, self._asked_s = want, now_s
        self._requester.send(want)


def _is_brokers_beat(frame: bytes) -> bool:
    try:
        beat = heartbeat(*wire.unpack(frame))
    except ProtocolError:
        return False
    return beat is not None and beat.role == "broker"
