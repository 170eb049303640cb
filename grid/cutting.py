"""A part of a recorded run that can be read, replayed and compared as if it were all. Pure.

It begins with the row of a decision. What the reader has to know from before is told as facts: who
trades what, which agents had joined, whether there was a halt, what was held and what was on order;
and the rows that features look back on are there as history.
"""

from typing import Final, NamedTuple

from grid import wire
from grid.dataset import to_iso, to_ns
from grid.errors import SessionError
from grid.node.ledger import Ledger
from grid.session import BaseRecord
from grid.transcript import CLOSED, Taken, Transcript, run_of

HISTORY_ROWS: Final = 4096  # kept from before a cut; more than any pipeline looks back on


class At(NamedTuple):
    """A time, UNIX ns: when things were published."""

    ns: int


type Moment = int | At  # sequence of a decision, or a time


class Span(NamedTuple):
    """From a moment to another; None is the beginning or the end.

    A part begins with the row of the first decision at or after `since`, and ends before the first
    row at or after a time `until`, or before the row of the decision that follows a decision.
    """

    since: Moment | None = None
    until: Moment | None = None


ALL: Final = Span()


class Bounds(NamedTuple):
    """A part of a run's events: `events[start:stop]`."""

    start: int
    stop: int


def moment(text: str) -> Moment:
    """Read the sequence of a decision, or an ISO time, UTC.

    Raises:
        DataError: it is neither.
    """
    return int(text) if text.isdecimal() else At(to_ns(text))


def bounds(run: Transcript, span: Span) -> Bounds:
    """Return where a part lies in a run.

    Raises:
        SessionError: no decision lies in it, or the run cannot be entered in its middle.
    """
    if span.since is not None and run.spec.timed:
        raise SessionError(
            f"strategy {run.info.strategy_id}: expected no beginning but its own, since it decides "
            f"on a clock or on bars that it makes of ticks"
        )
    row_topic = _row_topic(run)
    start = 0 if span.since is None else -1
    row = found = 0
    for i, (published_ns, event) in enumerate(run.events):
        if run.topics[i] == row_topic:
            row = i
            if found and _is_over(span.until, 0, published_ns):
                return Bounds(start, i)
        if not isinstance(event, wire.Decision):
            continue
        if start < 0 and _has_come(span.since, event.seq, published_ns):
            start = row
        if _is_over(span.until, event.seq, published_ns):
            if found:
                return Bounds(start, row)
            break
        found += start >= 0
    if not found:
        raise SessionError(
            f"strategy {run.info.strategy_id}: expected decisions {_words(span)}, there are "
            f"{_there(run)}"
        )
    return Bounds(start, len(run.events))


def part(run: Transcript, span: Span) -> Transcript:
    """Return a part of a run as a run.

    Raises:
        SessionError: no decision lies in it.
    """
    if span == ALL:
        return run
    start, stop = bounds(run, span)
    base = base_at(run, start)
    kept: list[Taken] = []
    last = dict(base.streams) if base else {}
    for i in range(stop):
        topic, seq = run.topics[i], run.seqs[i]
        missing = seq - last.get(topic, 0) - 1
        if topic and missing >= 0:
            last[topic] = seq
            kept.append((*run.events[i], topic, seq, missing))
    cut = run_of(run.source, kept, base)
    assert cut is not None  # its name is among the facts
    return cut


def base_at(run: Transcript, start: int) -> BaseRecord | None:
    """Return where a run stood before its event `start`; at its beginning, what it began with."""
    if start == 0:
        return run.base
    row_topic = _row_topic(run)
    streams = dict(run.base.streams) if run.base else {}
    rows: list[int] = []
    for topic, seq in zip(run.topics[:start], run.seqs[:start], strict=True):
        if topic == row_topic:
            rows.append(seq)
        elif topic:
            streams[topic] = seq
    if rows:
        streams[row_topic] = rows[-HISTORY_ROWS:][0] - 1
    return BaseRecord(
        source=run.source,
        epoch=run.info.epoch,
        streams=streams,
        market_topic=row_topic,
        market_seq=rows[-1] if rows else streams.get(row_topic, 0),
        facts=tuple(wire.encode(fact) for fact in facts_at(run, start)),
    )


