"""`Subscriber`: the end of the bus that events come out at."""

from collections import deque
from collections.abc import Iterator, Sequence

import zmq

from grid import wire
from grid.context import connect
from grid.errors import ProtocolError
from grid.sockets import EVENTS_HWM, new_socket, readable, to_ms


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
        Receive in no other way until it has ended.
        """
        while self._split:
            yield self._split.popleft()[2]
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
