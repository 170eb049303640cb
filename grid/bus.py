"""The ends of the bus: publisher, subscriber, requester, responder. Only the broker is its middle.

Sockets belong to the thread that made them. Nothing here blocks longer than it is told to, every
queue has a bound, and what is dropped is counted. Law: docs/protocol.md.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import zmq

from grid import wire
from grid.context import connect, new_context, refresh
from grid.errors import BusError, ProtocolError
from grid.requests import REQUESTS_HWM, Requester, Responder
from grid.ring import Ring
from grid.sockets import (
    Addresses,
    Waiter,
    new_socket,
    readable,
    send_frames,
    to_ms,
    wait,
)

__all__ = [
    "BROKER_TIMEOUT_S",
    "EVENTS_HWM",
    "REQUESTS_HWM",
    "SAY_S",
    "Addresses",
    "Publisher",
    "Requester",
    "Responder",
    "Subscriber",
    "Waiter",
    "new_context",
    "new_socket",
    "readable",
    "send_frames",
    "wait",
    "wait_until_flowing",
]

log = logging.getLogger(__name__)

BATCH_EVENTS: Final = 16
BATCH_BYTES: Final = 64 << 10
EVENTS_HWM: Final = 100_000  # about 20 MB of small events; 10 s at 10,000 events/s
RETRY_S: Final = 0.05
BROKER_TIMEOUT_S: Final = 300.0  # a process that was started before the broker waits so long
SAY_S: Final = 5.0  # between two lines of the log that say what is waited for


class Publisher:
    """Sends events of one source, in streams counted from 1. Never blocks longer than `wait_s`.

    Attributes:
        high: topic -> last sequence given out.
        dropped: events that found the queue full; their sequences are gone, so subscribers know.
        ring: the last events, but no heartbeats, for those who missed some.

    Args:
        context: of `new_context`.
        address: the broker's `events_in`.
        source: name of this process; unique in the grid.
        epoch: of this process: see `grid.epoch`.
        role: what this process is, for its heartbeats.
        wait_s: how long an event may wait for room in the queue before it is dropped.
        hwm: events that may wait in the queue.
        ring_bytes: what the ring may hold.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        source: str,
        epoch: int,
        *,
        role: str = "",
        wait_s: float = 0.0,
        hwm: int = EVENTS_HWM,
        ring_bytes: int = 0,
    ) -> None:
        self.source = source
        self.epoch = epoch
        self.role = role or source
        self.high: dict[str, int] = {}
        self.dropped = 0
        self.ring = Ring(ring_bytes)
        self._held: list[bytes] = []  # frames of one topic that go with the next one
        self._held_bytes = 0
        self._ts_ns = 0
        self._started_s = time.monotonic()
        self._socket = new_socket(context, zmq.PUB)
        self._socket.set(zmq.SNDHWM, hwm)
        # without it a full queue loses silently, with it the send fails and can be counted
        self._socket.set(zmq.XPUB_NODROP, 1)
        self._socket.set(zmq.SNDTIMEO, to_ms(wait_s))
        connect(self._socket, address)

    @property
    def uptime_s(self) -> float:
        """How long this publisher has been there."""
        return time.monotonic() - self._started_s

    def publish(self, topic: str, event: wire.Event, *, more: bool = False) -> int:
        """Send an event and return its sequence.

        Args:
            topic: of the event.
            event: what to send.
            more: another one follows at once: it may wait to go with that in one frame, which is
                far cheaper for everyone. Nothing waits any longer once `more` is false.

        Raises:
            ProtocolError: it is larger than a frame may be; it takes no sequence.
        """
        seq = self.high.get(topic, 0) + 1
        # strictly growing, whatever the clock does: it orders the events of all topics
        self._ts_ns = max(time.time_ns(), self._ts_ns + 1)
        frame = wire.pack(topic, self.source, self.epoch, seq, self._ts_ns, event)
        if len(frame) > wire.MAX_FRAME_BYTES:
            raise ProtocolError(
                f"event on {topic}: expected at most {wire.MAX_FRAME_BYTES} bytes,"
                f" found {len(frame)}"
            )
        self.high[topic] = seq
        if self.ring.limit_bytes and not isinstance(event, wire.Heartbeat):
            self.ring.keep((self.source, self.epoch, topic), seq, frame)
        if more or self._held:
            self._hold(frame, more)
        else:
            self.send(frame)
        return seq

    def flush(self) -> None:
        """Send what waits for more."""
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.send(wire.pack_batch(held)):
            self.dropped += len(held) - 1

    def _hold(self, frame: bytes, more: bool) -> None:
        if self._held:
            head = self._held[0]
            full = self._held_bytes + len(frame) > BATCH_BYTES
            if full or not frame.startswith(head[: head.index(0) + 1]):
                self.flush()
        self._held.append(frame)
        self._held_bytes += len(frame)
        if not more or len(self._held) == BATCH_EVENTS:
            self.flush()

    def send(self, frame: bytes) -> bool:
        """Send a whole frame as it is, as a replay does; say whether there was room for it."""
        try:
            self._socket.send(frame)
        except zmq.Again:
            self.dropped += 1
            return False
        return True

    def heartbeat(self, state: str, counters: dict[str, float] | None = None) -> int:
        """Publish this process's `Heartbeat`, every second at least, from its working thread.

        With it, the sockets of this thread keep up with keys that have changed.
        """
        refresh(self._socket.context)
        topic = f"sys.{self.source}"
        streams = {t: seq for t, seq in self.high.items() if t != topic}
        counted = {"dropped": float(self.dropped), **(counters or {})}
        return self.publish(
            topic,
            wire.Heartbeat(
                self.source, self.role, os.getpid(), state, self.uptime_s, counted, streams
            ),
        )

    def close(self) -> None:
        """Close the socket; what still waits in its queue is lost."""
        self._socket.close()


