"""Orders of people at the node: judged, and each of them once."""

import pytest

from grid import wire
from grid.audit import Audit
from grid.instrument import CurrencyPair
from grid.limits import Limits
from grid.node.guard import Guard
from grid.node.ledger import Ledger
from grid.node.manual import ManualOrders

EURUSD = CurrencyPair(
    id="EUR/USD.SIM",
    price_precision=5,
    size_precision=0,
    tick_size=1e-5,
    lot_size=1_000.0,
    base_currency="EUR",
    quote_currency="USD",
)


class Desk:
    """What the strategy's link is to them."""

    def __init__(self):
        self.market_ns = 7
        self.mark_px = 1.1
        self.ledger = Ledger(1e6, 1.0)
        self.restored = False
        self.resting = []
        self.closed = ""
        self.events = []
        self.placed = []

    def publish(self, event):
        self.events.append(event)

    def place(self, name, signed_qty, limit_px):
        self.placed.append((name, signed_qty, limit_px))
        self.resting.append(signed_qty)

    def take_back(self, name):
        return name in [placed[0] for placed in self.placed]


@pytest.fixture
def make(tmp_path):
    audits = []

    def build(refusal="", kept=(), **limits):
        audits.append(Audit(tmp_path / "a.jsonl", "S-1", 1))
        guard = Guard("S-1", 1, Limits(**limits), 1.0, tmp_path / "halt.json", audits[-1])
        desk, orders = Desk(), ManualOrders("S-1", 1, EURUSD, guard, refusal)
        guard.start(desk)
        orders.start(desk, kept)
        return orders, desk, guard

    yield build
    for audit in audits:
        audit.close()


def asked(name="manual-1", qty=1_000.0, side="BUY", limit_px=0.0):
    return wire.ManualOrder("S-1", name, "ann", side, qty, limit_px, "why")


def test_order_is_told_before_it_is_sent_and_a_twin_is_not_sent(make):
    orders, desk, _ = make()
    assert orders.order(asked(side="SELL", limit_px=1.2)).status == "accepted"
    assert desk.placed == [("manual-1", -1_000.0, 1.2)]
    assert (desk.events[-1].done, desk.events[-1].reason) == (True, "why")
    assert orders.order(asked(side="SELL", limit_px=1.2)).status == "duplicate"
    assert orders.order(asked()).reason.endswith("for another order")
    assert len(desk.placed) == 1


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (asked("alpha-1-1"), "client order id: expected manual-"),
        (asked(qty=1_500.0), "qty: expected whole lots of 1000"),
        (asked(qty=-1_000.0), "qty: "),
        (asked(qty=0.0), "qty: "),
        (asked(limit_px=1.100001), "limit_px: expected whole ticks of 1e-05"),
        (asked(limit_px=-1.0), "limit_px: "),
        (asked(qty=9_000.0), "limits.max_position_qty 5,000: "),
    ],
)
def test_order_that_cannot_be_is_refused_told_and_audited(make, tmp_path, order, said):
    orders, desk, _ = make(max_position_qty=5_000.0)
    reply = orders.order(order)
    assert (reply.status, reply.reason.startswith(said)) == ("refused", True)
    assert desk.placed == []
    assert not desk.events[-1].done
    assert b'"kind":"order"' in (tmp_path / "a.jsonl").read_bytes()
    assert orders.order(order) == reply


def test_what_rests_counts_for_the_limits(make):
    orders, _, _ = make(max_position_qty=5_000.0)
    assert orders.order(asked(qty=3_000.0, limit_px=0.5)).status == "accepted"
    assert orders.order(asked("manual-2", 3_000.0)).status == "refused"
    assert orders.order(asked("manual-3", 3_000.0, "SELL")).status == "accepted"


def test_halt_a_closed_desk_and_a_node_that_takes_none_refuse(make):
    orders, _, guard = make()
    guard.control(wire.Halt("S-1", "r", "ann", "lunch"))
    assert orders.order(asked()).reason == "halted by ann: lunch"
    guard.control(wire.Resume("S-1", "r2", "ann"))
    orders, desk, _ = make()
    desk.closed = "there is no price yet"
    assert orders.order(asked()).reason == "there is no price yet"
    orders, desk, _ = make("not here")
    assert orders.order(asked()).reason == "not here"
    assert orders.cancel(wire.CancelManual("S-1", "manual-1", "ann")).reason == "not here"


def test_order_kept_by_the_venue_is_known_to_the_next_node(make):
    orders, desk, _ = make(kept=(wire.VenueOrder("manual-1", "open", 1.0, 5),))
    assert orders.order(asked()).status == "duplicate"
    assert desk.placed == []


def test_only_an_open_manual_order_can_be_taken_back(make):
    orders, desk, _ = make()
    orders.order(asked())
    assert orders.cancel(wire.CancelManual("S-1", "manual-1", "ann")).status == "accepted"
    assert orders.cancel(wire.CancelManual("S-1", "manual-9", "ann")).status == "refused"
    assert [e.act for e in desk.events] == ["order", "cancel", "cancel"]
