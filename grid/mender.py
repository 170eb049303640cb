"""Fills the holes of a recording before it is written. Pure: events in, events out, time given.

The events of a source that has a hole are held back, what lies in the hole is asked for at the
source's own ring, and all of it goes on in the order of publication. When nobody has it, or for too
long nobody answers, the rest goes on as it is, and the hole is there for all to see. A stream whose
loss only a later event brings to light stands late: `ts_pub_ns` orders the events of a source.
"""

from collections import deque
from heapq import merge
from typing import Final, NamedTuple

from grid import wire
from grid.errors import ProtocolError
from grid.history import history_of
from grid.streams import Gap, StreamTracker

PATIENCE_S: Final = 3.0  # since the last of the missing events came
HELD_BYTES: Final = 32 * 1024 * 1024


class Arrived(NamedTuple):
    """An event as it came, at `ts_ns`, UNIX ns."""

    ts_ns: int
    topic: str
    envelope: wire.Envelope
    frame: bytes


class _Wound:
    """A source with holes: what is missing, what came after, what was fetched."""

    def __init__(self, epoch: int, due_s: float) -> None:
        self.epoch = epoch
        self.due_s = due_s
        self.gaps: deque[Gap] = deque()
        self.held: list[Arrived] = []
        self.fetched: list[Arrived] = []
        self.size_bytes = 0

    def hold(self, arrived: Arrived) -> None:
        self.held.append(arrived)
        self.size_bytes += len(arrived.frame)

    def ordered(self) -> list[Arrived]:
        """All of it as it was published; what was fetched counts as arrived with what follows."""
        self.fetched.sort(key=_published)
        found = list(merge(self.fetched, self.held, key=_published))
        for i in range(len(found) - 2, -1, -1):
            if not found[i].ts_ns:
                found[i] = found[i]._replace(ts_ns=found[i + 1].ts_ns)
        return found


