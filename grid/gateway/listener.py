"""The gateway's ear: follows the bus in one thread, catches up on what was before, mends holes.

It joins late as an agent does: heartbeats say how far each stream is, histories give what lies
before. What nobody has any more is a gap, and shown.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import zmq

from grid import wire
from grid.bus import Addresses, Publisher, Requester, Subscriber, new_context
from grid.errors import BusError, ProtocolError
from grid.gateway import rows
from grid.gateway.hub import Hub, shown
from grid.gateway.state import State
from grid.history import HISTORY, history_of
from grid.streams import StreamTracker

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
_BURST: Final = 2_000
_WAIT_S: Final = 0.05
_ASK_S: Final = 0.5
_PATIENCE_S: Final = 3.0  # for a range that a history has not got yet
_BACK: Final = {"md.": 2_000, "decision.": 5_000, "exec.": 20_000}  # events of the past a stream


class Listener:
    """Follows one grid.

    Attributes:
        lock: to be held by whoever reads `state` or `hub`.
        state: what is so.
        hub: what came.
        missed: events that were gone for good.
        fetched: events that a history has given.
        caught_up: whether the past of the node that trades is here.
        error: why the thread ended, if it has failed.

    Args:
        addresses: of the grid.
        name: of this process.
        epoch: of this process.
        counters: more of them for the heartbeats.
        alive: whether the rest of the process works; the heartbeat stops with it.
        beat: called with each heartbeat.
        role: of this process.
        on_event: called with each event, in this thread.
    """

    def __init__(
        self,
        addresses: Addresses,
        name: str,
        epoch: int,
        counters: Callable[[], dict[str, float]],
        alive: Callable[[], bool],
        beat: Callable[[], None],
        *,
        role: str = "gateway",
        on_event: Callable[[rows.Event], None] = lambda event: None,
    ) -> None:
        self.lock = threading.Lock()
        self.state = State()
        self.hub = Hub(f"{name}-{epoch}")
        self.missed = self.fetched = 0
        self.caught_up = False
        self.error: BaseException | None = None
        self._addresses = addresses
        self._name = name
        self._epoch = epoch
        self._counters = counters
        self._alive = alive
        self._beat = beat
        self._role = role
        self._on_event = on_event
        self._tracker = StreamTracker()
        self._joined: dict[str, int] = {}  # source -> the epoch whose past is here
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for it."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                context = new_context()
                stack.callback(context.destroy, linger=0)
                self._follow(context, stack)
        except BaseException as e:
            log.error("the listener failed", exc_info=e)
            self.error = e

    def _follow(self, context: zmq.Context[zmq.Socket[bytes]], stack: contextlib.ExitStack) -> None:
        addresses = self._addresses
        publisher = Publisher(
            context, addresses.events_in, self._name, self._epoch, role=self._role
        )
        stack.callback(publisher.close)
        subscriber = Subscriber(context, addresses.events_out, [""])
        stack.callback(subscriber.close)
        self._requester = Requester(context, addresses.requests)
        stack.callback(self._requester.close)
        next_beat_s = 0.0
        while not self._stopping.is_set():
            now_s = time.monotonic()
            if now_s >= next_beat_s:
                next_beat_s = now_s + BEAT_S
                publisher.heartbeat("open", self._counted(subscriber))
                if self._alive():
                    self._beat()
            if frames := subscriber.frames(_BURST, _WAIT_S):
                self._take(frames, subscriber)
        publisher.heartbeat("stopping", self._counted(subscriber))

    def _counted(self, subscriber: Subscriber) -> dict[str, float]:
        return {
            "events": float(self.hub.n),
            "gaps": float(len(self.state.gaps)),
            "missed": float(self.missed),
            "fetched": float(self.fetched),
            "bad": float(subscriber.bad),
            **self._counters(),
        }

    def _take(self, frames: list[bytes], subscriber: Subscriber) -> None:
        for frame in frames:
            try:
                topic, envelope = wire.unpack(frame)
                event = wire.event(envelope)
            except ProtocolError:
                subscriber.bad += 1
                continue
            self._saw(topic, envelope, event)

    def _saw(self, topic: str, envelope: wire.Envelope, event: wire.Event) -> None:
        source, epoch = envelope.source, envelope.epoch
        if isinstance(event, wire.Heartbeat):
            self._put(topic, envelope, event)
            self._heard(event, epoch)
            return
        if self._joined.get(source) != epoch:
            return  # its next heartbeat tells how far it is, and a history has this event, too
        verdict = self._tracker.saw(source, epoch, topic, envelope.seq)
        if verdict.kind in ("duplicate", "old_epoch"):
            return
        if verdict.kind == "first" and envelope.seq > 1:
            self._fetch(source, epoch, topic, 1, envelope.seq - 1)
        elif verdict.missing:
            self._fetch(source, epoch, topic, verdict.first_missing, verdict.last_missing)
        self._put(topic, envelope, event)

    def _heard(self, beat: wire.Heartbeat, epoch: int) -> None:
        known = self._joined.get(beat.name, -1)
        if epoch < known:
            return
        gaps = self._tracker.heard(beat.name, epoch, beat.streams) if epoch == known else []
        for gap in gaps:
            self._fetch(gap.source, gap.epoch, gap.topic, gap.first_missing, gap.last_missing)
        if epoch == known:
            return
        self._joined[beat.name] = epoch
        past: list[tuple[str, wire.Envelope, wire.Event]] = []
        for topic, high in beat.streams.items():
            back = next((n for start, n in _BACK.items() if topic.startswith(start)), 0)
            first = max(1, high - back + 1)
            if back and high:
                past += self._fetched(beat.name, epoch, topic, first, high)
            self._tracker.heard(beat.name, epoch, {topic: high})
        for topic, envelope, event in sorted(past, key=lambda found: found[1].ts_pub_ns):
            self._put(topic, envelope, event)
        self.caught_up = self.caught_up or beat.role == "node"
        log.info("joined %s, epoch %d, %d events of its past", beat.name, epoch, len(past))

    def _fetch(self, source: str, epoch: int, topic: str, first: int, last: int) -> None:
        for found in self._fetched(source, epoch, topic, first, last):
            self._put(*found)

    def _fetched(
        self, source: str, epoch: int, topic: str, first: int, last: int
    ) -> list[tuple[str, wire.Envelope, wire.Event]]:
        """Return what a history has of a range, and take note of what it has not."""
        found = []
        for envelope in self._pages(source, epoch, topic, first, last):
            with contextlib.suppress(ProtocolError):
                found.append((topic, envelope, wire.event(envelope)))
        self.fetched += len(found)
        return found

    def _pages(
        self, source: str, epoch: int, topic: str, first: int, last: int
    ) -> Iterator[wire.Envelope]:
        deadline_s = time.monotonic() + _PATIENCE_S
        places = [HISTORY, history_of(source)]
        while first <= last and places and time.monotonic() < deadline_s:
            if self._stopping.is_set():
                return
            if self._alive():
                self._beat()  # many ranges may take longer than a supervisor waits
            fetch = wire.Fetch(places[0], self._name, source, epoch, topic, first, last)
            try:
                reply = self._requester.ask(fetch, _ASK_S)
            except BusError:
                places.pop(0)
                continue
            match reply:
                case wire.Frames(frames=frames) if frames:
                    for frame in frames:
                        with contextlib.suppress(ProtocolError):
                            yield wire.unpack(frame)[1]
                    first += len(frames)
                    deadline_s = time.monotonic() + _PATIENCE_S
                case wire.Evicted(low=low) if first < low <= last and len(places) == 1:
                    self._lost(source, epoch, topic, first, low - 1)
                    first = low
                case wire.Refused(retry=True) if len(places) == 1:
                    time.sleep(0.05)
                case _:
                    places.pop(0)
        if first <= last:
            self._lost(source, epoch, topic, first, last)

    def _lost(self, source: str, epoch: int, topic: str, first: int, last: int) -> None:
        log.warning("%s of %s: %d to %d are gone", topic, source, first, last)
        self.missed += last - first + 1
        with self.lock:
            self.state.missed(source, epoch, topic, first, last, time.time_ns())

    def _put(self, topic: str, envelope: wire.Envelope, event: wire.Event) -> None:
        with self.lock:
            row = shown(topic, envelope, event, self.hub.n + 1)
            self.state.take(event, row, time.time_ns())
            self.hub.push(row)
        self._on_event(row)
