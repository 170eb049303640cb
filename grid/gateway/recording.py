"""A recorded session as lists to look things up in by time: what the live view would have shown.

Events are folded as the live gateway folds them, and each row is kept as it was then.
"""

from bisect import bisect_right
from collections.abc import Callable
from copy import copy
from typing import Final

from grid import wire
from grid.errors import ProtocolError
from grid.gateway import rows
from grid.gateway.hub import shown
from grid.gateway.played import (
    Candle,
    Cause,
    Count,
    Ended,
    Moment,
    Snapshot,
    Timed,
    TopicOf,
    by_time,
    decision_at,
    last,
)  # fmt: skip
from grid.gateway.state import State
from grid.session import Session

MOST_CANDLES: Final = 5_000  # of a topic; then two become one
MOST_DECISIONS: Final = 20_000  # then every second one is left out
MOST_ROWS: Final = 50_000  # fills, changes of orders, controls; later ones are counted only
_TOPICS: Final = 50
_LOOK_EVERY: Final = 500  # events
_KINDS: Final = ("bar", "trade", "quote")


class Cancelled(Exception):
    """Nobody waits for it any more."""


class Recording:
    """A session, read from end to end.

    Attributes:
        began_ns: time of the first event, UNIX ns.
        t_ns: of the last one, since the first.
        events: of the grid that were read, heartbeats included.
        candles: by market topic.
        topics: the same topics.
        moments: of the strategy.
        decisions: of the strategy.
        fills: of the strategy.
        orders: each change of an order: the order as it was then.
        control: what people and limits did.
        fees: paid up to each fill.
        counts: of decisions, fills, orders, control: recorded, and told.
        lost: events that the recorder saw missing.
        damage: what is not whole, in one sentence; empty if all is.
        strategy_id: of the strategy that showed itself first; only that one is told of.
    """

    def __init__(self) -> None:
        self.began_ns = self.t_ns = self.events = self.lost = 0
        self.damage = ""
        self.strategy_id = ""
        self.candles: dict[str, list[Timed[Candle]]] = {}
        self.topics: dict[str, TopicOf] = {}
        self.moments: list[Timed[Moment]] = []
        self.decisions: list[Timed[Ended]] = []
        self.fills: list[Timed[rows.Fill]] = []
        self.orders: list[Timed[rows.Order]] = []
        self.control: list[Timed[rows.Control]] = []
        self.fees: list[float] = []
        self.counts = {name: Count() for name in ("decisions", "fills", "orders", "control")}
        self.every = 1  # decisions, of which one is told
        self._state = State()
        self._n = 0
        self._open: dict[tuple[str, int, int], Ended] = {}

    @classmethod
    def read(cls, session: Session, stopping: Callable[[int], bool]) -> "Recording":
        """Read a session.

        Args:
            session: to read.
            stopping: told how many events were read, now and then; whether to give up.

        Raises:
            Cancelled: `stopping` said so.
        """
        made = cls()
        seen: dict[tuple[str, int, str], int] = {}
        begun: set[tuple[str, int]] = set()
        for topic, envelope, ts_recv_ns, _ in session.records():
            made.events += 1
            if made.events % _LOOK_EVERY == 0 and stopping(made.events):
                raise Cancelled
            made.began_ns = made.began_ns or ts_recv_ns
            made.t_ns = max(made.t_ns, ts_recv_ns - made.began_ns)
            if not topic.startswith(("md.", "decision.", "exec.")):
                continue
            process = envelope.source, envelope.epoch
            if process not in begun:
                begun.add(process)
                if (base := session.bases.get(process)) is not None:
                    for t, seq in base.streams.items():
                        seen[*process, t] = seq
                    for fact in base.told():
                        made.take("", envelope, fact)
            stream = (*process, topic)
            if envelope.seq <= seen.get(stream, 0):
                continue  # a second time
            seen[stream] = envelope.seq
            try:
                event = wire.event(envelope)
            except ProtocolError:
                continue  # of a kind that only later versions know
            made.take(topic, envelope, event)
        made.lost = sum(record.frames for record in session.lost)
        made.damage = session.damage or ""
        for found in made.topics.values():
            found.candles = len(made.candles[found.topic])
        del made._state, made._open
        return made

    # -- in -----------------------------------------------------------------------------------

    def take(self, topic: str, envelope: wire.Envelope, event: wire.Event) -> None:
        """Take the next event."""
        if isinstance(event, wire.Bar | wire.Quote | wire.Trade | wire.Depth):
            self._market(topic, event)
            return
        name = getattr(event, "strategy_id", "") or getattr(
            getattr(event, "action", None), "strategy_id", ""
        )
        self.strategy_id = self.strategy_id or name
        if not name or name != self.strategy_id:
            return
        state, known = self._state, self._state.strategies.get(name)
        told_anew = isinstance(event, wire.StrategyInfo | wire.Restored)
        before = {o.client_order_id: copy(o) for o in state.orders.values()} if told_anew else {}
        epoch = known.epoch if known else 0
        state.take(event, shown(topic, envelope, event, 0), 0)
        match event:
            case wire.Decision():
                self._decision(event)
            case wire.Outcome():
                ended = self._open.pop((name, event.epoch, event.decision_seq), None)
                if ended is not None:
                    ended.ended_ns = self.t_ns
            case wire.Fill() if event.qty > 0.0:
                self._fill()
                self._order(event.client_order_id)
                self._moment("fill")
            case wire.OrderUpdate():
                self._order(event.client_order_id)
            case wire.Manual() if event.done and event.act == "order":
                self._order(event.client_order_id)
            case wire.StrategyInfo() | wire.Restored():
                changed = [o for o in state.orders.values() if before.get(o.client_order_id) != o]
                for order in changed:
                    self._order(order.client_order_id)
                if changed or isinstance(event, wire.Restored) or event.epoch != epoch:
                    self._moment("began")
            case _:
                pass
        if isinstance(event, wire.Halted | wire.Resumed | wire.Flattened | wire.Manual):
            self._add("control", self.control, state.control[-1])
            self._moment("control")

    def _timed[Row](self, row: Row) -> Timed[Row]:
        self._n += 1
        return Timed(self._n, self.t_ns, row)

    def _add[Row](self, name: str, kept: list[Timed[Row]], row: Row) -> bool:
        count = self.counts[name]
        count.recorded += 1
        if len(kept) >= MOST_ROWS:
            return False
        kept.append(self._timed(row))
        count.told += 1
        return True

    def _market(self, topic: str, event: wire.Row) -> None:
        price = price_of(event)
        if price is None:
            return
        kept = self.candles.get(topic)
        if kept is None:
            if len(self.candles) >= _TOPICS:
                return
            kept = self.candles[topic] = []
            kind = str(event.__struct_config__.tag)
            self.topics[topic] = TopicOf(topic, event.instrument_id, kind)
        if event.history and kept and event.ts_event_ns <= kept[-1].row.ts_event_ns:
            return  # a node that began again told its history again
        candle = Candle(event.ts_event_ns, price, price, price, price)
        if isinstance(event, wire.Bar):
            candle.open, candle.high, candle.low = event.open, event.high, event.low
        self.topics[topic].events += 1
        every = self.topics[topic].every
        timed = self._timed(candle)
        if kept and kept[-1].row.events < every:
            _join(kept[-1], timed)
            return
        kept.append(timed)
        if len(kept) > MOST_CANDLES:
            self.topics[topic].every = 2 * every
            for one, two in zip(kept[::2], kept[1::2], strict=False):
                _join(one, two)
            del kept[1::2]

    def _decision(self, event: wire.Decision) -> None:
        key = (event.strategy_id, event.epoch, event.seq)
        ended = Ended(self._state.decisions[key])
        count = self.counts["decisions"]
        count.recorded += 1
        if (count.recorded - 1) % self.every:
            return
        self._open[key] = ended
        while len(self._open) > MOST_ROWS:
            del self._open[next(iter(self._open))]
        self.decisions.append(self._timed(ended))
        self._moment("decision")
        if len(self.decisions) > MOST_DECISIONS:
            self.every *= 2
            del self.decisions[1::2]
            told = {timed.t_ns for timed in self.decisions}
            self.moments = [m for m in self.moments if m.row.cause != "decision" or m.t_ns in told]
        count.told = len(self.decisions)

    def _fill(self) -> None:
        fill = self._state.fills[-1]
        if self._add("fills", self.fills, fill):
            self.fees.append((self.fees[-1] if self.fees else 0.0) + fill.commission)

    def _order(self, client_order_id: str) -> None:
        self._add("orders", self.orders, copy(self._state.orders[client_order_id]))

    def _moment(self, cause: Cause) -> None:
        if cause != "decision" and len(self.moments) >= MOST_DECISIONS + 2 * MOST_ROWS:
            return
        name, state = self.strategy_id, self._state
        account, position = state.accounts.get(name), state.positions.get(name)
        moment = Moment(cause, copy(state.strategies[name]), copy(account), copy(position))
        self.moments.append(self._timed(moment))

    # -- out ----------------------------------------------------------------------------------

    @property
    def topic(self) -> str:
        """The market topic that a chart of the strategy's instrument shows; empty without one."""
        moment = self.moments[-1].row if self.moments else None
        own = moment.strategy.instrument_id if moment else ""
        found = [t for t in self.topics.values() if not own or t.instrument_id == own]
        ranked = sorted((_KINDS.index(t.kind), t.topic) for t in found if t.kind in _KINDS)
        return ranked[0][1] if ranked else ""

    def at(self, t_ns: int) -> Snapshot:
        """Return what was so at a time, with all that happened then."""
        moment = last(self.moments, t_ns)
        ended = last(self.decisions, t_ns)
        candle = last(self.candles.get(self.topic, []), t_ns)
        fills = bisect_right(self.fills, t_ns, key=by_time)
        return Snapshot(
            t_ns=t_ns,
            strategy=moment.strategy if moment else None,
            account=moment.account if moment else None,
            position=moment.position if moment else None,
            decision=decision_at(ended, t_ns) if ended else None,
            topic=self.topic,
            price=candle.close if candle else None,
            price_ts_event_ns=candle.ts_event_ns if candle else None,
            fills=fills,
            fees=self.fees[fills - 1] if fills else 0.0,
            currency=self.fills[fills - 1].row.currency if fills else "",
        )


def price_of(event: wire.Row) -> float | None:
    """Return the price that a chart shows of a market event; None of a book."""
    match event:
        case wire.Bar():
            return event.close
        case wire.Trade():
            return event.price
        case wire.Quote():
            return (event.bid_px + event.ask_px) / 2.0
        case wire.Depth():
            return None


def _join(one: Timed[Candle], two: Timed[Candle]) -> None:
    a, b = one.row, two.row
    a.high, a.low = max(a.high, b.high), min(a.low, b.low)
    a.close, a.events = b.close, a.events + b.events
    one.t_ns = two.t_ns  # nothing is shown before it was so
