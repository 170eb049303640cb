"""The ends of the bus: publisher, subscriber, requester, responder. Only the broker is its middle.

Sockets belong to the thread that made them. Nothing here blocks longer than it is told to, every
queue has a bound, and what is dropped is counted. Law: docs/protocol.md.
"""

import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Protocol, Self

import msgspec
import zmq

from grid import wire
from grid.errors import BusError, ConfigError, ProtocolError

EVENTS_HWM: Final = 100_000  # about 20 MB of small events; 10 s at 10,000 events/s
REQUESTS_HWM: Final = 1_000
RETRY_S: Final = 0.05

_POLLIN: Final = int(zmq.POLLIN)
_MORE: Final = zmq.NOBLOCK | zmq.SNDMORE
_ZERO_COPY_RECV: Final = 10  # not named by pyzmq
_MAX_IPC_PATH_BYTES: Final = 100  # sun_path has 108

Endpoint = Annotated[str, msgspec.Meta(pattern=r"^(tcp://[^\s]+:\d+|ipc://[^\s]+)$")]


class Addresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a grid meets: ZeroMQ endpoints, `tcp://host:port` or `ipc://path`.

    Attributes:
        events_in: publishers connect here.
        events_out: subscribers connect here.
        requests: agents connect here.
        strategies: nodes connect here.
        feed: the feed binds here, the node connects.
    """

    events_in: Endpoint = "tcp://127.0.0.1:5570"
    events_out: Endpoint = "tcp://127.0.0.1:5571"
    requests: Endpoint = "tcp://127.0.0.1:5572"
    strategies: Endpoint = "tcp://127.0.0.1:5573"
    feed: Endpoint = "tcp://127.0.0.1:5574"

    def __post_init__(self) -> None:
        ends = [getattr(self, f) for f in self.__struct_fields__]
        twice = sorted({e for e in ends if ends.count(e) > 1})
        if twice:
            raise ValueError(f"expected five different endpoints, found {twice[0]} twice")

    @classmethod
    def ipc(cls, folder: Path) -> Self:
        """Return addresses that are sockets in `folder`, which is made, for its owner alone.

        Raises:
            ConfigError: the path is longer than a Unix socket's may be.
        """
        ends = {f: folder.absolute() / f for f in cls.__struct_fields__}
        longest = max(len(os.fsencode(e)) for e in ends.values())
        if longest > _MAX_IPC_PATH_BYTES:
            raise ConfigError(
                f"{folder}: expected socket paths of at most {_MAX_IPC_PATH_BYTES} bytes,"
                f" found {longest}; choose a shorter folder"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(**{f: f"ipc://{end}" for f, end in ends.items()})


def new_context() -> zmq.Context[zmq.Socket[bytes]]:
    """Return a ZeroMQ context; one a process."""
    context = zmq.Context()
    # else every small message that waits in a queue pins its whole 8 KiB receive buffer
    context.set(_ZERO_COPY_RECV, 0)
    return context


def new_socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    """Return a socket with the grid's options: bounded frames, quick reconnects, no lingering."""
    socket = context.socket(kind)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.MAXMSGSIZE, wire.MAX_FRAME_BYTES)
    socket.set(zmq.CONNECT_TIMEOUT, 800)
    socket.set(zmq.RECONNECT_IVL, 100)
    socket.set(zmq.RECONNECT_IVL_MAX, 1_000)
    socket.set(zmq.HANDSHAKE_IVL, 2_000)
    socket.set(zmq.HEARTBEAT_IVL, 1_000)
    socket.set(zmq.HEARTBEAT_TIMEOUT, 3_000)
    socket.set(zmq.HEARTBEAT_TTL, 6_000)
    socket.set(zmq.TCP_KEEPALIVE, 1)
    return socket


def readable(socket: zmq.Socket[bytes]) -> bool:
    """Say whether a message is here; five times cheaper than to try and catch `Again`."""
    return bool(int(socket.get(zmq.EVENTS)) & _POLLIN)


def send_frames(socket: zmq.Socket[bytes], *frames: bytes) -> None:
    """Send one message of several frames without waiting, or raise `zmq.ZMQError`."""
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], zmq.NOBLOCK)


def _ms(seconds: float) -> int:
    return max(0, math.ceil(seconds * 1e3))


