"""Fills on markets that are made so that the outcome is known by hand."""

import numpy as np
import pytest

from envs.market import MarketEnv
from envs.schemes import KINDS, Orders
from envs.trading import TradingEnv
from envs.views import Rows, View
from grid.spec import Spec, TargetRule
from grid.venue import Venue
from tests.support.markets import PAIR, START_NS, bar_columns, dataset, spec_for

SECOND_NS = 1_000_000_000
TICK = 1e-5
FREE = {"taker_fee_bps": 0.0, "maker_fee_bps": 0.0}


def quotes(*rows):
    """Rows of (second, bid, ask, bid size, ask size), after two that only warm up."""
    first = rows[0]
    rows = ((-2.0, *first[1:]), (-1.0, *first[1:]), *rows)
    names = ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty")
    table = np.array(rows, dtype=np.float64).T
    columns = dict(zip(names, table, strict=True))
    columns["ts_event"] = START_NS + np.rint(columns["ts_event"] * SECOND_NS).astype(np.int64)
    return dataset(columns)


def steady(n, bid=1.1, ask=1.1001, size=10.0):
    return quotes(*((float(k), bid, ask, size, size) for k in range(n)))


def trade(data, venue, targets, max_qty=100.0, seed=0):
    """The fills of a `TradingEnv` that seeks these quantities: (seconds, quantity, price)."""
    levels = tuple(sorted({0.0, *(t / max_qty for t in targets)}))
    spec = Spec(
        instrument_id=PAIR.id,
        rows="quote",
        features=("spread",),
        mean=(0.0,),
        std=(1.0,),
        window=1,
        target=TargetRule(max_qty=max_qty, levels=levels),
    )
    env = TradingEnv(data, spec, venue)
    env.reset(options={"row": 2, "fill_seed": seed})
    fills, over = [], False
    for target in targets:
        if not over:
            *_, over, info = env.step(levels.index(target / max_qty))
            fills += [((f.ts_event_ns - START_NS) / SECOND_NS, f.signed_qty, f.px)
                      for f in info["fills"]]  # fmt: skip
    env.close()
    return fills


def test_order_beyond_the_quotes_size_fills_in_part_one_tick_worse():
    found = trade(steady(6), Venue(latency_ms=100, **FREE), [15.0] * 4)
    assert found == [(1.0, 10.0, 1.1001), (1.0, 5.0, 1.10011)]
    found = trade(steady(6), Venue(latency_ms=100, **FREE), [-15.0] * 4)
    assert found == [(1.0, -10.0, 1.1), (1.0, -5.0, 1.09999)]


def test_order_beyond_the_depth_of_bars_fills_in_part_one_tick_worse():
    data = dataset(bar_columns(60))
    venue = Venue(depth_qty=4_000.0, half_spread_bps=0.0, **FREE)
    env = TradingEnv(data, spec_for(data), venue)
    env.reset(options={"row": 20})
    fills = env.step(2)[4]["fills"]
    env.close()
    opening = data.columns["open"][21]
    assert [(f.signed_qty, f.px) for f in fills] == [
        (4_000.0, pytest.approx(opening)),
        (6_000.0, pytest.approx(opening + TICK)),
    ]


@pytest.mark.parametrize(
    ("consumes", "want"),
    [
        (False, [(8.0, 1.1001), (8.0, 1.1001), (8.0, 1.1001)]),
        (True, [(8.0, 1.1001), (2.0, 1.1001), (6.0, 1.10011), (8.0, 1.1001)]),
    ],
)
def test_consumed_liquidity_is_not_given_twice(consumes, want):
    # orders of 8 are decided on at 0 and 1 s and meet the quote at 10 s, whose size is 10; the
    # third, at 10 s, meets that of 20 s, which shows another size and so is whole again
    data = quotes(
        (0.0, 1.1, 1.1001, 10.0, 10.0), (1.0, 1.1, 1.1001, 10.0, 10.0),
        (10.0, 1.1, 1.1001, 10.0, 10.0), (20.0, 1.1, 1.1001, 10.0, 12.0),
        (30.0, 1.1, 1.1001, 10.0, 10.0), (40.0, 1.1, 1.1001, 10.0, 10.0),
    )  # fmt: skip
    venue = Venue(latency_ms=5_000, liquidity_consumption=consumes, **FREE)
    found = trade(data, venue, [8.0, 16.0, 24.0, 24.0, 24.0])
    assert [(qty, px) for _, qty, px in found] == want
    assert [t for t, *_ in found] == [10.0] * (len(want) - 1) + [20.0]


