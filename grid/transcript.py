"""What a session says of one strategy in one epoch: rows, decisions, actions, orders, fills."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import Final

import msgspec
import numpy as np

from grid import wire
from grid.dataset import FIELDS, Columns
from grid.errors import ProtocolError, SessionError
from grid.instrument import Instrument
from grid.session import BaseRecord, Session
from grid.spec import Spec
from grid.venue import Venue
from grid.wire import Row

_ROWS: Final[dict[str, type[Row]]] = {
    "bar": wire.Bar,
    "quote": wire.Quote,
    "trade": wire.Trade,
    "depth": wire.Depth,
}


CLOSED: Final = ("rejected", "denied", "canceled", "expired")  # nothing more becomes of it


# when it was published, UNIX ns; the event; its topic; its sequence; how many before it are missing
type Taken = tuple[int, wire.Event, str, int, int]


@dataclass
class Transcript:
    """One run of a node, as recorded, in the order in which things were published.

    Attributes:
        info: who traded what, and how.
        events: everything, each with the time of its publication, UNIX ns.
        source: name of the node.
        topics: of each of `events`; empty for what was told at a cut.
        seqs: of each of `events`, in the stream of its topic.
        base: where the run stood when its recording was cut; None where it was not.
        market: events of the node's market streams; history first.
        decisions: by sequence.
        published_ns: when each decision was published, UNIX ns, by sequence.
        outcomes: by decision.
        joined: every welcome of an agent.
        acted: every action with its answer.
        orders: every change of an order.
        fills: every fill.
        live: market events of the run, history apart.
        flattened: each closing of the position by a person or a breach, with `live` at that time.
        inherited: each fill of an order that was open when the run began, with `live` likewise.
        abandoned: of such an order that was closed, what was left of it, signed, with `live`.
        intervened: how many of `events` came before the first halt, closing or manual order; None
            without one.
        by_hand: how many of `events` came before the first manual order; None without one.
        restored: what the run began with, where the venue had kept something of earlier ones.
        ended: whether the feed had come to its end.
        missing: events of this node that the recording lacks.
        whole: how many of `events` came before the first that is missing.
    """

    info: wire.StrategyInfo
    events: list[tuple[int, wire.Event]] = field(default_factory=list)
    source: str = ""
    topics: list[str] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    base: BaseRecord | None = None
    market: list[Row] = field(default_factory=list)
    decisions: dict[int, wire.Decision] = field(default_factory=dict)
    published_ns: dict[int, int] = field(default_factory=dict)
    outcomes: dict[int, wire.Outcome] = field(default_factory=dict)
    joined: list[wire.Joined] = field(default_factory=list)
    acted: list[wire.Acted] = field(default_factory=list)
    orders: list[wire.OrderUpdate] = field(default_factory=list)
    fills: list[wire.Fill] = field(default_factory=list)
    live: int = 0
    flattened: list[tuple[int, wire.Flattened]] = field(default_factory=list)
    inherited: list[tuple[int, wire.Fill]] = field(default_factory=list)
    abandoned: list[tuple[int, float]] = field(default_factory=list)
    intervened: int | None = None
    by_hand: int | None = None
    restored: wire.Restored | None = None
    ended: bool = False
    missing: int = 0
    whole: int = 0

    def __post_init__(self) -> None:
        self._left: dict[str, float] = {}  # signed, of orders that were open when the run began
        self.spec = msgspec.json.decode(self.info.spec, type=Spec)
        self.instrument: Instrument = msgspec.json.decode(self.info.instrument, type=Instrument)
        self.venue = msgspec.json.decode(self.info.venue, type=Venue)

    @property
    def rows(self) -> list[Row]:
        """The events that features are computed on, history included."""
        wanted = _ROWS[self.spec.rows]
        return [event for event in self.market if isinstance(event, wanted)]

    @property
    def ticks(self) -> list[Row]:
        """What came from the venue, history included: the rows, or what they were made of."""
        wanted = _ROWS[self.spec.source]
        return [event for event in self.market if isinstance(event, wanted)]

    @property
    def began_ns(self) -> int:
        """When the first event was published that is neither history nor told at a cut, UNIX ns."""
        for (published_ns, event), topic in zip(self.events, self.topics, strict=True):
            if topic and not getattr(event, "history", False):
                return published_ns
        return self.events[0][0] if self.events else 0

    @property
    def rows_before(self) -> int:
        """How many rows of the run's stream came before the first of `rows`."""
        return self.base.streams.get(self.base.market_topic, 0) if self.base else 0

    @property
    def first_decision(self) -> int:
        """Sequence of the first decision that could be here: 1, unless the run was cut."""
        return min(self.decisions, default=1) if self.base else 1

    @property
    def agents(self) -> list[str]:
        """Ids of the agents that acted, the champion first."""
        champions = {o.agent_id for o in self.outcomes.values() if o.how == "action"}
        found = {a.action.agent_id for a in self.acted}
        return sorted(found, key=lambda agent: (agent not in champions, agent))

    def actions_of(self, agent_id: str) -> dict[int, wire.Action]:
        """Return the first action of an agent on each decision, whatever became of it."""
        found: dict[int, wire.Action] = {}
        for acted in self.acted:
            if acted.action.agent_id == agent_id:
                found.setdefault(acted.action.decision_seq, acted.action)
        return found

    def policy_of(self, agent_id: str) -> str:
        """Return the digest of the agent's checkpoint, or baseline:NAME; empty if unknown."""
        found = [j.policy for j in self.joined if j.agent_id == agent_id]
        return found[-1] if found else ""

    @property
    def inherited_ids(self) -> set[str]:
        """The orders that were open at the venue when the run began."""
        return {o.client_order_id for o in self.restored.orders} if self.restored else set()

    def latencies_us(self, agent_id: str) -> list[float]:
        """Return the times from a decision's publication to the arrival of its action."""
        return [
            (a.ts_recv_ns - self.published_ns[a.action.decision_seq]) / 1e3
            for a in self.acted
            if a.action.agent_id == agent_id and a.action.decision_seq in self.published_ns
        ]

    def before_hole(self) -> "Transcript":
        """Return the run up to the first event that the recording lacks; itself if it is whole."""
        return self._cut(self.whole) if self.missing else self

    def before_intervention(self) -> "Transcript":
        """Return the run up to the first intervention of a person or a limit; itself if none."""
        return self if self.intervened is None else self._cut(self.intervened)

    def before_manual_orders(self) -> "Transcript":
        """Return the run up to the first order of a person; itself if there was none."""
        return self if self.by_hand is None else self._cut(self.by_hand)

    def _cut(self, events: int) -> "Transcript":
        cut = Transcript(self.info, source=self.source, base=self.base)
        for i in range(events):
            published_ns, event = self.events[i]
            cut.take(event, published_ns, self.topics[i], self.seqs[i])
        return cut

    def take(
        self,
        event: wire.Event,
        published_ns: int,
        topic: str = "",
        seq: int = 0,
        missing: int = 0,
    ) -> None:
        """Take the next event of this run, before which `missing` others did not come."""
        self.missing += missing
        self.events.append((published_ns, event))
        self.topics.append(topic)
        self.seqs.append(seq)
        if not self.missing:
            self.whole = len(self.events)
        match event:
            case wire.Bar() | wire.Quote() | wire.Trade() | wire.Depth():
                self.market.append(event)
                # bars that the node made come with the tick that closed them
                made = bool(self.spec.bars_from) and isinstance(event, wire.Bar)
                self.live += not event.history and not made
            case wire.Decision():
                self.decisions[event.seq] = event
                self.published_ns[event.seq] = published_ns
            case wire.Outcome():
                self.outcomes[event.decision_seq] = event
            case wire.Joined():
                self.joined.append(event)
            case wire.Acted():
                self.acted.append(event)
            case wire.OrderUpdate():
                self.orders.append(event)
                if event.status in CLOSED and event.client_order_id in self._left:
                    self.abandoned.append((self.live, self._left.pop(event.client_order_id)))
            case wire.Fill():
                self.fills.append(event)
                if event.client_order_id in self.inherited_ids:
                    self.inherited.append((self.live, event))
                    signed = event.qty if event.side == "BUY" else -event.qty
                    self._left[event.client_order_id] -= signed
            case wire.Halted() | wire.Flattened():
                if self.intervened is None:
                    self.intervened = len(self.events) - 1
                if isinstance(event, wire.Flattened):
                    self.flattened.append((self.live, event))
            case wire.Manual():
                if event.done and event.act == "order":
                    at = len(self.events) - 1
                    self.by_hand = at if self.by_hand is None else self.by_hand
                    self.intervened = at if self.intervened is None else self.intervened
            case wire.Restored():
                self.restored = event
                self._left = {o.client_order_id: o.signed_qty for o in event.orders}
            case wire.EndOfData():
                self.ended = True
            case wire.Resumed() | wire.TookOver():
                pass
            case wire.StrategyInfo() | wire.Heartbeat():
                pass


