"""The ends of a model server's socket: who answers, who asks and waits, who asks from a loop.

Sockets belong to the thread that made them. No wait is without end, every queue has a bound.
"""

import asyncio
import itertools
import select
import socket
import time
from typing import Final

import msgspec
import zmq

from grid.errors import BusError, ConfigError, ProtocolError
from grid.identity import is_local
from grid.serving import wire
from grid.sockets import new_socket, readable, send_frames, to_ms

_HWM: Final = 10_000  # replies that may wait for one asker


class Answerer:
    """The server's end.

    Attributes:
        bad: requests that could not be read; they are answered here.
        dropped: replies whose asker was gone or took none.

    Args:
        context: of `grid.bus.new_context`.
        addresses: to bind: `ipc://`, `inproc://`, or `tcp://` on loopback.

    Raises:
        BusError: an address is taken.
        ConfigError: an address could be reached from other machines.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], addresses: tuple[str, ...]) -> None:
        self.bad = 0
        self.dropped = 0
        self._socket = new_socket(context, zmq.ROUTER)
        self._socket.set(zmq.SNDHWM, _HWM)
        self._socket.set(zmq.RCVHWM, _HWM)
        self._socket.set(zmq.MAXMSGSIZE, wire.MAX_BYTES)
        self._socket.set(zmq.ROUTER_MANDATORY, 1)  # else a reply to nobody is lost uncounted
        for address in addresses:
            if not is_local(address):
                raise ConfigError(
                    f"{address}: expected ipc:// or loopback, since who asks shows no key here; "
                    "other machines come by HTTP or gRPC"
                )
            if _is_taken(address):
                raise BusError(f"{address}: taken by another process; is a model server there?")
            try:
                self._socket.bind(address)
            except zmq.ZMQError as e:
                raise BusError(
                    f"{address}: cannot be bound: {e.strerror}; is a model server there?"
                ) from e
        self._fd = int(self._socket.get(zmq.FD))

    @property
    def address(self) -> str:
        """The address that was bound last, with its port."""
        return bytes(self._socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()

    def wait(self, timeout_s: float, *fds: int) -> None:
        """Wait for a request or one of `fds`; call `recv` until it gives None before.

        To the microsecond, which a poll of ZeroMQ's is not.
        """
        if not readable(self._socket):
            select.select([self._fd, *fds], [], [], max(0.0, timeout_s))

    def recv(self) -> tuple[list[bytes], wire.Request] | None:
        """Return the next request and the way back, or None when there is none."""
        while readable(self._socket):
            *route, payload = self._socket.recv_multipart(zmq.NOBLOCK)
            try:
                return route, wire.request(payload)
            except ProtocolError as e:
                self.bad += 1
                self.reply(route, wire.Refusal(_id(payload), "BAD_INPUT", str(e)))
        return None

    def reply(self, route: list[bytes], reply: wire.Reply) -> None:
        """Send a reply the way that its request came."""
        try:
            send_frames(self._socket, *route, wire.encode(reply))
        except zmq.ZMQError:
            self.dropped += 1

    def close(self) -> None:
        """Close the socket; replies that are under way still have a second."""
        self._socket.close(linger=1_000)


class Asker:
    """Asks and waits for the reply; a lost one cannot lock it.

    Args:
        context: of `grid.bus.new_context`.
        address: of the server.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self._address = address
        self._ids = itertools.count(1)
        self._socket = _dealer(context, address)

    def predict(
        self, model: str, obs: bytes, timeout_s: float, version: str = ""
    ) -> wire.Prediction | wire.Refusal:
        """Return outputs or why there are none; the server has until the time-out, too.

        Raises:
            BusError: no reply in time.
        """
        deadline_ns = time.time_ns() + round(timeout_s * 1e9)
        reply = self.ask(wire.Predict(0, model, obs, version, deadline_ns), timeout_s)
        if isinstance(reply, wire.Prediction | wire.Refusal):
            return reply
        raise BusError(f"{self._address}: expected a Prediction, found {type(reply).__name__}")

    def ask(self, request: wire.Request, timeout_s: float) -> wire.Reply:
        """Send with an id of its own, and return the reply.

        Raises:
            BusError: no reply in time.
        """
        until_s = time.monotonic() + timeout_s
        number = next(self._ids)
        payload = wire.encode(msgspec.structs.replace(request, id=number))
        if self._send(payload, until_s):
            while readable(self._socket) or self._poll(zmq.POLLIN, until_s):
                reply = wire.reply(self._socket.recv_multipart(zmq.NOBLOCK)[-1])
                if reply.id == number:  # what was given up on may come later
                    return reply
        raise BusError(f"{self._address}: no reply of a model server in {timeout_s:g} s")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, payload: bytes, until_s: float) -> bool:
        while True:
            try:
                send_frames(self._socket, b"", payload)
                return True
            except zmq.Again:  # no server, or none yet
                if not self._poll(zmq.POLLOUT, until_s):
                    return False

    def _poll(self, events: int, until_s: float) -> bool:
        left_s = until_s - time.monotonic()
        return left_s > 0.0 and bool(self._socket.poll(to_ms(left_s), events))


