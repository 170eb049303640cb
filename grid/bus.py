"""The ends of the bus: publisher, subscriber, requester, responder. Only the broker is its middle.

Sockets belong to the thread that made them. Nothing here blocks longer than it is told to, every
queue has a bound, and what is dropped is counted. Law: docs/protocol.md.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        self._ts_ns = 0
        self._started_s = time.monotonic()
        self._socket = new_socket(context, zmq.PUB)
        self._socket.set(zmq.SNDHWM, hwm)
        # without it a full queue loses silently, with it the send fails and can be counted
        self._socket.set(zmq.XPUB_NODROP, 1)
        self._socket.set(zmq.SNDTIMEO, to_ms(wait_s))
        connect(self._socket, address)
        self._send = self._socket.send

    @property
    def uptime_s(self) -> float:
        """How long this publisher has been there."""
        return time.monotonic() - self._started_s

    def publish(self, topic: str, event: wire.Event) -> int:
        """Send an event and return its sequence.

        Raises:
            ProtocolError: it is larger than a frame may be; it takes no sequence.
        """
        seq = self.high.get(topic, 0) + 1
        self._ts_ns = self._now_ns()
        frame = self._pack(topic, seq, self._ts_ns, event)
        self.high[topic] = seq
        self.send(frame)
        return seq

    def publish_all(self, topic: str, events: Iterable[wire.Event]) -> int:
        """Send events of one topic and return the last sequence.

        Up to `BATCH_EVENTS` share a frame, which is far cheaper for everyone.

        Raises:
            ProtocolError: one is larger than a frame may be; those before it were sent.
        """
        frames: list[bytes] = []
        seq, size_bytes, ts_ns = self.high.get(topic, 0), 0, self._now_ns() - 1
        try:
            for event in events:
                ts_ns += 1
                frame = self._pack(topic, seq + 1, ts_ns, event)
                if len(frames) == BATCH_EVENTS or size_bytes + len(frame) > BATCH_BYTES:
                    self._send_batch(frames)
                    frames, size_bytes = [], 0
                seq += 1
                frames.append(frame)
                size_bytes += len(frame)
        finally:
            self.high[topic] = seq
            self._ts_ns = ts_ns
            self._send_batch(frames)
        return seq

    def _now_ns(self) -> int:
        # strictly growing, whatever the clock does: it orders the events of all topics
        return max(time.time_ns(), self._ts_ns + 1)

    def _pack(self, topic: str, seq: int, ts_ns: int, event: wire.Event) -> bytes:
        frame = wire.pack(topic, self.source, self.epoch, seq, ts_ns, event)
        if len(frame) > wire.MAX_FRAME_BYTES:
            raise ProtocolError(
                f"event on {topic}: expected at most {wire.MAX_FRAME_BYTES} bytes,"
                f" found {len(frame)}"
            )
        if self.ring.limit_bytes and not isinstance(event, wire.Heartbeat):
            self.ring.keep((self.source, self.epoch, topic), seq, frame)
        return frame

    def _send_batch(self, frames: list[bytes]) -> None:
        if frames and not self.send(wire.pack_batch(frames)):
            self.dropped += len(frames) - 1

    def send(self, frame: bytes) -> bool:
        """Send a whole frame as it is, as a replay does; say whether there was room for it."""
        try:
            self._send(frame)
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
        # of the last batch, what was not given out
        self._split: deque[tuple[str, wire.Envelope, bytes]] = deque()
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
        while not self._split:
            frame = self._receive(timeout_s)
            if frame is None:
                return None
            try:
                topic, envelope = wire.unpack(frame)
            except ProtocolError:
                self._open(frame)
                continue
            return topic, envelope, frame
        return self._split.popleft()

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
        frames = [frame for _, _, frame in self._split]
        self._split.clear()
        for frame in self._burst(limit - len(frames), 0.0 if frames else timeout_s):
            if wire.is_batch(frame):
                try:
                    frames += wire.split_batch(frame)
                except ProtocolError:
                    self.bad += 1
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

    def _open(self, frame: bytes) -> None:
        """Keep the events of a batch; of anything else none, and count it."""
        try:
            if wire.is_batch(frame):
                self._split.extend(wire.unpack_batch(frame))
                return
        except ProtocolError:
            pass
        self.bad += 1

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
