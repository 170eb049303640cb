"""The loop of every bridge: events of the bus in, gaps filled, events out to a sink.

Its queue is that of its socket, which is bounded: what does not fit is lost, seen as a gap, and
fetched. A sink that is full makes the bridge wait, and nobody else; after a long wait it begins
with what the recorder has on disk, which reaches further back than any history.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from grid import wire
from grid.bridges.follower import Follower
from grid.bridges.position import Position
from grid.bus import Addresses, Publisher, Requester, Subscriber, Waiter, new_context
from grid.mender import Arrived
from grid.process import Lifeline

log = logging.getLogger(__name__)

BURST: Final = 5_000  # frames taken before anything else has its turn
TURN_S: Final = 0.05  # the longest wait of the loop
BEAT_S: Final = 0.5
AWAY_S: Final = 5.0  # a sink was full for so long: more may have been lost than histories hold
END_S: Final = 2.0  # at the end, for what is still missing


type Backlog = Callable[[Position], Iterator[bytes]]


class Sink(Protocol):
    """Where a bridge leads to."""

    @property
    def position(self) -> Position:
        """What it has for good; at its start, where to go on."""

    @property
    def full(self) -> bool:
        """Whether it can take nothing now."""

    def put(self, arrived: Arrived) -> None:
        """Take the next event."""

    def turn(self, now_s: float) -> None:
        """Do what is due; called at least every `TURN_S`, and as the loop goes."""

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""

    def close(self) -> None:
        """Bring to an end what was taken."""


def run(
    addresses: Addresses,
    life: Lifeline,
    sink: Sink,
    *,
    name: str,
    epoch: int,
    prefixes: Sequence[str],
    backlog: Backlog = lambda position: iter(()),
) -> None:
    """Lead events to a sink until `life.stopping`.

    Args:
        addresses: of the grid.
        life: of this process.
        sink: where they go.
        name: of this process.
        epoch: of this process.
        prefixes: of the topics.
        backlog: gives the frames on disk after a position; they come first.

    Raises:
        BridgeError: the sink cannot go on.
    """
    context = new_context()
    subscriber = Subscriber(context, addresses.events_out, [*prefixes, "sys."])
    requester = Requester(context, addresses.requests)
    publisher = Publisher(context, addresses.events_in, name, epoch, role="bridge")
    follower = Follower(name, sink.position, prefixes)
    loop = _Loop(follower, sink, subscriber, requester, publisher, backlog)
    try:
        loop.work(life)
    finally:
        for end in (subscriber, requester, publisher):
            end.close()
        context.destroy(linger=0)


class _Loop:
    def __init__(
        self,
        follower: Follower,
        sink: Sink,
        subscriber: Subscriber,
        requester: Requester,
        publisher: Publisher,
        backlog: Backlog,
    ) -> None:
        self._follower = follower
        self._sink = sink
        self._subscriber = subscriber
        self._requester = requester
        self._publisher = publisher
        self._recorded = backlog
        self._backlog: Iterator[bytes] | None = backlog(follower.position)
        self._full_s: float | None = None  # since when the sink has been full
        self._beat_s = 0.0

    def work(self, life: Lifeline) -> None:
        waiter = Waiter((self._subscriber, life.wake_fd))
        life.ready()  # what is published until the subscription flows is fetched
        while not life.stopping:
            if self._backlog is None and not self._sink.full:
                waiter.wait(TURN_S)
            elif self._sink.full:
                time.sleep(TURN_S / 10)
            self._turn()
            self._beat(life)
        self._finish(life)
        self._sink.close()
        self._publisher.heartbeat("stopping", self._counters())

    def _turn(self) -> bool:
        """Take what is here; say whether there may be more."""
        now_s = time.monotonic()
        frames = [] if self._is_full(now_s) else self._next()
        ts_ns = time.time_ns()
        for frame in frames:
            self._put(self._follower.take(frame, now_s, ts_ns))
        while (reply := self._requester.recv()) is not None:
            if isinstance(reply, wire.Frames | wire.Evicted | wire.Refused):
                self._put(self._follower.take_reply(reply, now_s))
        self._put(self._follower.overdue(now_s))
        if (want := self._follower.ask(now_s)) is not None:
            self._requester.send(want)
        self._sink.turn(now_s)
        return bool(frames)

    def _is_full(self, now_s: float) -> bool:
        if self._sink.full:
            self._full_s = now_s if self._full_s is None else self._full_s
            return True
        if self._full_s is not None and now_s - self._full_s >= AWAY_S:
            self._backlog = self._recorded(self._follower.position)
        self._full_s = None
        return False

    def _next(self) -> list[bytes]:
        if self._backlog is not None:
            if frames := list(islice(self._backlog, BURST)):
                return frames
            self._backlog = None
        return self._subscriber.frames(BURST)

    def _put(self, events: list[Arrived]) -> None:
        for event in events:
            self._sink.put(event)

    def _finish(self, life: Lifeline) -> None:
        """Take what has come, and what is missing of it, for a while."""
        until_s = time.monotonic() + END_S
        while time.monotonic() < until_s:
            more = self._turn()
            self._beat(life)
            if not more and not self._follower.held:
                return
            if not more:
                time.sleep(TURN_S / 10)

    def _beat(self, life: Lifeline) -> None:
        now_s = time.monotonic()
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s
            self._publisher.heartbeat("running", self._counters())
            life.beat()

    def _counters(self) -> dict[str, float]:
        follower = self._follower
        return {
            "repeated": float(follower.repeated),
            "mended": float(follower.mended),
            "missing": float(follower.missing),
            "held": float(follower.held),
            "bad": float(follower.bad + self._subscriber.bad),
            **self._sink.counters(),
        }
