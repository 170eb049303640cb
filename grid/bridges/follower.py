"""Follows streams of the bus without a gap, from a position on. Pure: time is given.

What was lost on the bus is asked for at the recorder, which keeps the streams of all, and then at
the source itself; events behind a hole wait until it is filled. What nobody has any more, or what
nobody answers for within `PATIENCE_S`, is missing, and counted.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

import msgspec

from grid import wire
from grid.bridges.position import Position
from grid.errors import ProtocolError
from grid.eventfile import heartbeat
from grid.history import HISTORY
from grid.mender import Arrived, Mender
from grid.streams import StreamTracker

ASK_S: Final = 0.1  # until what is wanted is asked for again
TURN: Final = 10  # so often in vain, and the other one is asked
PATIENCE_S: Final = 30.0  # a broker, a recorder or a source that was restarted is back by then


class Follower:
    """Frames in, the events that a sink has not had yet out: each once, each stream in order.

    Args:
        client: name of the process that asks.
        position: what the sink has already.
        prefixes: of the topics that are followed.

    Attributes:
        repeated: events that came a second time.
        missing: events that are gone for good.
        bad: frames that are not of this protocol.
    """

    def __init__(self, client: str, position: Position, prefixes: Sequence[str]) -> None:
        self.repeated = 0
        self.missing = 0
        self.bad = 0
        self._prefixes = tuple(prefixes)
        self._seen = Position(position.marks())
        self._tracker = tracker = StreamTracker()  # shared: it knows what the mender took
        for mark in sorted(position.marks(), key=lambda m: m.epoch):
            tracker.saw(mark.source, mark.epoch, mark.topic, mark.seq)
        self._mender = Mender(client, tracker, PATIENCE_S)
        self._wanted: wire.Fetch | None = None
        self._asked = 0
        self._asked_s = -inf
        self._evicted: wire.Evicted | None = None

    @property
    def position(self) -> Position:
        """Return where it stands: what was given out so far."""
        return Position(self._seen.marks())

    @property
    def mended(self) -> int:
        """Events that were fetched."""
        return self._mender.mended

    @property
    def held(self) -> int:
        """Events that wait behind a hole."""
        return self._mender.held

    def take(self, frame: bytes, now_s: float, ts_ns: int = 0) -> list[Arrived]:
        """Take the next frame that came, at `ts_ns`; return what the sink is to have now."""
        try:
            topic, envelope = wire.unpack(frame)
        except ProtocolError:
            self.bad += 1
            return []
        if topic.startswith("sys."):
            return self._beat(Arrived(ts_ns, topic, envelope, frame), now_s)
        if not topic.startswith(self._prefixes):
            return []
        source, epoch, seq = envelope.source, envelope.epoch, envelope.seq
        arrived = Arrived(ts_ns, topic, envelope, frame)
        if self._tracker.last(source, topic) == (epoch, seq - 1) and not self._mender.holds:
            self._tracker.saw(source, epoch, topic, seq)  # by far the most
            self._seen.advance(source, epoch, topic, seq)
            return [arrived]
        if self._taken(source, epoch, topic, seq):
            self.repeated += 1
            return []
        return self._new(self._mender.take(arrived, None, now_s))

    def ask(self, now_s: float) -> wire.Fetch | None:
        """Return what is to be asked for now, if anything."""
        want = self._mender.want
        if want is None:
            return None
        if want != self._wanted:
            self._wanted, self._asked, self._asked_s, self._evicted = want, 0, -inf, None
        if self._asked and now_s - self._asked_s < ASK_S:
            return None
        self._asked_s = now_s
        self._asked += 1
        at_recorder = self._evicted is None and (self._asked - 1) // TURN % 2 == 0
        return msgspec.structs.replace(want, at=HISTORY) if at_recorder else want

    def take_reply(self, reply: wire.HistoryReply, now_s: float) -> list[Arrived]:
        """Take the answer to what was asked; return what the sink is to have now."""
        want = self._wanted
        if isinstance(reply, wire.Evicted) and want is not None:
            if (reply.source, reply.epoch, reply.topic) != (want.source, want.epoch, want.topic):
                return []
            if self._evicted is None:
                self._evicted, self._asked_s = reply, -inf  # the source may still have it
                return []
            kept = [e for e in (self._evicted, reply) if e.low]
            reply = min(kept, key=lambda e: e.low, default=reply)
        return self._new(self._mender.take_reply(reply, now_s))

    def overdue(self, now_s: float) -> list[Arrived]:
        """Return what has waited in vain for what is missing."""
        return self._new(self._mender.overdue(now_s))

    def _beat(self, arrived: Arrived, now_s: float) -> list[Arrived]:
        """Take a heartbeat: it says how far the streams of its source have come."""
        _, topic, envelope, _ = arrived
        if self._taken(envelope.source, envelope.epoch, topic, envelope.seq):
            self.repeated += 1
            return []
        beat = heartbeat(topic, envelope)
        if beat is None:
            return []
        followed = {t: n for t, n in beat.streams.items() if t.startswith(self._prefixes)}
        told = msgspec.structs.replace(beat, streams=followed)
        return self._new(self._mender.take(arrived, told, now_s))

    def _taken(self, source: str, epoch: int, topic: str, seq: int) -> bool:
        """Return whether the mender has had an event, held back or not."""
        known_epoch, known = self._tracker.last(source, topic) or (0, 0)
        if epoch == known_epoch:
            return seq <= known
        return self._seen.passed(source, epoch, topic, seq)

    def _new(self, events: list[Arrived]) -> list[Arrived]:
        """Return the events that come after those before them, and count what lies between."""
        found = []
        for event in events:
            source, epoch, seq = event.envelope.source, event.envelope.epoch, event.envelope.seq
            if self._seen.passed(source, epoch, event.topic, seq):
                self.repeated += 1
                continue
            if not event.topic.startswith("sys."):
                self.missing += seq - 1 - self._seen.last(source, epoch, event.topic)
            self._seen.advance(source, epoch, event.topic, seq)
            found.append(event)
        return found