def read(session: Session) -> list[Transcript]:
    """Return the runs of all strategies in a session, oldest first.

    A node introduces itself before all else and again now and then, so that a recording that began
    in the middle of a run can be read, too; what came before it counts as missing.

    Raises:
        SessionError: no strategy introduced itself in it.
    """
    found: dict[tuple[str, int], list[Taken]] = {}
    last: dict[tuple[str, int, str], int] = {}
    bases = session.bases
    for topic, envelope, _, _ in session.records():
        if not topic.startswith(("md.", "decision.", "exec.")):
            continue
        try:
            event = wire.event(envelope)
        except ProtocolError:
            continue  # of a kind that only later versions know
        key = (envelope.source, envelope.epoch)
        stream = (*key, topic)
        before = bases[key].streams.get(topic, 0) if key in bases else 0
        seq = envelope.seq
        missing = seq - last.get(stream, before) - 1
        if missing < 0:
            continue  # a second time
        last[stream] = seq
        found.setdefault(key, []).append((envelope.ts_pub_ns, event, topic, seq, missing))
    made = (run_of(key[0], events, bases.get(key)) for key, events in found.items())
    runs = [run for run in made if run is not None]
    if not runs:
        raise SessionError(f"{session.path}: no strategy introduced itself in this session")
    return runs