class Waitable(Protocol):
    """What `wait` can wait for."""

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket that becomes readable."""


def wait(ends: Iterable[Waitable | int], timeout_s: float) -> list[Waitable | int]:
    """Wait until any of `ends` (ends of the bus, or file descriptors) is readable; return those."""
    poller = zmq.Poller()
    handles: dict[zmq.Socket[bytes] | int, Waitable | int] = {}
    for end in ends:
        handle = end if isinstance(end, int) else end.socket
        handles[handle] = end
        poller.register(handle, zmq.POLLIN)
    return [handles[h] for h, _ in poller.poll(_ms(timeout_s))]


class Publisher:
    """Sends events of one source, in streams counted from 1. Never blocks longer than `wait_s`.

    Attributes:
        high: topic -> last sequence given out.
        dropped: events that found the queue full; their sequences are gone, so subscribers know.

    Args:
        context: of `new_context`.
        address: the broker's `events_in`.
        source: name of this process; unique in the grid.
        epoch: of this process: see `grid.epoch`.
        role: what this process is, for its heartbeats.
        wait_s: how long an event may wait for room in the queue before it is dropped.
        hwm: events that may wait in the queue.
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
    ) -> None:
        self.source = source
        self.epoch = epoch
        self.role = role or source
        self.high: dict[str, int] = {}
        self.dropped = 0
        self._started_s = time.monotonic()
        self._socket = new_socket(context, zmq.PUB)
        self._socket.set(zmq.SNDHWM, hwm)
        # without it a full queue loses silently, with it the send fails and can be counted
        self._socket.set(zmq.XPUB_NODROP, 1)
        self._socket.set(zmq.SNDTIMEO, _ms(wait_s))
        self._socket.connect(address)

    def publish(self, topic: str, event: wire.Event) -> int:
        """Send an event and return its sequence.

        Raises:
            ProtocolError: it is larger than a frame may be; it takes no sequence.
        """
        seq = self.high.get(topic, 0) + 1
        frame = wire.pack(topic, self.source, self.epoch, seq, time.time_ns(), event)
        if len(frame) > wire.MAX_FRAME_BYTES:
            raise ProtocolError(
                f"event on {topic}: expected at most {wire.MAX_FRAME_BYTES} bytes,"
                f" found {len(frame)}"
            )
        self.high[topic] = seq
        self.send(frame)
        return seq

    def send(self, frame: bytes) -> bool:
        """Send a whole frame as it is, as a replay does; say whether there was room for it."""
        try:
            self._socket.send(frame)
        except zmq.Again:
            self.dropped += 1
            return False
        return True

    def heartbeat(self, state: str, counters: dict[str, float] | None = None) -> int:
        """Publish this process's `Heartbeat`, every second at least, from its working thread."""
        topic = f"sys.{self.source}"
        streams = {t: seq for t, seq in self.high.items() if t != topic}
        uptime_s = time.monotonic() - self._started_s
        counted = {"dropped": float(self.dropped), **(counters or {})}
        return self.publish(
            topic,
            wire.Heartbeat(self.source, self.role, os.getpid(), state, uptime_s, counted, streams),
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
        self._timeout_s = -1.0
        self.socket = new_socket(context, zmq.SUB)
        self.socket.set(zmq.RCVHWM, hwm)
        self.socket.set(zmq.SNDHWM, 0)  # else subscriptions beyond the first 1,000 are lost
        for prefix in prefixes:
            self.socket.subscribe(prefix)
        self.socket.connect(address)

    @property
    def fd(self) -> int:
        """Edge-triggered descriptor: after a wake-up, drain until there is nothing more."""
        return int(self.socket.get(zmq.FD))

    def recv(self, timeout_s: float = 0.0) -> tuple[str, wire.Envelope, bytes] | None:
        """Return the next event as (topic, envelope, whole frame), or None after `timeout_s`."""
        while (frame := self.frame(timeout_s)) is not None:
            try:
                topic, envelope = wire.unpack(frame)
            except ProtocolError:
                self.bad += 1
                continue
            return topic, envelope, frame
        return None

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
        """Wait up to `timeout_s` for a frame; return it and those behind it, at most `limit`."""
        first = self.frame(timeout_s)
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

    def frame(self, timeout_s: float = 0.0) -> bytes | None:
        """Return the next whole frame, undecoded, or None after `timeout_s`."""
        if timeout_s != self._timeout_s:
            self._timeout_s = timeout_s
            self.socket.set(zmq.RCVTIMEO, _ms(timeout_s))
        try:
            return self.socket.recv()
        except zmq.Again:
            return None

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class Requester:
    """Asks strategies through the broker, with the envelope of a plain REQ socket.

    A lost reply cannot lock it: `ask` gives up, throws the socket away and asks again on a fresh
    one, where no late reply can be taken for the new one.

    Attributes:
        bad: replies that were not of this protocol.
        socket: for `wait`; a new one after each miss.

    Args:
        context: of `new_context`.
        address: the broker's `requests`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.bad = 0
        self._context = context
        self._address = address
        self._open = 0  # requests that wait for a reply
        self.socket = self._connect()

    def send(self, request: wire.Request) -> bool:
        """Send without waiting; say whether a broker is there to take it."""
        try:
            send_frames(self.socket, b"", wire.encode(request))
        except zmq.Again:
            return False
        self._open += 1
        return True

    def recv(self, timeout_s: float = 0.0) -> wire.Reply | None:
        """Return the next reply, or None after `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        while readable(self.socket) or self._wait(zmq.POLLIN, deadline_s):
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
            self._open = max(0, self._open - 1)
            try:
                return wire.reply(frames[-1])
            except ProtocolError:
                self.bad += 1
        return None

    def ask(self, request: wire.Request, timeout_s: float, retries: int = 0) -> wire.Reply:
        """Send and wait for the reply; up to `retries` times more when there is none.

        The same request goes out again: an `Action` has a key, so that it cannot act twice.

        Raises:
            BusError: no reply to any of them.
        """
        if self._open:
            self.renew()
        for _ in range(retries + 1):
            deadline_s = time.monotonic() + timeout_s
            sent = self.send(request) or (
                self._wait(zmq.POLLOUT, deadline_s) and self.send(request)
            )
            if sent and (reply := self.recv(deadline_s - time.monotonic())) is not None:
                return reply
            self.renew()
        raise BusError(
            f"{self._address}: no reply to {type(request).__name__} for strategy"
            f" {request.strategy_id!r} in {retries + 1} x {timeout_s:g} s"
        )

    def renew(self) -> None:
        """Go on with a fresh socket; replies to what was sent before are never seen."""
        self.socket.close()
        self._open = 0
        self.socket = self._connect()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _wait(self, events: int, deadline_s: float) -> bool:
        left_s = deadline_s - time.monotonic()
        return left_s > 0.0 and bool(self.socket.poll(_ms(left_s), events))

    def _connect(self) -> zmq.Socket[bytes]:
        socket = new_socket(self._context, zmq.DEALER)
        socket.set(zmq.SNDHWM, REQUESTS_HWM)
        socket.set(zmq.RCVHWM, REQUESTS_HWM)
        # a request must not wait for a broker that comes back: it would arrive stale
        socket.set(zmq.IMMEDIATE, 1)
        socket.connect(self._address)
        return socket


class Responder:
    """The strategy's end of the requests: registers, receives, replies. Never blocks.

    Attributes:
        dropped: registrations and replies that no broker was there to take.
        bad: requests that could not be decoded; they are answered here.
        socket: for `wait`.

    Args:
        context: of `new_context`.
        address: the broker's `strategies`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.dropped = 0
        self.bad = 0
        self.socket = new_socket(context, zmq.DEALER)
        self.socket.set(zmq.SNDHWM, REQUESTS_HWM)
        self.socket.set(zmq.RCVHWM, REQUESTS_HWM)
        self.socket.set(zmq.IMMEDIATE, 1)
        self.socket.connect(address)

    @property
    def fd(self) -> int:
        """Edge-triggered descriptor for an event loop's `add_reader`.

        After a wake-up, and after each `register` or `reply`, call `recv` until it gives None:
        sending, too, may take in what has arrived, and then the descriptor stays silent.
        """
        return int(self.socket.get(zmq.FD))

    def register(self, strategy_id: str, epoch: int) -> bool:
        """Tell the broker, each second, that requests for `strategy_id` come here."""
        return self._send(b"", wire.encode(wire.Register(strategy_id, epoch)))

    def recv(self) -> tuple[bytes, wire.Request] | None:
        """Return the next request with its correlation id, or None when there is none."""
        while readable(self.socket):
            frames = self.socket.recv_multipart(zmq.NOBLOCK)
            if len(frames) != 2:
                self.bad += 1
                continue
            corr, payload = frames
            try:
                return corr, wire.request(payload)
            except ProtocolError as e:
                self.bad += 1
                self.reply(corr, wire.Refused(str(e), retry=False))
        return None

    def reply(self, corr: bytes, reply: wire.Reply) -> bool:
        """Send the one reply to the request that came with `corr`."""
        return self._send(corr, wire.encode(reply))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _send(self, corr: bytes, payload: bytes) -> bool:
        try:
            send_frames(self.socket, corr, payload)
        except zmq.Again:
            self.dropped += 1
            return False
        return True


def wait_until_flowing(
    context: zmq.Context[zmq.Socket[bytes]],
    addresses: Addresses,
    publisher: Publisher,
    timeout_s: float,
) -> None:
    """Publish heartbeats until one comes back through the broker: no event after it is lost.

    Raises:
        BusError: none came back within `timeout_s`.
    """
    subscriber = Subscriber(context, addresses.events_out, [f"sys.{publisher.source}"])
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            publisher.heartbeat("starting")
            while (event := subscriber.recv(RETRY_S)) is not None:
                envelope = event[1]
                if (envelope.source, envelope.epoch) == (publisher.source, publisher.epoch):
                    return
    finally:
        subscriber.close()
    raise BusError(
        f"{addresses.events_in}: no event came back through the broker within {timeout_s:g} s;"
        f" is it running?"
    )
