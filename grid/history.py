"""Answers what somebody missed, out of a ring: in pages, and not too often. Pure; time is given.

Whoever keeps a ring registers as `history.<source>`, the recorder as `history`, and serves these
requests beside its own work: each answer is bounded in bytes, and each client in answers a second.
"""

from collections import Counter
from typing import Final

from grid import wire
from grid.quota import Quota
from grid.ring import Ring

HISTORY: Final = "history"  # the recorder's name for requests
PAGE_BYTES: Final = 1 << 18
PER_S: Final = 100.0  # answers a second for each client, and as many at once after a pause


def history_of(source: str) -> str:
    """Return the name under which a publisher answers for its own streams."""
    return f"{HISTORY}.{source}"


class History:
    """The answering side.

    Args:
        ring: what is kept.

    Attributes:
        counts: answers by kind, and `frames` that were sent.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.counts: Counter[str] = Counter()
        self._quota = Quota()

    def answer(self, request: wire.HistoryRequest, now_s: float) -> wire.HistoryReply:
        """Return the one reply to a request that came at `now_s`, monotonic."""
        may = self._quota.take(request.client, PER_S, now_s)
        reply = self._reply(request) if may else _TOO_OFTEN
        match reply:
            case wire.Frames():
                self.counts["fetched"] += 1
                self.counts["fetched_frames"] += len(reply.frames)
            case wire.Evicted():
                self.counts["evicted"] += 1
            case wire.Refused():
                self.counts["history_refused"] += 1
        return reply

    def _reply(self, request: wire.HistoryRequest) -> wire.HistoryReply:
        if isinstance(request, wire.Tail):
            if request.n < 1:
                return wire.Refused(f"at least 1 event expected, found {request.n}", retry=False)
            found = self.ring.tail(request.topic, request.n, PAGE_BYTES)
            if found is None:
                return wire.Evicted("", 0, request.topic, 0, 0)
            (source, epoch, topic), first, frames = found
            return wire.Frames(source, epoch, topic, first, tuple(frames))
        first, last = request.first, request.last
        if not 1 <= first <= last:
            reason = f"a range from 1 expected, found {first} to {last}"
            return wire.Refused(reason, retry=False)
        stream = (request.source, request.epoch, request.topic)
        if frames := self.ring.fetch(stream, first, last, PAGE_BYTES):
            return wire.Frames(*stream, first, tuple(frames))
        low, high = self.ring.span(stream)
        if first < low or not high:
            return wire.Evicted(*stream, low, high)
        return wire.Refused(f"{request.topic} {first} has not come here yet", retry=True)


_TOO_OFTEN: Final = wire.Refused(f"more than {PER_S:g} requests in a second", retry=True)