class Mender:
    """Stands between what arrives and what is written.

    Args:
        client: name of the process that asks.
        tracker: what is known of the streams already, if anything.
        patience_s: since the last of the missing events came.

    Attributes:
        want: what is to be asked for now, if anything; to be asked again until `take_reply`.
        mended: events that were fetched.
        given_up: holes that stayed, whole or in part.
    """

    def __init__(
        self, client: str, tracker: StreamTracker | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self.want: wire.Fetch | None = None
        self.mended = 0
        self.given_up = 0
        self._client = client
        self._tracker = tracker or StreamTracker()
        self._patience_s = patience_s
        self._wounds: dict[str, _Wound] = {}

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return bool(self._wounds)

    @property
    def held(self) -> int:
        """How many events are held back."""
        return sum(len(w.held) for w in self._wounds.values())

    def take(self, arrived: Arrived, beat: wire.Heartbeat | None, now_s: float) -> list[Arrived]:
        """Take the next event, with its heartbeat if it is one; return what may be written."""
        _, topic, envelope, _ = arrived
        source, epoch = envelope.source, envelope.epoch
        known = self._tracker.last(source, topic)
        verdict = self._tracker.saw(source, epoch, topic, envelope.seq)
        if verdict.kind == "next" and beat is None and source not in self._wounds:
            return [arrived]
        if verdict.kind in ("duplicate", "old_epoch"):
            return [arrived]
        released: list[Arrived] = []
        wound = self._wounds.get(source)
        if wound is not None and epoch != wound.epoch:
            released = self._release(source)  # its ring died with it
            self._ask()
        gaps = self._heard(source, epoch, beat) if beat is not None else []
        # what was published before the first event that came here may still be kept, too
        first_missing = 1 if known is None else verdict.first_missing
        if not topic.startswith("sys.") and 0 < first_missing < envelope.seq:
            gaps.insert(0, Gap(source, epoch, topic, first_missing, envelope.seq - 1))
        wound = self._wounds.get(source)
        if wound is None:
            if not gaps:
                return [*released, arrived]
            wound = self._wounds[source] = _Wound(epoch, now_s + self._patience_s)
        wound.gaps.extend(gaps)
        wound.hold(arrived)
        if wound.size_bytes > HELD_BYTES:
            released += self._release(source)
        self._ask()
        return released

    def take_reply(self, reply: wire.HistoryReply, now_s: float) -> list[Arrived]:
        """Take the answer to `want`; return what may be written."""
        asked = self.want
        wound = self._wounds.get(asked.source) if asked else None
        if asked is None or wound is None or isinstance(reply, wire.Refused):
            return []
        if (reply.source, reply.epoch, reply.topic) != (asked.source, asked.epoch, asked.topic):
            return []  # to what was asked before
        gap = wound.gaps.popleft()
        match reply:
            case wire.Frames():
                first = self._fetched(wound, gap, reply)
                wound.due_s = now_s + self._patience_s if first > gap.first_missing else wound.due_s
            case wire.Evicted() if reply.low <= gap.first_missing <= reply.high:
                first = gap.first_missing  # late, and to what was asked for before
            case wire.Evicted():
                first = reply.low if reply.low > gap.first_missing else gap.last_missing + 1
                self.given_up += 1
        if first <= gap.last_missing:
            rest = Gap(gap.source, gap.epoch, gap.topic, first, gap.last_missing)
            wound.gaps.appendleft(rest)
        released = [] if wound.gaps else self._release(asked.source)
        self._ask()
        return released

    def overdue(self, now_s: float) -> list[Arrived]:
        """Return what has been held back for too long."""
        late = [source for source, wound in self._wounds.items() if now_s >= wound.due_s]
        released = [arrived for source in late for arrived in self._release(source)]
        if late:
            self._ask()
        return released

    def end(self) -> list[Arrived]:
        """Return all that is held back: nothing more will come."""
        released = [arrived for source in list(self._wounds) for arrived in self._release(source)]
        self.want = None
        return released

    def _heard(self, source: str, epoch: int, beat: wire.Heartbeat) -> list[Gap]:
        streams = {t: seq for t, seq in beat.streams.items() if not t.startswith("sys.")}
        new = [t for t, seq in streams.items() if seq and self._tracker.last(source, t) is None]
        gaps = self._tracker.heard(source, epoch, streams)
        return [*gaps, *(Gap(source, epoch, t, 1, streams[t]) for t in new)]

    def _fetched(self, wound: _Wound, gap: Gap, reply: wire.Frames) -> int:
        """Take what belongs into the gap; return the first sequence that is still missing."""
        missing = gap.first_missing
        for frame in reply.frames:
            try:
                topic, envelope = wire.unpack(frame)
            except ProtocolError:
                break
            found = Gap(envelope.source, envelope.epoch, topic, envelope.seq, gap.last_missing)
            if found != Gap(gap.source, gap.epoch, gap.topic, missing, gap.last_missing):
                break
            wound.fetched.append(Arrived(0, topic, envelope, frame))
            wound.size_bytes += len(frame)
            self.mended += 1
            missing += 1
            if missing > gap.last_missing:
                break
        return missing

    def _release(self, source: str) -> list[Arrived]:
        wound = self._wounds.pop(source)
        self.given_up += len(wound.gaps)
        return wound.ordered()

    def _ask(self) -> None:
        gap = next((w.gaps[0] for w in self._wounds.values() if w.gaps), None)
        self.want = self._fetch(gap) if gap else None

    def _fetch(self, gap: Gap) -> wire.Fetch:
        return wire.Fetch(
            at=history_of(gap.source),
            client=self._client,
            source=gap.source,
            epoch=gap.epoch,
            topic=gap.topic,
            first=gap.first_missing,
            last=gap.last_missing,
        )


def _published(arrived: Arrived) -> int:
    return arrived.envelope.ts_pub_ns
