"""The ends of requests and replies: an agent asks, a strategy answers, the broker between them.

Each request has exactly one reply, but a reply may be lost: nothing here waits for ever, or is
locked by it. Law: docs/protocol.md.
"""

import time
from typing import Final

import zmq

from grid import wire
from grid.context import connect
from grid.errors import BusError, ProtocolError
from grid.sockets import new_socket, readable, send_frames, to_ms

REQUESTS_HWM: Final = 1_000


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
            f" {wire.addressee(request)!r} in {retries + 1} x {timeout_s:g} s"
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
        return left_s > 0.0 and bool(self.socket.poll(to_ms(left_s), events))

    def _connect(self) -> zmq.Socket[bytes]:
        socket = new_socket(self._context, zmq.DEALER)
        socket.set(zmq.SNDHWM, REQUESTS_HWM)
        socket.set(zmq.RCVHWM, REQUESTS_HWM)
        # a request must not wait for a broker that comes back: it would arrive stale
        socket.set(zmq.IMMEDIATE, 1)
        connect(socket, self._address)
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
        connect(self.socket, address)

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
