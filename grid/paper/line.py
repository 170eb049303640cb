"""The node's end of the paper venue: every message is sent until it has its reply, in order.

Nothing here blocks. Law: docs/protocol.md.
"""

import time
from typing import Any, Final

import zmq

from grid import wire
from grid.context import connect
from grid.errors import ProtocolError
from grid.sockets import new_socket

SILENCE_S: Final = 1.0  # without a reply: all that waits is sent again, on a new socket
_QUEUE: Final = 10_000


class Line:
    """Numbers the messages to one account and matches the replies.

    Attributes:
        repeated: messages that were sent again.
        bad: frames that were not of this protocol.
        socket: for an event loop; a new one after each silence.

    Args:
        context: of `grid.bus.new_context`.
        address: of the venue.
        account_id: whose messages these are.
        epoch: of the node.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        account_id: str,
        epoch: int,
    ) -> None:
        self.repeated = 0
        self.bad = 0
        self._context = context
        self._address = address
        self._ids = (account_id, epoch)
        self._seq = 0
        self._waiting: dict[int, wire.VenueRequest] = {}  # for their reply, in order
        self._sent = 0  # sequence of the last one that is on its way
        self._heard_s = time.monotonic()
        self.socket = self._connect()

    @property
    def waiting(self) -> int:
        """How many messages have no reply yet."""
        return len(self._waiting)

    def send(self, kind: type[wire.VenueRequest], **fields: Any) -> None:
        """Send a message of that kind, now or as soon as the venue is there."""
        self._seq += 1
        account_id, epoch = self._ids
        if not self._waiting:
            self._heard_s = time.monotonic()
        self._waiting[self._seq] = kind(
            account_id=account_id, node_epoch=epoch, seq=self._seq, **fields
        )
        self._flush()

    def recv(self) -> tuple[wire.VenueRequest, wire.VenueReply] | None:
        """Return the next reply with what it answers, None if there is none; each comes once."""
        while True:
            try:
                frame = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                reply = wire.venue_reply(frame)
            except ProtocolError:
                self.bad += 1
                continue
            asked = self._waiting.pop(reply.seq, None)
            if asked is not None:
                self._heard_s = time.monotonic()
                return asked, reply

    def silent(self) -> bool:
        """Say whether messages have waited for so long that `renew` is due."""
        self._flush()
        return bool(self._waiting) and time.monotonic() - self._heard_s > SILENCE_S

    def renew(self) -> None:
        """Send all that waits again, on a new socket."""
        self.socket.close()
        self.socket = self._connect()
        self.repeated += sum(seq <= self._sent for seq in self._waiting)
        self._sent = 0
        self._heard_s = time.monotonic()
        self._flush()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _flush(self) -> None:
        for seq, message in self._waiting.items():
            if seq <= self._sent:
                continue
            try:
                self.socket.send(wire.encode(message), zmq.NOBLOCK)
            except zmq.Again:
                return
            self._sent = seq

    def _connect(self) -> zmq.Socket[bytes]:
        socket = new_socket(self._context, zmq.DEALER)
        socket.set(zmq.SNDHWM, _QUEUE)
        socket.set(zmq.RCVHWM, _QUEUE)
        socket.set(zmq.IMMEDIATE, 1)
        # a connection that breaks takes with it what was under way, and what comes next must not
        # overtake that on a new one: only `renew` makes one, and begins with the oldest
        socket.set(zmq.RECONNECT_IVL, -1)
        connect(socket, self._address)
        return socket
