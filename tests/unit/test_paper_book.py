"""What fills at the paper venue, and at what price."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.paper.book import Account, Order, Terms

TERMS = Terms(
    instrument_id="EUR/USD.SIM",
    currency="USD",
    currency_digits=2,
    price_digits=5,
    tick=1e-5,
    multiplier=1.0,
    taker_fee_bps=0.5,
)


@pytest.fixture
def account():
    return Account("main", TERMS, 1, wire.Holdings(1_000.0, 0.0, 0.0, 0.0, 0.0, 0))


def order(qty, due_ns=100, seq=1, name="a"):
    return Order(client_order_id=name, signed_qty=qty, due_ns=due_ns, placed=(1, seq))


def tick(seq, ts_ns, bid=1.1, ask=1.2, size=1e9, epoch=1):
    return wire.Tick("main", epoch, seq, ts_ns, bid, ask, size, size)


def test_order_fills_on_the_first_tick_at_or_after_it_is_due(account):
    account.place(order(10.0))
    assert account.tick(tick(2, 99)) == ([], [])
    assert account.ledger.pending_qty == 10.0
    (filled,), (fill,) = account.tick(tick(3, 100))
    assert (filled.status, fill.px, fill.signed_qty) == ("filled", 1.2, 10.0)
    assert account.tick(tick(4, 101)) == ([], [])
    assert account.ledger.holdings == wire.Holdings(988.0, 10.0, 1.2, 0.0, 12.0, 1)


def test_tick_never_fills_an_order_that_came_after_it(account):
    account.place(order(-10.0, due_ns=0, seq=5))
    assert account.tick(tick(4, 100)) == ([], [])  # sent again, and late
    (_,), (fill,) = account.tick(tick(6, 100))
    assert fill.px == 1.1
    account.place(order(1.0, due_ns=0, seq=9, name="b"))
    assert account.tick(tick(1, 100, epoch=2))[1]  # of the next node


def test_what_exceeds_the_size_fills_one_tick_worse(account):
    account.place(order(10.0))
    account.place(order(-10.0, name="b", seq=2))
    _, fills = account.tick(tick(3, 100, size=4.0))
    assert [(f.client_order_id, f.signed_qty, f.px) for f in fills] == [
        ("a", 4.0, 1.2), ("a", 6.0, 1.20001), ("b", -4.0, 1.1), ("b", -6.0, 1.09999),
    ]  # fmt: skip
    assert [f.trade_id for f in fills] == ["main-1", "main-2", "main-3", "main-4"]
    assert account.ledger.position_qty == 0.0


@pytest.mark.parametrize(
    ("qty", "limit_px", "waits", "fills", "worst_px"),
    [(10.0, 1.2, {"ask": 1.20001}, {"ask": 1.2}, 1.2), (-10.0, 1.1, {"bid": 1.0}, {}, 1.1)],
)
def test_order_with_a_limit_waits_for_its_price_and_never_pays_a_worse_one(
    account, qty, limit_px, waits, fills, worst_px
):
    limited = order(qty)
    limited.limit_px = limit_px
    account.place(limited)
    assert account.tick(tick(2, 100, **waits)) == ([], [])
    _, found = account.tick(tick(3, 101, size=4.0, **fills))
    assert [f.px for f in found] == [limit_px, worst_px]  # what exceeds the size, too
    assert account.ledger.position_qty == qty


def test_canceled_order_is_pending_no_more_and_never_fills(account):
    account.place(order(10.0))
    assert account.cancel("a").status == "canceled"
    assert account.cancel("a") is None
    assert account.ledger.pending_qty == 0.0
    assert account.tick(tick(2, 100)) == ([], [])


def test_order_of_nothing_is_rejected(account):
    nothing = order(0.0)
    account.place(nothing)
    assert (nothing.status, account.open) == ("rejected", {})


@pytest.mark.parametrize(
    ("qty", "px", "fee"), [(1_000.0, 1.3, 0.06), (1_000.0, 1.1, 0.06), (3_000.0, 1.10007, 0.17)]
)
def test_fee_is_rounded_half_to_even_as_the_engine_does(qty, px, fee):
    assert TERMS.commission(qty, px) == fee


@given(
    st.lists(st.tuples(st.integers(-1_000, 1_000).filter(bool), st.integers(0, 9)), max_size=12),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 500)), max_size=12),
)
def test_cash_and_position_are_what_the_fills_say(orders, ticks):
    account = Account("main", TERMS, 1, wire.Holdings(1_000.0, 0.0, 0.0, 0.0, 0.0, 0))
    placed = {}
    for n, (qty, due_ns) in enumerate(orders):
        account.place(order(float(qty), due_ns, seq=n, name=f"o{n}"))
        placed[f"o{n}"] = float(qty)
    fills = []
    for n, (ts_ns, size) in enumerate(ticks):
        fills += account.tick(tick(100 + n, ts_ns, size=float(size)))[1]
    for name in placed:
        done = sum(f.signed_qty for f in fills if f.client_order_id == name)
        assert done == (0.0 if name in account.open else placed[name])
    cash = Decimal(1_000)
    for f in fills:
        cash -= Decimal(repr(f.signed_qty)) * Decimal(repr(f.px)) + Decimal(repr(f.commission))
    held = account.ledger.holdings
    assert held.cash == pytest.approx(float(cash), abs=1e-6)
    assert held.position_qty == sum(f.signed_qty for f in fills)
    assert account.ledger.pending_qty == sum(o.signed_qty for o in account.open.values())


@pytest.mark.parametrize(
    ("name", "value"), [("instrument_id", "X.SIM"), ("currency", "EUR"), ("multiplier", 50.0)]
)
def test_terms_that_never_change_conflict_and_costs_do_not(name, value):
    fields = {f: getattr(TERMS, f) for f in TERMS.__struct_fields__}
    assert TERMS.conflict(Terms(**{**fields, "taker_fee_bps": 9.0, "tick": 0.5})) == ""
    assert TERMS.conflict(Terms(**{**fields, name: value})).startswith(f"{name} ")
