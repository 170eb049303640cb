"""What may be ordered and lost."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import config
from grid.errors import ConfigError
from grid.limits import Limits, Meter

S = 1_000_000_000
DAY = 86_400 * S
qty = st.floats(-1e6, 1e6).map(lambda x: round(x, 2))


def meter(**limits):
    return Meter(Limits(**limits), multiplier=1.0)


def test_limits_default_to_none_at_all():
    free = meter()
    for n in range(1000):
        assert free.refusal(1e9, 1e9, 1e9, n) == ""
        free.ordered(n)
    assert free.breach(100.0, 0) == free.breach(-1e9, DAY) == ""


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"max_position_qty": 0}, "max_position_qty"),
        ({"max_orders_per_s": 0}, "max_orders_per_s"),
        ({"max_drawdown_share": 1.5}, "max_drawdown_share"),
        ({"on_halt": "pray"}, "on_halt"),
        ({"max_positon": 1.0}, "max_positon"),
    ],
)
def test_limits_that_are_wrong_die_with_their_key(wrong, key):
    with pytest.raises(ConfigError, match=key):
        config.convert(wrong, Limits, "grid.toml")


@given(held=qty, order=qty, most=st.floats(1, 1e6))
def test_position_beyond_the_limit_is_refused_unless_it_only_shrinks(held, order, most):
    after = held + order
    shrinks = held * after >= 0 and abs(after) <= abs(held)
    said = meter(max_position_qty=most).refusal(order, held, 1.0, 0)
    assert bool(said) == (abs(after) > most * (1 + 1e-9) and not shrinks)
    if said:
        assert said.startswith("limits.max_position_qty ")


@given(held=qty, order=qty, most=st.floats(1, 1e6))
def test_no_allowed_order_crosses_the_limit_from_within(held, order, most):
    allowed = not meter(max_position_qty=most).refusal(order, held, 1.0, 0)
    if allowed and abs(held) <= most:
        assert abs(held + order) <= most * (1 + 1e-9)


def test_notional_counts_price_and_multiplier():
    contracts = Meter(Limits(max_notional=100_000.0), multiplier=50.0)
    assert contracts.refusal(1.0, 0.0, 2_000.0, 0) == ""
    assert contracts.refusal(1.0, 0.0, 2_000.5, 0) == (
        "limits.max_notional 100,000: the order would make it 100,025"
    )
    assert contracts.refusal(-1.0, 2.0, 2_000.5, 0) == ""


@given(
    gaps_ns=st.lists(st.integers(0, 2 * S), max_size=60),
    per_s=st.integers(1, 5),
    per_min=st.integers(1, 20),
)
def test_no_window_ever_holds_more_orders_than_allowed(gaps_ns, per_s, per_min):
    rates = meter(max_orders_per_s=per_s, max_orders_per_min=per_min)
    now_ns, left = 10 * DAY, []
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        if not rates.refusal(1.0, 0.0, 1.0, now_ns):
            rates.ordered(now_ns)
            left.append(now_ns)
    for span_ns, most in ((S, per_s), (60 * S, per_min)):
        for end_ns in left:
            assert sum(end_ns - span_ns < at <= end_ns for at in left) <= most


def test_order_is_allowed_again_when_the_window_has_passed():
    rates = meter(max_orders_per_s=1)
    rates.ordered(5 * S)
    assert rates.refusal(1.0, 0.0, 1.0, 6 * S - 1).startswith("limits.max_orders_per_s 1: ")
    assert rates.refusal(1.0, 0.0, 1.0, 6 * S) == ""


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_drawdown_breaches_exactly_when_it_has_fallen_so_far_from_its_highest(path, share):
    losses = meter(max_drawdown_share=share)
    peak = -math.inf
    for n, equity in enumerate(path):
        peak = max(peak, equity)
        assert bool(losses.breach(equity, n)) == (peak - equity >= share * peak)


def test_daily_loss_is_counted_from_the_last_mark_of_the_day_before():
    losses = meter(max_daily_loss=100.0)
    assert losses.breach(1_000.0, 0) == ""
    assert losses.breach(901.0, DAY - 1) == ""
    assert losses.breach(850.0, DAY) == ""  # 51 lost today, 150 since yesterday
    assert losses.breach(801.0, DAY + 1) == ("limits.max_daily_loss 100: 100.00 lost on 1970-01-02")


def test_losses_begin_anew_after_a_person_has_resumed():
    losses = meter(max_daily_loss=100.0, max_drawdown_share=0.1)
    losses.breach(1_000.0, 0)
    assert losses.breach(890.0, 1)
    losses.begin_anew()
    assert losses.breach(890.0, 2) == losses.breach(820.0, 3) == ""
    assert losses.breach(790.0, 4)
