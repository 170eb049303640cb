"""Answers what somebody missed, out of a ring: in pages, and not too often. Pure; time is given.

Whoever keeps a ring registers as `history.<source>`, the recorder as `history`, and serves these
requests beside its own work: each answer is bounded in bytes, and each client in answers a second.
"""

from collections import Counter, OrderedDict
from typing import Final

import msgspec

from grid import wire
from grid.ring import Ring

HISTORY: Final = "history"  # the recorder's name for requests
PAGE_BYTES: Final = 1 << 18
PER_S: Final = 100.0  # answers a second for each client, and as many at once after a pause
_CLIENTS: Final = 1_000  # whose allowance is remembered


def history_of(source: str) -> str:
    """Return the name under which a publisher answers for its own streams."""
    return f"{HISTORY}.{source}"


class _Allowance(msgspec.Struct):
    left: float
    at_s: float


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
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def answer(self, request: wire.HistoryRequest, now_s: float) -> wire.HistoryReply:
        """Return the one reply to a request that came at `now_s`, monotonic."""
        reply = self._reply(request) if self._may(request.client, now_s) else _TOO_OFTEN
        match reply:
            case wire.Frames():
                self.counts["fetched"] += 1
                self.counts["fetched_frames"] += len(reply.frames)
            case wire.Evicted():
                self.counts["evicted"] += 1
            case wire.Refused():
                self.counts["history_refused"] += 1
        return reply

    def _may(self, client: str, now_s: float) -> bool:
        allowance = self._allowances.get(client)
        if allowance is None:
            allowance = self._allowances[client] = _Allowance(PER_S, now_s)
            if len(self._allowances) > _CLIENTS:
                self._allowances.popitem(last=False)
        allowance.left = min(PER_S, allowance.left + PER_S * (now_s - allowance.at_s))
        allowance.at_s = now_s
        if allowance.left < 1.0:
            return False
        allowance.left -= 1.0
        return True

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