class AsyncAsker:
    """Asks from an event loop, many at a time; make and use it there.

    Args:
        context: of `grid.bus.new_context`.
        address: of the server.
        limit: requests that may be under way.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, limit: int) -> None:
        self._ids = itertools.count(1)
        self._limit = limit
        self._open: dict[int, asyncio.Future[wire.Reply]] = {}
        self._socket = _dealer(context, address)
        self._fd = int(self._socket.get(zmq.FD))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._drain)

    async def ask(self, request: wire.Request, timeout_s: float) -> wire.Reply:
        """Return the reply; one that does not come in time is a refusal, EXPIRED."""
        number = next(self._ids)
        if len(self._open) >= self._limit:
            return wire.Refusal(number, "OVERLOADED", f"{self._limit} requests are under way")
        try:
            payload = wire.encode(msgspec.structs.replace(request, id=number))
            send_frames(self._socket, b"", payload)
        except zmq.Again:
            return wire.Refusal(number, "OVERLOADED", "the queue to the server is full")
        future = self._loop.create_future()
        self._open[number] = future
        self._loop.call_soon(self._drain)  # sending may have taken in what the fd told of
        timer = self._loop.call_later(timeout_s, self._expire, number, timeout_s)
        try:
            reply: wire.Reply = await future
            return reply
        finally:
            timer.cancel()
            self._open.pop(number, None)

    def close(self) -> None:
        """Close the socket; what is under way is refused."""
        self._loop.remove_reader(self._fd)
        for number, future in list(self._open.items()):
            _settle(future, wire.Refusal(number, "UNAVAILABLE", "the server is stopping"))
        self._socket.close()

    def _expire(self, number: int, timeout_s: float) -> None:
        if (future := self._open.get(number)) is not None:
            _settle(future, wire.Refusal(number, "EXPIRED", f"no reply in {timeout_s:g} s"))

    def _drain(self) -> None:
        if self._socket.closed:
            return
        while readable(self._socket):
            reply = wire.reply(self._socket.recv_multipart(zmq.NOBLOCK)[-1])
            if (future := self._open.get(reply.id)) is not None:
                _settle(future, reply)


def _settle(future: asyncio.Future[wire.Reply], reply: wire.Reply) -> None:
    if not future.done():
        future.set_result(reply)


def _dealer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    dealer = new_socket(context, zmq.DEALER)
    dealer.set(zmq.SNDHWM, _HWM)
    dealer.set(zmq.RCVHWM, _HWM)
    dealer.set(zmq.MAXMSGSIZE, wire.MAX_BYTES)
    dealer.set(zmq.IMMEDIATE, 1)  # a request must not wait for a server that comes back
    dealer.connect(address)  # without this process's key: the server has none, and is local
    return dealer


def _is_taken(address: str) -> bool:
    """Say whether somebody listens at an `ipc://` address: ZeroMQ would take it from them."""
    if not address.startswith("ipc://"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address.removeprefix("ipc://")) == 0


def _id(payload: bytes) -> int:
    class Numbered(msgspec.Struct):
        id: int = 0

    try:
        return msgspec.msgpack.decode(payload, type=Numbered).id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0
