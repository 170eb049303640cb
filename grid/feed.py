"""The feed: a process that plays a dataset, or a topic of Kafka, to the node as a venue's data.

A ROUTER that the node's DEALER connects to. The node subscribes and grants credit; the feed sends
rows of history, then each row when it is due and within the credit, and `FeedEnd` once after the
last. `seq` counts all that is sent from 1 after each subscribe, history and end included; credit
counts market events without history.

Promises: events of one subscription arrive in order and without a hole. A node that comes anew (a
greater epoch) gets each event at least once: the market goes on with the first that the old node
was not known to have processed. A node that asks again with `after_ns` gets none twice. A feed that
was killed goes on where it was if it has a bookmark.
"""

import contextlib
import fcntl
import logging
import math
import os
import time
from pathlib import Path
from typing import Final, Protocol

import zmq

from grid import wire
from grid.bookmark import Bookmark
from grid.bridges.inflow import TURN_S, Inflow
from grid.bus import (
    BROKER_TIMEOUT_S,
    Addresses,
    Publisher,
    new_context,
    new_socket,
    wait,
    wait_until_flowing,
)
from grid.context import Context, receive
from grid.dataset import Dataset, to_iso, to_ns
from grid.errors import BusError, DataError, ProtocolError
from grid.livetape import LiveTape
from grid.playhead import Playhead
from grid.process import Lifeline
from grid.tape import Tape
from grid.topology import FeedConfig
from grid.venue import Venue

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5
BURST: Final = 256  # events sent before the node is listened to again
QUEUE: Final = 100_000  # messages to the node that may wait here


def rows(config: FeedConfig, dataset: Dataset) -> tuple[int, int]:
    """Return the half-open range of rows that `config` plays.

    Raises:
        DataError: there are none.
    """
    m = dataset.manifest
    first, last = dataset.rows_between(
        to_ns(config.start) if config.start else m.start_ns,
        to_ns(config.end) if config.end else m.end_ns + 1,
    )
    if first >= last:
        raise DataError(
            f"dataset {m.name}: no rows from {config.start or 'its start'} to"
            f" {config.end or 'its end'}; it has {to_iso(m.start_ns)} to {to_iso(m.end_ns)}"
        )
    return first, last


def run(
    config: FeedConfig,
    dataset: Dataset,
    venue: Venue,
    addresses: Addresses,
    life: Lifeline,
    *,
    epoch: int,
    bar_ns: int = 0,
    name: str = "feed",
    bookmark: Path | None = None,
) -> None:
    """Be the feed until `life.stopping`; ready when a node can connect.

    Args:
        config: what to play, and how fast.
        dataset: of bars, quotes or trades; beside Kafka, what the rows are and those before them.
        venue: of the checkpoint that trades; makes the quotes that bars lack.
        bar_ns: length of the bars that the node makes of what is played; 0 if it makes none.
        addresses: of the grid.
        life: of this process.
        epoch: of this process: see `grid.epoch`.
        name: source of its heartbeats.
        bookmark: file that keeps the position over a crash; without one, a feed that starts again
            begins again, unless the node says what it has.

    Raises:
        BridgeError: Kafka refuses for good.
        BusError: the broker does not answer, or the feed's address is taken.
        DataError: there is nothing to play.
    """
    with contextlib.ExitStack() as stack:
        tape: Tape | LiveTape
        kept: Bookmark | Inflow
        if config.kafka is not None:
            tape = live(config, dataset, venue, bar_ns)
            playhead = Playhead(0)
            kept = Inflow(config.kafka, tape, dataset.manifest.instrument.id, bookmark)
        else:
            first, last = rows(config, dataset)
            tape = Tape(dataset, venue, first, last, bar_ns)
            ends = (to_iso(int(dataset.columns["ts_event"][i])) for i in (first, last - 1))
            log.info("%d rows of %s, %s to %s", tape.rows, config.dataset, *ends)
            period_s = 1 / config.speed if config.speed else 0.0
            playhead = Playhead(tape.rows * tape.per_row, tape.per_row, period_s)
            kept = Bookmark(bookmark)
        stack.enter_context(contextlib.closing(kept))
        context = new_context()
        stack.callback(context.destroy, linger=0)
        publisher = Publisher(context, addresses.events_in, name, epoch, role="feed")
        stack.callback(publisher.close)
        if not wait_until_flowing(
            context, addresses, publisher, BROKER_TIMEOUT_S, lambda: life.stopping
        ):
            return
        desk = Desk(_router(context, addresses.feed, stack), tape, playhead, kept)
        life.ready()
        _loop(desk, publisher, life, kept if isinstance(kept, Inflow) else None, playhead)
        publisher.heartbeat("stopping", desk.counters())


def live(config: FeedConfig, dataset: Dataset, venue: Venue, bar_ns: int = 0) -> LiveTape:
    """Return the tape of a market that is still being written; see `run`."""
    start_ns = to_ns(config.start) if config.start else 0
    end_ns = to_ns(config.end) if config.end else None
    return LiveTape(dataset, venue, bar_ns=bar_ns, start_ns=start_ns, end_ns=end_ns)


class Place(Protocol):
    """What keeps where a playhead stands."""

    def load(self, playhead: Playhead) -> None:
        """Put it where the last one was."""

    def save(self, playhead: Playhead) -> None:
        """Keep where it is."""