def test_slippage_is_one_tick_as_often_as_its_probability_says():
    sought = [float(k % 2) for k in range(1, 801)]

    def slips(prob, seed=0):
        venue = Venue(latency_ms=100, slippage_prob=prob, **FREE)
        found = trade(steady(804), venue, sought, seed=seed)
        touch = {1.0: 1.1001, -1.0: 1.1}
        return [round((px - touch[qty]) * qty / TICK) for _, qty, px in found]

    assert set(slips(0.0)) == {0}
    assert set(slips(1.0)) == {1}
    some = slips(0.3)
    assert set(some) == {0, 1}
    assert np.mean(some) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 800))
    assert some == slips(0.3)
    assert some != slips(0.3, seed=1)


def rest(data, venue, trades=None, offset=1, steps=12):
    """The fills of one limit to buy 10, so many ticks below the mid at the first decision."""
    view = View("quotes", data, ("spread",), train_rows=(0, 4), window=1)
    scheme = Orders(sizes=(10.0,), max_qty=100.0, offsets_ticks=(offset,))
    markets = [data] if trades is None else [data, trades]
    env = MarketEnv([view], scheme, venue, markets=markets, clock=Rows())
    env.reset(seed=0, options={"decision": 2})
    fills = []
    for k in range(steps):
        action = [KINDS.index("limit"), 0, 0, 0, 0] if k == 0 else [0] * 5
        *_, over, info = env.step(action)
        fills += [((f.ts_event_ns - START_NS) / SECOND_NS, f.signed_qty, f.px)
                  for f in info["fills"]]  # fmt: skip
        if over:
            break
    env.close()
    return fills


def crossing():
    """The mid is 1.10010; at 3 s the ask comes down to 1.10005."""
    calm, low = (1.10005, 1.10015), (1.09995, 1.10005)
    prices = [calm, calm, calm, low, *[calm] * 8]
    return quotes(*((float(k), *p, 100.0, 100.0) for k, p in enumerate(prices)))


def sold(first, n, qty, px=1.1):
    """Trades: sellers give `qty` at `px` every second from `first` + 0.5 s on."""
    times = START_NS + ((first + np.arange(n)) * SECOND_NS + SECOND_NS // 2).astype(np.int64)
    return dataset({
        "ts_event": times, "price": np.full(n, px), "qty": np.full(n, qty),
        "side": np.full(n, -1.0),
    })  # fmt: skip


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_limit_fills_when_the_other_side_comes_to_it_whatever_its_probability(prob):
    venue = Venue(latency_ms=100, limit_fill_prob=prob, **FREE)
    assert rest(crossing(), venue, offset=5) == [(3.0, 10.0, 1.10005)]


@pytest.mark.parametrize(("prob", "px", "fills"), [
    (0.0, 1.1, []),  # trades at its price and no further: by its probability
    (1.0, 1.1, [(2.5, 10.0, 1.1)]),
    (0.0, 1.09999, [(2.5, 10.0, 1.1)]),  # trades beyond its price: always
])  # fmt: skip
def test_limit_at_which_others_trade_fills_with_its_probability(prob, px, fills):
    venue = Venue(latency_ms=1_100, limit_fill_prob=prob, **FREE)
    data = steady(16, bid=1.1, ask=1.10002, size=100.0)
    assert rest(data, venue, trades=sold(0, 14, 15.0, px)) == fills


@pytest.mark.parametrize(
    ("queues", "want"),
    [
        # without a queue the first trade at the price after the order is there, at 2 s, fills it
        (False, [(2.5, 10.0, 1.1)]),
        # 100 stand before it: six trades of 15 leave 10 of them, the seventh, at 8.5 s, fills
        # 5 of the order, and the eighth the rest
        (True, [(8.5, 5.0, 1.1), (9.5, 5.0, 1.1)]),
    ],
)
def test_limit_waits_behind_the_queue_at_its_price(queues, want):
    data = steady(16, bid=1.1, ask=1.10002, size=100.0)
    venue = Venue(latency_ms=1_100, queue_position=queues, **FREE)
    found = rest(data, venue, trades=sold(0, 14, 15.0))
    assert found == want


def test_queue_that_is_never_traded_through_never_fills():
    data = steady(16, bid=1.1, ask=1.10002, size=100.0)
    venue = Venue(latency_ms=1_100, queue_position=True, **FREE)
    assert rest(data, venue, trades=sold(2, 12, 8.0)) == []
