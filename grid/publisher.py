"""`Publisher`: the end of the bus that events go in at."""

import os
import time
from collections.abc import Iterable
from typing import Final

import zmq

from grid import wire
from grid.context import connect, refresh
from grid.errors import ProtocolError
from grid.ring import Ring
from grid.sockets import EVENTS_HWM, new_socket, to_ms

BATCH_EVENTS: Final = 16
BATCH_BYTES: Final = 64 << 10


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
        frame = wire.pack(topic, self.source, self.epoch, seq, self._ts_ns, event)
        self._check(topic, frame)
        if self.ring.limit_bytes and not isinstance(event, wire.Heartbeat):
            self.ring.keep((self.source, self.epoch, topic), seq, frame)
        self.high[topic] = seq
        self.send(frame)
        return seq

    def publish_all(self, topic: str, events: Iterable[wire.Event]) -> int:
        """Send events of one topic and return the last sequence.

        Up to `BATCH_EVENTS` share a frame, which is far cheaper for everyone.

        Raises:
            ProtocolError: one is larger than a frame may be; those before it were sent.
        """
        head, batch = topic.encode() + b"\0", list[bytes]()
        source, epoch, keeps = self.source, self.epoch, self.ring.limit_bytes > 0
        seq, size_bytes, ts_ns = self.high.get(topic, 0), 0, self._now_ns() - 1
        try:
            for event in events:
                ts_ns += 1
                envelope = wire.wrap(source, epoch, seq + 1, ts_ns, event)
                size_bytes += len(envelope)
                if len(batch) == BATCH_EVENTS or size_bytes > BATCH_BYTES:
                    self._check(topic, head + envelope)
                    self._send_batch(head, batch)
                    batch, size_bytes = [], len(envelope)
                seq += 1
                batch.append(envelope)
                if keeps:
                    self.ring.keep((source, epoch, topic), seq, head + envelope)
        finally:
            self.high[topic] = seq
            self._ts_ns = ts_ns
            self._send_batch(head, batch)
        return seq

    def _now_ns(self) -> int:
        # strictly growing, whatever the clock does: it orders the events of all topics
        return max(time.time_ns(), self._ts_ns + 1)

    def _check(self, topic: str, frame: bytes) -> None:
        if len(frame) > wire.MAX_FRAME_BYTES:
            raise ProtocolError(
                f"event on {topic}: expected at most {wire.MAX_FRAME_BYTES} bytes,"
                f" found {len(frame)}"
            )

    def _send_batch(self, head: bytes, batch: list[bytes]) -> None:
        if batch and not self.send(wire.join(head, batch)):
            self.dropped += len(batch) - 1

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
