"""Rules on orders: asked for by whom it may be, sent once, with an end, and known to the venue."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from grid import wire
from grid.proof.actions import accepted
from grid.proof.evidence import Evidence, Run, Seen
from grid.proof.violation import Finding

_OVER = ("canceled", "rejected", "denied", "expired")
_DUST = 1e-9


@dataclass
class _Order:
    """An order, in all lives of the node that know it."""

    first: Seen
    run: Run
    decision_seq: int
    qty: float
    submitted: list[Seen] = field(default_factory=list)
    taken: bool = False  # by the venue
    over: bool = False
    filled_qty: float = 0.0


def _orders(evidence: Evidence) -> dict[str, _Order]:
    found: dict[str, _Order] = {}
    for run in evidence.runs:
        for seen in run.events:
            match seen.event:
                case wire.OrderUpdate(client_order_id=name, status=status) as update:
                    order = found.setdefault(
                        name, _Order(seen, run, update.decision_seq, update.qty)
                    )
                    if status == "submitted":
                        order.submitted.append(seen)
                    order.taken |= status == "accepted"
                    order.over |= status in _OVER
                    # a manual order that is asked for again in another life: the venue refuses it
                    if status == "rejected" and name.startswith("manual-"):
                        del order.submitted[1:]
                case wire.Fill(client_order_id=name) as fill if name in found:
                    found[name].filled_qty += fill.qty
                case _:
                    pass
    return found


def _asked_for(run: Run) -> set[str]:
    """The orders that something else than an order's own events speaks of."""
    names: set[str] = set()
    for _, acted in accepted(run):
        names.update(acted.answer.client_order_ids)
    for seen in run.events:
        match seen.event:
            case wire.Outcome(how="fallback", decision_seq=seq):
                names.add(f"fallback-{run.epoch}-{seq}")
            case wire.Flattened(client_order_id=name) if name:
                names.add(name)
            case wire.Manual(act="order", done=True, client_order_id=name):
                names.add(name)
            case wire.Restored(orders=orders):
                names.update(order.client_order_id for order in orders)
            case _:
                pass
    return names


def _leases(run: Run) -> dict[str, set[int]]:
    leases: dict[str, set[int]] = defaultdict(set)
    for seen in run.events:
        if isinstance(seen.event, wire.Joined | wire.TookOver):
            leases[seen.event.agent_id].add(seen.event.lease)
    return leases


def nothing_lost(evidence: Evidence) -> Finding:
    """What an accepted action led to is an order that has an end, or is open where nothing ended.

    A node that is killed may take with it what it had not sent yet; nothing else may.
    """
    found = Finding()
    orders, venue = _orders(evidence), evidence.venue
    for run in evidence.runs:
        for seen, acted in accepted(run):
            for name in acted.answer.client_order_ids:
                known = name in orders or not run.is_whole
                found.expect(known, f"order {name} was promised, and never made", seen)
    for name, order in orders.items():
        at_venue = venue.orders.get(name) if venue else None
        cut_short = order.run.died or _was_cut_short(order)
        if venue is not None and order.submitted:
            found.expect(
                at_venue is not None or order.over or (cut_short and not order.taken),
                f"order {name} was sent, and the venue does not know it",
                order.first,
            )
        done = order.over or abs(order.filled_qty - order.qty) < _DUST
        if at_venue is not None:
            done = done or at_venue.status != "open" or not evidence.runs[-1].ended
        found.expect(done or cut_short, f"order {name} has no end", order.first)
    return found


def _was_cut_short(order: _Order) -> bool:
    """Whether the node ended, before its data did, right after the order."""
    return not order.run.ended and order.decision_seq >= order.run.newest_decision - 2


def nothing_twice(evidence: Evidence) -> Finding:
    """No order is sent twice or filled beyond its size, no fill counted twice, here or there."""
    found = Finding()
    for name, order in _orders(evidence).items():
        found.expect(
            len(order.submitted) <= 1, f"order {name} was sent twice", *order.submitted[:2]
        )
        found.expect(
            order.filled_qty <= order.qty + _DUST,
            f"order {name} of {order.qty:g} was filled for {order.filled_qty:g}",
            order.first,
        )
    trades: dict[tuple[int, str], Seen] = {}
    for run in evidence.runs:
        for seen in run.events:
            if isinstance(seen.event, wire.Fill):
                # at the engine's own venue the count of trades begins anew with each node
                key = (0 if evidence.venue else run.epoch, seen.event.trade_id)
                said = f"trade {seen.event.trade_id} was counted twice"
                found.expect(key not in trades, said, *filter(None, (trades.get(key), seen)))
                trades[key] = seen
    if evidence.venue is not None:
        filled: dict[str, float] = defaultdict(float)
        for trade, n in Counter(fill.trade_id for fill in evidence.venue.fills).items():
            found.expect(n == 1, f"the venue has trade {trade} {n} times")
        for fill in evidence.venue.fills:
            filled[fill.client_order_id] += fill.signed_qty
        for name, logged in evidence.venue.orders.items():
            wanted = logged.signed_qty if logged.status == "filled" else 0.0
            found.expect(
                abs(filled[name] - wanted) < _DUST,
                f"the venue has order {name} {logged.status} with {filled[name]:g} of"
                f" {logged.signed_qty:g} filled",
            )
    return found


def nothing_unasked(evidence: Evidence) -> Finding:
    """Each order comes from an action, a fallback or a person, under a lease that was granted.

    Of a life that was killed the last order may stand alone: what it came from was on its way.
    """
    found = Finding()
    granted: dict[int, dict[str, set[int]]] = {run.epoch: _leases(run) for run in evidence.runs}
    asked = {run.epoch: _asked_for(run) for run in evidence.runs}
    everywhere = set().union(*asked.values()) if asked else set()
    for name, order in _orders(evidence).items():
        run = order.run
        known = name in asked[run.epoch] or not run.is_whole
        unfinished = not run.stopped and order.decision_seq >= run.newest_decision
        found.expect(
            known or (unfinished and _by_lease(name, granted[run.epoch])),
            f"order {name} was asked for by nobody",
            order.first,
        )
    for name, logged in (evidence.venue.orders if evidence.venue else {}).items():
        lives = [run for run in evidence.runs if run.epoch == logged.node_epoch]
        if name in everywhere or not lives or not all(run.is_whole for run in lives):
            continue
        found.expect(
            not lives[0].stopped and _by_lease(name, granted[logged.node_epoch]),
            f"the venue has order {name} of epoch {logged.node_epoch}, asked for by nobody",
        )
    return found


def _by_lease(name: str, granted: dict[str, set[int]]) -> bool:
    """Whether an order's name speaks of a lease that was granted, or of a fallback."""
    if name.startswith(("fallback-", "flatten-", "manual-")):
        return True
    agent, _, rest = name.rpartition("-")
    agent, _, lease = agent.rpartition("-")
    return rest.isdecimal() and lease.isdecimal() and int(lease) in granted.get(agent, set())
