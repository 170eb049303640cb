"""The paper venue's process: takes orders and ticks from nodes, and replies. Law: docs/protocol.md.

It may be killed at any moment: what a node was told is on the disk, and what it was not told it
asks for again.
"""

import contextlib
import fcntl
import logging
import math
import os
import time
from pathlib import Path
from typing import Final

import zmq

from grid import wire
from grid.bus import Addresses, Publisher, new_context, new_socket, wait, wait_until_flowing
from grid.context import Context, receive
from grid.errors import BusError, ProtocolError
from grid.paper.counterparty import Counterparty
from grid.paper.journal import Journal
from grid.process import Lifeline

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
START_TIMEOUT_S: Final = 30.0
BURST: Final = 256  # messages taken before the clock is looked at again


def run(
    file: Path, addresses: Addresses, life: Lifeline, *, epoch: int, name: str = "venue"
) -> None:
    """Be the paper venue until `life.stopping`; ready when a node can connect.

    Args:
        file: the journal: see `grid.paper.journal`.
        addresses: of the grid.
        life: of this process.
        epoch: of this process: see `grid.epoch`.
        name: source of its heartbeats.

    Raises:
        BusError: the broker does not answer, or another venue is running here.
        DataError: the journal is damaged.
    """
    with contextlib.ExitStack() as stack:
        _lock(file, stack)
        journal = stack.enter_context(contextlib.closing(Journal(file)))
        context = new_context()
        stack.callback(context.destroy, linger=0)
        publisher = Publisher(context, addresses.events_in, name, epoch, role="venue")
        stack.callback(publisher.close)
        wait_until_flowing(context, addresses, publisher, START_TIMEOUT_S)
        door = _Door(_router(context, addresses.venue, stack), Counterparty(journal))
        log.info("ready: %s", file)
        life.ready()
        _loop(door, publisher, life)
        publisher.heartbeat("stopping", door.counters())


class _Door:
    """The socket of the venue: one reply to each message."""

    def __init__(self, socket: zmq.Socket[bytes], counterparty: Counterparty) -> None:
        self.socket = socket
        self.bad = 0
        self.lost = 0
        self._counterparty = counterparty

    def serve(self) -> None:
        """Answer what has arrived, at most `BURST` messages."""
        for _ in range(BURST):
            try:
                (sender, *frames), who = receive(self.socket)
            except zmq.Again:
                return
            if not who.grant.trade:
                self.bad += 1
                continue
            try:
                if len(frames) != 1:
                    raise ProtocolError(f"expected one frame, found {len(frames)}")
                asked = wire.venue_request(frames[0])
            except ProtocolError as e:
                self.bad += 1
                log.warning("from a node: %s", e)
                continue
            reply = self._counterparty.handle(asked)
            if reply is None:
                continue
            try:
                self.socket.send_multipart([sender, wire.encode(reply)], zmq.NOBLOCK)
            except zmq.ZMQError:  # gone; whoever comes after it asks again
                self.lost += 1

    def counters(self) -> dict[str, float]:
        """Return the counters of the heartbeat."""
        counts = {k: float(v) for k, v in self._counterparty.counts.items()}
        held = sum(len(a.open) for a in self._counterparty.accounts.values())
        return {**counts, "open_orders": float(held), "bad": float(self.bad), "lost": self.lost}


def _loop(door: _Door, publisher: Publisher, life: Lifeline) -> None:
    next_beat_s = 0.0
    while not life.stopping:
        now_s = time.monotonic()
        if now_s >= next_beat_s:
            publisher.heartbeat("open", door.counters())
            life.beat()
            next_beat_s = now_s + BEAT_S
        wait([door, life.wake_fd], math.ceil((next_beat_s - now_s) * 1e3) / 1e3)
        door.serve()


def _lock(file: Path, stack: contextlib.ExitStack) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusError(f"{file}: another venue keeps it") from None


def _router(context: Context, address: str, stack: contextlib.ExitStack) -> zmq.Socket[bytes]:
    socket = new_socket(context, zmq.ROUTER)
    stack.callback(socket.close)
    socket.set(zmq.ROUTER_MANDATORY, 1)  # else what is for a node that has gone is lost silently
    context.bind(socket, address, "venue")
    return socket