def run_of(
    source: str, events: Iterable[Taken], base: BaseRecord | None = None
) -> Transcript | None:
    """Return the run that events of one node tell, in whatever order; None if it has no name.

    Args:
        source: name of the node.
        events: of the node.
        base: where it stood before the first of them, if that was not its beginning.
    """
    told = base.told() if base else []
    # what was fetched after a loss may stand behind its place in the file
    ordered = sorted(events, key=itemgetter(0))
    everything = chain(told, map(itemgetter(1), ordered))
    info = next((e for e in everything if isinstance(e, wire.StrategyInfo)), None)
    if info is None:
        return None
    run = Transcript(info, source=source, base=base)
    first_ns = ordered[0][0] if ordered else 0
    for event in told:
        run.take(event, first_ns)
    for published_ns, event, topic, seq, missing in ordered:
        if base is not None and topic == base.market_topic and seq <= base.market_seq:
            row = msgspec.structs.replace(event, history=True)
            run.take(row, published_ns, topic, seq, missing)
        else:
            run.take(event, published_ns, topic, seq, missing)
    return run


def columns_of(rows: list[Row]) -> Columns:
    """Return rows of one kind, in order, as a dataset's columns."""
    tag = str(rows[0].__struct_config__.tag) if rows else "quote"
    kind = tag if tag in FIELDS else f"{tag}s"
    columns: Columns = {"ts_event": np.array([row.ts_event_ns for row in rows], dtype=np.int64)}
    for name in FIELDS[kind][1:]:
        columns[name] = np.array([getattr(row, name) for row in rows], dtype=np.float64)
    return columns