class Subscriber:
    """Receives events whose topic begins with one of `prefixes`.

    Attributes:
        bad: frames that are not of this protocol; dropped.
        socket: for `wait`.

    Args:
        context: of `new_context`.
        address: the broker's `events_out`.
        prefixes: of topics; an empty one means everything.
        hwm: events that may wait here; 0 means as many as memory holds.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        prefixes: Sequence[str],
        *,
        hwm: int = EVENTS_HWM,
    ) -> None:
        self.bad = 0
        self._split: deque[bytes] = deque()  # of the last batch, what was not given out
        self._timeout_s = -1.0
        self.socket = new_socket(context, zmq.SUB)
        self.socket.set(zmq.RCVHWM, hwm)
        self.socket.set(zmq.SNDHWM, 0)  # else subscriptions beyond the first 1,000 are lost
        for prefix in prefixes:
            self.socket.subscribe(prefix)
        connect(self.socket, address)

    def follow(self, prefix: str) -> None:
        """Receive topics that begin with `prefix`, too, from a moment later on."""
        self.socket.subscribe(prefix)

    @property
    def pending(self) -> bool:
        """Whether events of a batch are here that no socket tells of any more."""
        return bool(self._split)

    @property
    def fd(self) -> int:
        """Edge-triggered descriptor: after a wake-up, drain until there is nothing more."""
        return int(self.socket.get(zmq.FD))

    def recv(self, timeout_s: float = 0.0) -> tuple[str, wire.Envelope, bytes] | None:
        """Return the next event as (topic, envelope, whole frame), or None after `timeout_s`."""
        while True:
            frame = self._split.popleft() if self._split else self._receive(timeout_s)
            if frame is None:
                return None
            try:
                topic, envelope = wire.unpack(frame)
            except ProtocolError:
                self._split.extend(self._opened(frame))
                continue
            return topic, envelope, frame

    def drain(self, limit: int) -> list[tuple[str, wire.Envelope, bytes]]:
        """Return the events that are here already, at most `limit`, without waiting."""
        events = []
        for frame in self.frames(limit):
            try:
                events.append((*wire.unpack(frame), frame))
            except ProtocolError:
                self.bad += 1
        return events

    def frames(self, limit: int, timeout_s: float = 0.0) -> list[bytes]:
        """Wait up to `timeout_s` for a frame; return it and those behind it, about `limit`.

        A batch is given out whole, so that none of it stays here while someone waits for more.
        """
        frames = list(self._split)
        self._split.clear()
        for frame in self._burst(limit - len(frames), 0.0 if frames else timeout_s):
            if wire.is_batch(frame):
                frames += self._opened(frame)
            else:
                frames.append(frame)
        return frames

    def stream(self, timeout_s: float) -> Iterator[bytes]:
        """Yield frames as they come, batches as batches, until none has come for `timeout_s`.

        The least that it can cost to receive: `wire.events_in` says how many events a frame has.
        """
        frame = self._receive(timeout_s)
        recv = self.socket.recv
        try:
            while frame is not None:
                yield frame
                frame = recv()
        except zmq.Again:
            return

    def _burst(self, limit: int, timeout_s: float) -> list[bytes]:
        first = self._receive(timeout_s) if limit > 0 else None
        if first is None:
            return []
        frames = [first]
        if limit == 1 or not readable(self.socket):
            return frames
        recv = self.socket.recv
        try:
            while len(frames) < limit:
                frames.append(recv(zmq.NOBLOCK))
        except zmq.Again:
            pass
        return frames

    def _receive(self, timeout_s: float) -> bytes | None:
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            self.socket.set(zmq.RCVTIMEO, to_ms(timeout_s))
        try:
            return self.socket.recv()
        except zmq.Again:
            return None

    def _opened(self, frame: bytes) -> list[bytes]:
        """Return the frames of a batch; of anything else none, and count it."""
        try:
            if wire.is_batch(frame):
                return wire.split_batch(frame)
        except ProtocolError:
            pass
        self.bad += 1
        return []

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def wait_until_flowing(
    context: zmq.Context[zmq.Socket[bytes]],
    addresses: Addresses,
    publisher: Publisher,
    timeout_s: float,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Publish heartbeats until one comes back through the broker: no event after it is lost.

    Returns:
        Whether one came back; False when `stopping` said so before.

    Raises:
        BusError: none came back within `timeout_s`.
    """
    subscriber = Subscriber(context, addresses.events_out, [f"sys.{publisher.source}"])
    now_s = time.monotonic()
    deadline_s = now_s + timeout_s
    said_s = now_s - SAY_S + 1.0
    try:
        while now_s < deadline_s and not stopping():
            publisher.heartbeat("starting")
            while (event := subscriber.recv(RETRY_S)) is not None:
                envelope = event[1]
                if (envelope.source, envelope.epoch) == (publisher.source, publisher.epoch):
                    return True
            now_s = time.monotonic()
            if now_s - said_s >= SAY_S:
                said_s = now_s
                where, topic = addresses.events_in, f"sys.{publisher.source}"
                log.info("waiting for a broker at %s that lets %s through", where, topic)
    finally:
        subscriber.close()
    if stopping():
        return False
    raise BusError(
        f"{addresses.events_in}: no event came back through the broker within {timeout_s:g} s;"
        f" is it running?"
    )
