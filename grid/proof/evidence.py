"""What there is to judge a grid by: its recordings, put together, and what its venue has kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from grid import wire
from grid.errors import ProtocolError
from grid.paper.log import VenueLog
from grid.session import LostRecord, Session

type Stream = tuple[str, int, str]  # source, epoch, topic


class Frame(NamedTuple):
    """Where an event stands: its place in its stream, and a session that holds it."""

    source: str
    epoch: int
    topic: str
    seq: int
    session: str

    def __str__(self) -> str:
        return f"{self.session}: {self.source} {self.epoch} {self.topic} {self.seq}"


class Seen(NamedTuple):
    """An event as it was recorded."""

    frame: Frame
    published_ns: int
    event: wire.Event


@dataclass
class Run:
    """One life of a node: all that it is known to have published, in that order.

    Attributes:
        source: name of the node.
        epoch: of the node.
        info: who traded what; None where that was lost.
        events: heartbeats apart.
        whole: how many of `events` came before the first that is missing.
        last: whether no later node of that name is known.
        ended: whether its data came to their end.
        stopped: whether it ended by itself, or was told to; otherwise it was killed, or runs.
    """

    source: str
    epoch: int
    info: wire.StrategyInfo | None = None
    events: list[Seen] = field(default_factory=list)
    whole: int = 0
    last: bool = True
    ended: bool = False
    stopped: bool = False

    @property
    def before_hole(self) -> list[Seen]:
        """The events before the first that is missing."""
        return self.events[: self.whole]

    @property
    def is_whole(self) -> bool:
        """Whether no event is missing, as far as anybody can know."""
        return self.whole == len(self.events)

    @property
    def died(self) -> bool:
        """Whether it was killed, so that what it did last may be known to nobody."""
        return not self.stopped and not self.last

    @property
    def newest_decision(self) -> int:
        """Sequence of the last decision; 0 before the first."""
        asked = (s.event.seq for s in self.events if isinstance(s.event, wire.Decision))
        return max(asked, default=0)


class Hole(NamedTuple):
    """Events that no session holds, both ends included; `told` if a session says so itself."""

    stream: Stream
    first: int
    last: int
    told: bool


class Evidence:
    """All that is known of a grid.

    Args:
        events: of all sessions, each with the name of its session; the same one may come twice.
        lost: losses that recorders wrote down.
        venue: what the paper venue has kept; None where the grid traded elsewhere.

    Attributes:
        runs: of all nodes, in the order of their epochs.
        streams: how many streams were followed.
        holes: in all streams but those of heartbeats.
        forged: pairs of different events at one place in one stream.
    """

    def __init__(
        self,
        events: Iterable[tuple[str, str, wire.Envelope]],
        lost: Iterable[LostRecord] = (),
        venue: VenueLog | None = None,
    ) -> None:
        self.venue = venue
        self.forged: list[tuple[Frame, Frame]] = []
        self._lost = list(lost)
        self._seen: dict[Stream, dict[int, tuple[Frame, wire.Envelope]]] = {}
        self._begins: dict[Stream, set[int]] = {}  # where each session came in
        self._stopped: set[tuple[str, int]] = set()
        self._take(events)
        self.streams = len(self._seen)
        self.holes = [hole for stream in self._seen for hole in self._holes(stream)]
        self.runs = self._runs()

    def _take(self, events: Iterable[tuple[str, str, wire.Envelope]]) -> None:
        begun: set[tuple[str, Stream]] = set()
        for session, topic, envelope in events:
            stream = (envelope.source, envelope.epoch, topic)
            if topic.startswith("sys."):
                if _says_farewell(envelope):
                    self._stopped.add(stream[:2])
                continue
            frame = Frame(*stream, envelope.seq, session)
            held = self._seen.setdefault(stream, {})
            known, first = held.setdefault(envelope.seq, (frame, envelope))
            if bytes(first.body) != bytes(envelope.body):
                self.forged.append((known, frame))
            if (session, stream) not in begun:
                begun.add((session, stream))
                self._begins.setdefault(stream, set()).add(envelope.seq)

    def _holes(self, stream: Stream) -> list[Hole]:
        seqs = sorted(self._seen[stream])
        missing = [(a + 1, b - 1) for a, b in zip([0, *seqs], seqs, strict=False) if b > a + 1]
        return [Hole(stream, *span, self._told(stream, *span)) for span in missing]

    def _told(self, stream: Stream, first: int, last: int) -> bool:
        if last + 1 in self._begins[stream]:
            return True  # nobody recorded then, and the session shows where it begins
        left = set(range(first, last + 1))
        for record in self._lost:
            if (record.source, record.epoch, record.topic) == stream:
                left.difference_update(range(record.first, record.last + 1))
        return not left

    def _runs(self) -> list[Run]:
        cuts: dict[tuple[str, int], int] = {}  # node -> publication from which nothing is sure
        runs: dict[tuple[str, int], Run] = {}
        for stream, found in self._seen.items():
            source, epoch, topic = stream
            if not topic.startswith(("md.", "decision.", "exec.")):
                continue
            run = runs.setdefault((source, epoch), Run(source, epoch))
            for frame, envelope in found.values():
                try:
                    run.events.append(Seen(frame, envelope.ts_pub_ns, wire.event(envelope)))
                except ProtocolError:
                    continue  # of a kind that only later versions know
        for (source, epoch, topic), first, _, _ in self.holes:
            before = self._seen[source, epoch, topic].get(first - 1)
            cut_ns = before[1].ts_pub_ns + 1 if before else 0
            cuts[source, epoch] = min(cut_ns, cuts.get((source, epoch), cut_ns))
        for key, run in runs.items():
            run.events.sort(key=_published)
            cut_ns = cuts.get(key, 1 << 63)
            run.whole = sum(seen.published_ns < cut_ns for seen in run.events)
            infos = (s.event for s in run.events if isinstance(s.event, wire.StrategyInfo))
            run.info = next(infos, None)
            run.ended = any(isinstance(seen.event, wire.EndOfData) for seen in run.events)
            run.stopped = run.ended or key in self._stopped
            run.last = run.epoch == max(epoch for source, epoch in runs if source == run.source)
        return [runs[key] for key in sorted(runs)]


def read(folders: Iterable[Path], venue: VenueLog | None = None) -> Evidence:
    """Return the evidence in the sessions at `folders`.

    Raises:
        SessionError: one of them is no session.
    """
    events: list[tuple[str, str, wire.Envelope]] = []
    lost: list[LostRecord] = []
    for folder in folders:
        session = Session.open(folder)
        events += [(folder.name, topic, envelope) for topic, envelope, _ in session]
        lost += session.lost
    return Evidence(events, lost, venue)


def _says_farewell(envelope: wire.Envelope) -> bool:
    try:
        event = wire.event(envelope)
    except (ProtocolError, msgspec.MsgspecError):
        return False
    return isinstance(event, wire.Heartbeat) and event.state == "stopped"


def _published(seen: Seen) -> int:
    return seen.published_ns