def facts_at(run: Transcript, start: int) -> list[wire.Event]:
    """Return what was so before a run's event `start`, as events that could have told it."""
    joined: dict[str, wire.Joined] = {}
    halted: wire.Halted | None = None
    for _, event in run.events[:start]:
        match event:
            case wire.Joined():
                joined[event.agent_id] = event
            case wire.Halted():
                halted = event
            case wire.Resumed():
                halted = None
            case _:
                pass
    account = _account_at(run, start)
    return [run.info, *account, *joined.values(), *([halted] if halted else [])]


def _account_at(run: Transcript, start: int) -> list[wire.Event]:
    """Return what was held and on order, if anything was ever traded: money has a memory."""
    ledger = Ledger(run.spec.capital, run.instrument.multiplier)
    orders: dict[str, wire.VenueOrder] = {}
    known: set[str] = set()
    for _, event in run.events[:start]:
        match event:
            case wire.Restored():
                ledger.restore(event.holdings, [o.signed_qty for o in event.orders])
                orders = {o.client_order_id: o for o in event.orders}
                known.update(orders)
            case wire.OrderUpdate(client_order_id=name) if event.status in CLOSED:
                orders.pop(name, None)
            case wire.OrderUpdate(client_order_id=name) if name not in known and event.qty:
                known.add(name)
                orders[name] = _ordered(event, run)
            case wire.Fill(client_order_id=name):
                signed = event.qty if event.side == "BUY" else -event.qty
                ledger.fill(signed, event.px, event.commission)
                orders = _filled(orders, name, signed)
            case _:
                pass
    if not ledger.fills and not orders:
        return []
    open_orders = tuple(orders.values())
    return [wire.Restored(run.info.strategy_id, run.info.epoch, ledger.holdings, open_orders)]


def _ordered(update: wire.OrderUpdate, run: Transcript) -> wire.VenueOrder:
    signed = update.qty if update.side == "BUY" else -update.qty
    due_ns = update.ts_event_ns + run.venue.latency_ns
    return wire.VenueOrder(update.client_order_id, "open", signed, due_ns)


def _filled(
    orders: dict[str, wire.VenueOrder], name: str, signed: float
) -> dict[str, wire.VenueOrder]:
    order = orders.get(name)
    if order is None:
        return orders
    left = round(order.signed_qty - signed, 12)
    rest = {k: v for k, v in orders.items() if k != name}
    if not left:
        return rest
    return {**rest, name: wire.VenueOrder(name, order.status, left, order.due_ns, order.reason)}


def _row_topic(run: Transcript) -> str:
    return f"md.{run.spec.instrument_id}.{run.spec.rows}"


def _has_come(since: Moment | None, seq: int, published_ns: int) -> bool:
    if isinstance(since, At):
        return published_ns >= since.ns
    return since is None or seq >= since


def _is_over(until: Moment | None, seq: int, published_ns: int) -> bool:
    if isinstance(until, At):
        return published_ns >= until.ns
    return until is not None and seq > until


def _words(span: Span) -> str:
    words = []
    for word, at in (("from", span.since), ("to", span.until)):
        if at is not None:
            words.append(f"{word} {f'{to_iso(at.ns)} UTC' if isinstance(at, At) else at}")
    return " ".join(words)


def _there(run: Transcript) -> str:
    if not run.decisions:
        return "none"
    first, last = min(run.decisions), max(run.decisions)
    times = (to_iso(run.published_ns[seq]) for seq in (first, last))
    return f"{first} to {last}, {' to '.join(times)} UTC"