class Desk:
    """Talks to the node: hears what it asks for, sends what the playhead lets go.

    Attributes:
        sent: market events sent by this process, without history.
        strangers: messages from nodes that are not the present one.
        bad: messages that are not of this protocol.
        socket: for `grid.bus.wait`.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        tape: Tape | LiveTape,
        playhead: Playhead,
        bookmark: Place,
    ) -> None:
        self.sent = 0
        self.strangers = 0
        self.bad = 0
        self.socket = socket
        self._tape = tape
        self._playhead = playhead
        self._bookmark = bookmark
        self._node: bytes | None = None  # its address
        self._seq = 0
        self._said_end = False
        bookmark.load(playhead)

    @property
    def state(self) -> str:
        """What the feed is doing, for people."""
        if self._node is None:
            return "waiting for the node"
        if self._playhead.ended:
            return "ended"
        return "waiting for credit" if self._playhead.waits else "playing"

    def counters(self) -> dict[str, float]:
        """Return the counters of the heartbeat; `position` and `remaining` are rows."""
        row = self._playhead.row
        return {
            "sent": float(self.sent),
            "position": float(row),
            "remaining": float(self._tape.rows - row),
            "waiting_for_credit": float(self._playhead.waits),
            "strangers": float(self.strangers),
            "bad": float(self.bad),
        }

    def wait_s(self, now_s: float) -> float:
        """Return the time until there is something to send; infinite without a node or credit."""
        return math.inf if self._node is None else self._playhead.wait_s(now_s)

    def listen(self) -> None:
        """Take in all that nodes have sent."""
        while True:
            try:
                (sender, *frames), who = receive(self.socket)
            except zmq.Again:
                return
            if not who.grant.trade:
                self.strangers += 1
                continue
            try:
                if len(frames) != 1:
                    raise ProtocolError(f"expected one frame, found {len(frames)}")
                message = wire.feed_request(frames[0])
            except ProtocolError as e:
                self.bad += 1
                log.warning("from a node: %s", e)
                continue
            match message:
                case wire.Subscribe():
                    self._subscribe(sender, message)
                case wire.Credit():
                    self._credit(sender, message)

    def play(self, now_s: float) -> None:
        """Send what is due and within credit, at most `BURST` events, and the end after it."""
        head = self._playhead
        for _ in range(BURST):
            if self.wait_s(now_s) > 0.0:
                break
            if not self._send(wire.FeedItem(self._seq + 1, self._tape.event(head.next))):
                return
            head.sent(now_s)
            self.sent += 1
        if head.ended and self._node is not None and not self._said_end:
            self._said_end = self._send(wire.FeedEnd(self._seq + 1))

    def _subscribe(self, sender: bytes, asked: wire.Subscribe) -> None:
        head = self._playhead
        again = sender == self._node and asked.node_epoch == head.epoch and not asked.after_ns
        if again and head.untouched:
            return  # it asks since nothing came, and nothing will before it grants something
        after = None
        if asked.after_ns:
            after = self._tape.events_until(asked.after_ns, asked.after_count)
        if not head.subscribe(asked.node_epoch, after):
            self.strangers += 1
            return
        log.info("node of epoch %d subscribed at row %d", asked.node_epoch, head.row)
        self._node, self._seq, self._said_end = sender, 0, False
        self._bookmark.save(head)
        for row in self._tape.history(head.row, min(asked.warmup, QUEUE // 2)):
            if not self._send(wire.FeedItem(self._seq + 1, row)):
                break

    def _credit(self, sender: bytes, credit: wire.Credit) -> None:
        if sender == self._node and self._playhead.credit(credit.node_epoch, credit.upto):
            self._bookmark.save(self._playhead)
        else:
            self.strangers += 1

    def _send(self, message: wire.FeedReply) -> bool:
        assert self._node is not None
        try:
            self.socket.send_multipart([self._node, wire.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as e:
            # gone, or it takes nothing: what was not sent is not lost, for it will ask again
            log.warning("node of epoch %d dropped: %s", self._playhead.epoch, e.strerror)
            self._node = None
            return False
        self._seq += 1
        return True


def _router(context: Context, address: str, stack: contextlib.ExitStack) -> zmq.Socket[bytes]:
    if address.startswith("ipc://"):  # there, binding twice succeeds, and the first is cut off
        file = address.removeprefix("ipc://") + ".lock"
        try:
            fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise BusError(f"{address}: cannot be bound: {e.strerror}") from e
        stack.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusError(f"{address}: another feed is running here") from None
    socket = new_socket(context, zmq.ROUTER)
    stack.callback(socket.close)
    socket.set(zmq.SNDHWM, QUEUE)
    socket.set(zmq.RCVHWM, QUEUE)
    socket.set(zmq.ROUTER_MANDATORY, 1)  # else what is for a node that has gone is lost silently
    context.bind(socket, address, "feed")
    return socket


def _loop(
    desk: Desk, publisher: Publisher, life: Lifeline, inflow: Inflow | None, playhead: Playhead
) -> None:
    next_beat_s = 0.0
    while not life.stopping:
        # a node that asks before Kafka has said where it stands waits for its answer
        playable = inflow is None or inflow.turn(playhead)
        now_s = time.monotonic()
        if now_s >= next_beat_s:
            counters = desk.counters() | (inflow.counters() if inflow is not None else {})
            publisher.heartbeat(desk.state if playable else "waiting for Kafka", counters)
            life.beat()
            next_beat_s = now_s + BEAT_S
        wait_s = next_beat_s - now_s
        if playable:
            desk.listen()
            desk.play(time.monotonic())
            wait_s = min(wait_s, desk.wait_s(time.monotonic()))
        if inflow is not None:
            wait_s = min(wait_s, TURN_S)
        # whole milliseconds, or the poll would spin through the last of them
        wait([desk, life.wake_fd] if playable else [life.wake_fd], math.ceil(wait_s * 1e3) / 1e3)
