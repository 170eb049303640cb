"""The account from fills, against fractions that do not round."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from grid.node.ledger import Ledger

fills = st.lists(
    st.tuples(
        st.integers(-50, 50).filter(bool),
        st.integers(90_000, 110_000).map(lambda p: p / 1e5),
        st.integers(0, 300).map(lambda c: c / 100),
    ),
    max_size=40,
)


def test_ledger_through_a_flip_keeps_the_price_of_the_new_side():
    ledger = Ledger(1000.0, 2.0)
    ledger.order(3.0)
    ledger.fill(3.0, 10.0, 0.5)
    assert (ledger.position_qty, ledger.avg_px, ledger.pending_qty) == (3.0, 10.0, 0.0)
    assert ledger.equity(11.0) == 1000.0 + 3 * 1.0 * 2 - 0.5
    assert ledger.unrealized(11.0) == 6.0
    ledger.fill(-5.0, 12.0, 0.5)
    assert (ledger.position_qty, ledger.avg_px) == (-2.0, 12.0)
    assert ledger.equity(12.0) == 1000.0 + 3 * 2.0 * 2 - 1.0
    assert (ledger.fees, ledger.fills, ledger.traded) == (1.0, 2, 60.0 + 120.0)


def test_orders_that_cancel_each_other_out_are_still_under_way():
    ledger = Ledger(1000.0, 1.0)
    ledger.order(3.0)
    ledger.order(-3.0)
    assert (ledger.pending_qty, ledger.working_qty) == (0.0, 6.0)
    ledger.fill(3.0, 10.0, 0.0)
    ledger.release(-3.0)
    assert (ledger.pending_qty, ledger.working_qty) == (0.0, 0.0)


@given(fills)
def test_ledger_equals_exact_arithmetic(trades):
    ledger = Ledger(100_000.0, 1.0)
    cash, position = Fraction(100_000), 0
    for qty, px, commission in trades:
        ledger.order(float(qty))
        ledger.fill(float(qty), px, commission)
        cash -= qty * Fraction(px) + Fraction(commission)
        position += qty
    assert ledger.position_qty == position
    assert abs(Fraction(ledger.equity(1.0)) - (cash + position)) < Fraction(1, 10**7)
    if not position:
        assert ledger.avg_px == 0.0
        assert ledger.unrealized(5.0) == 0.0
