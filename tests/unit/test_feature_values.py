"""Features against their formulas, spelled out row by row."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from envs.features.registry import parse
from envs.pipeline import as_rows
from tests.support.markets import bar_columns, depth_columns, quote_columns

B = bar_columns(200, seed=3)
Q = as_rows(quote_columns(200, seed=3))
T = 170  # the row that is looked at


def last(name, rows, t=T):
    """The feature's value at row t."""
    found = parse(name)
    return float(found(rows)[t - found.lookback + 1])


def ema(prices, span, rows):
    """The exponential average of the last `rows` prices, weights scaled to sum 1."""
    weights = [(1 - 2 / (span + 1)) ** k for k in range(rows)]
    return sum(w * p for w, p in zip(weights, reversed(prices), strict=False)) / sum(weights)


def sign(x):
    return (x > 0) - (x < 0)


def close(t):
    return float(B["close"][t])


def test_returns_and_volatility():
    one = [math.log(close(t) / close(t - 1)) for t in range(1, 200)]
    assert last("log_return:5", B) == pytest.approx(math.log(close(T) / close(T - 5)))
    vol = math.sqrt(sum(r * r for r in one[T - 20 : T]) / 20)
    assert last("volatility:20", B) == pytest.approx(vol)
    assert last("momentum:20", B) == pytest.approx(sum(one[T - 20 : T]) / vol / math.sqrt(20))


def test_rsi_is_the_index_of_wilder_with_simple_means():
    moves = np.diff(np.log(B["close"]))[T - 14 : T]
    strength = moves[moves > 0].sum() / -moves[moves < 0].sum()
    index = 100 - 100 / (1 + strength)
    assert 50 * (1 + last("rsi:14", B)) == pytest.approx(index)


def test_macd_is_the_difference_of_two_averages():
    prices = [close(t) for t in range(T + 1)]
    want = (ema(prices, 5, 4 * 12) - ema(prices, 12, 4 * 12)) / prices[-1]
    assert last("macd:5:12", B) == pytest.approx(want, rel=1e-9)


def test_macd_tends_to_the_recursive_one():
    averages = [close(0), close(0)]
    for t in range(T + 1):
        for i, span in enumerate((5, 12)):
            averages[i] += 2 / (span + 1) * (close(t) - averages[i])
    want = (averages[0] - averages[1]) / close(T)
    assert last("macd:5:12", B) == pytest.approx(want, abs=2e-6)


def test_macd_histogram_takes_the_signal_line_away():
    prices = [close(t) for t in range(T + 1)]
    lines = [
        ema(prices[: t + 1], 5, 4 * 12) - ema(prices[: t + 1], 12, 4 * 12)
        for t in range(T - 4 * 6 + 1, T + 1)
    ]
    want = (lines[-1] - ema(lines, 6, 4 * 6)) / prices[-1]
    assert last("macd_histogram:5:12:6", B) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("name", ["macd:3:7", "macd_histogram:3:7:4", "zscore:9", "channel:9",
                                  "rsi:9", "momentum:9", "volatility:9", "atr:9"])  # fmt: skip
def test_price_that_does_not_move_gives_exactly_nothing(name):
    rows = {k: np.full(60, 1.1) for k in ("open", "high", "low", "close")}
    assert set(parse(name)(rows).tolist()) == {0.0}


def test_channel_and_zscore():
    w = B["close"][T - 29 : T + 1]
    place = 2 * (w[-1] - w.min()) / (w.max() - w.min()) - 1
    assert last("channel:30", B) == pytest.approx(place)
    assert last("zscore:30", B) == pytest.approx((w[-1] - w.mean()) / w.std())


def test_shape_of_a_bar():
    o, h, low, c = (float(B[k][T]) for k in ("open", "high", "low", "close"))
    assert last("bar_range", B) == pytest.approx(math.log(h / low))
    assert last("bar_body", B) == pytest.approx((c - o) / (h - low))
    assert last("bar_close", B) == pytest.approx(2 * (c - low) / (h - low) - 1)
    assert last("bar_gap", B) == pytest.approx(math.log(o / close(T - 1)))


def test_atr_and_range_volatility():
    def true_range(t):
        h, low, before = float(B["high"][t]), float(B["low"][t]), close(t - 1)
        return max(h - low, abs(h - before), abs(low - before))

    mean = sum(true_range(t) for t in range(T - 13, T + 1)) / 14
    assert last("atr:14", B) == pytest.approx(mean / close(T))
    squares = [math.log(B["high"][t] / B["low"][t]) ** 2 for t in range(T - 9, T + 1)]
    want = math.sqrt(sum(squares) / 10 / (4 * math.log(2)))
    assert last("range_volatility:10", B) == pytest.approx(want)


def test_volume_features():
    v = B["volume"]
    logs = np.log1p(v[T - 9 : T + 1])
    assert last("log_volume", B) == pytest.approx(math.log(1 + v[T]))
    assert last("volume_zscore:10", B) == pytest.approx((logs[-1] - logs.mean()) / logs.std())
    span = range(T - 11, T + 1)
    signs = {t: sign(close(t) - close(t - 1)) for t in span}
    signed = sum(signs[t] * v[t] for t in span) / sum(v[t] for t in span)
    assert last("volume_imbalance:12", B) == pytest.approx(signed)
    assert last("tick_imbalance:12", B) == pytest.approx(sum(signs.values()) / 12)
    typical = {t: (B["high"][t] + B["low"][t] + B["close"][t]) / 3 for t in span}
    vwap = sum(typical[t] * v[t] for t in span) / sum(v[t] for t in span)
    assert last("vwap_distance:12", B) == pytest.approx(1 - vwap / close(T), rel=1e-9)


def test_volume_features_without_volume_say_nothing():
    rows = {**B, "volume": np.zeros(200)}
    for name in ("log_volume", "volume_zscore:5", "volume_imbalance:5", "vwap_distance:5"):
        assert set(parse(name)(rows).tolist()) == {0.0}


def test_top_of_the_book():
    bid, ask, bids, asks = (float(Q[k][T]) for k in ("bid_px", "ask_px", "bid_qty", "ask_qty"))
    mid = (bid + ask) / 2
    weighted = (bid * asks + ask * bids) / (bids + asks)
    assert last("spread", Q) == pytest.approx((ask - bid) / mid)
    assert last("imbalance", Q) == pytest.approx((bids - asks) / (bids + asks))
    assert last("log_depth", Q) == pytest.approx(math.log(1 + bids + asks))
    assert last("microprice", Q) == pytest.approx(weighted / mid - 1, rel=1e-6)


def test_order_flow_imbalance():
    def flow(t):
        (b0, b1), (a0, a1) = (Q[k][t - 1 : t + 1] for k in ("bid_px", "ask_px"))
        (p0, p1), (q0, q1) = (Q[k][t - 1 : t + 1] for k in ("bid_qty", "ask_qty"))
        up = (p1 if b1 >= b0 else 0.0) - (p0 if b1 <= b0 else 0.0)
        return up - (q1 if a1 <= a0 else 0.0) + (q0 if a1 >= a0 else 0.0)

    span = range(T - 7, T + 1)
    depth = sum(Q["bid_qty"][t] + Q["ask_qty"][t] for t in span) / 16
    assert last("order_flow:8", Q) == pytest.approx(sum(flow(t) for t in span) / depth)


def test_order_added_to_the_bid_counts_up_and_to_the_ask_down():
    calm = {
        "bid_px": [1.0, 1.0],
        "ask_px": [1.1, 1.1],
        "bid_qty": [5.0, 8.0],
        "ask_qty": [5.0, 5.0],
    }
    rows = {k: np.array(v) for k, v in calm.items()}
    assert parse("order_flow:1")(rows)[0] == pytest.approx(3.0 / 6.5)
    rows = {**rows, "bid_qty": rows["ask_qty"], "ask_qty": rows["bid_qty"]}
    assert parse("order_flow:1")(rows)[0] == pytest.approx(-3.0 / 6.5)


@pytest.mark.parametrize(
    ("moment", "day", "week"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), 0.0, 0.0),  # a Monday
        (datetime(2024, 1, 3, 6, tzinfo=UTC), 0.25, 2.25 / 7),
        (datetime(2024, 1, 7, 18, tzinfo=UTC), 0.75, 6.75 / 7),
        (datetime(1970, 1, 1, 12, tzinfo=UTC), 0.5, 3.5 / 7),  # a Thursday
    ],
)
def test_time_of_day_and_week(moment, day, week):
    rows = {"ts_event": np.array([int(moment.timestamp()) * 10**9], dtype=np.int64)}
    for name, share in (("hour", day), ("week", week)):
        angle = 2 * math.pi * share
        assert parse(f"{name}_sin")(rows)[0] == pytest.approx(math.sin(angle), abs=1e-12)
        assert parse(f"{name}_cos")(rows)[0] == pytest.approx(math.cos(angle), abs=1e-12)


def test_elapsed_shows_a_gap():
    rows = {"ts_event": np.array([0, 0, 60, 172_860], dtype=np.int64) * 10**9}
    want = [0.0, math.log(61), math.log(172_801)]
    assert parse("elapsed")(rows).tolist() == pytest.approx(want)


def test_features_of_trades_by_hand():
    rows = {
        "ts_event": np.array([0, 1, 1, 2], dtype=np.int64) * 500_000_000,
        "close": np.array([10.0, 11.0, 12.0, 10.0]),
        "volume": np.array([1.0, 3.0, 4.0, 2.0]),
        "side": np.array([1.0, -1.0, 1.0, 0.0]),
    }
    assert parse("trade_imbalance:3")(rows).tolist() == [2 / 8, 1 / 9]
    assert parse("trade_sign:4")(rows).tolist() == [1 / 4]
    vwap = (3 * 11 + 4 * 12 + 2 * 10) / 9
    assert parse("trade_vwap_distance:3")(rows)[1] == pytest.approx(1 - vwap / 10)
    assert parse("trade_rate:3")(rows).tolist() == [pytest.approx(math.log(1 + 3))]


D = {**as_rows(depth_columns(200, seed=3)), "tick": np.full(200, 1e-5)}


def side(name, k):
    """Prices and sizes of the best k levels of a side at row T."""
    return D[f"{name}_pxs"][T][:k].tolist(), D[f"{name}_qtys"][T][:k].tolist()


def test_book_imbalance_weighs_the_sizes_of_k_levels():
    bids, asks = sum(side("bid", 3)[1]), sum(side("ask", 3)[1])
    assert last("book_imbalance:3", D) == pytest.approx((bids - asks) / (bids + asks))


def test_depth_spread_is_between_the_mean_prices_of_k_levels():
    mean = {}
    for name in ("bid", "ask"):
        px, qty = side(name, 4)
        mean[name] = sum(p * q for p, q in zip(px, qty, strict=True)) / sum(qty)
    want = (mean["ask"] - mean["bid"]) / D["close"][T]
    assert last("depth_spread:4", D) == pytest.approx(want)
    assert last("depth_spread:1", D) == pytest.approx(last("spread", D))


def test_book_slope_compares_least_squares_slopes_of_cumulated_size():
    slope = {}
    for name in ("bid", "ask"):
        px, qty = side(name, 5)
        away = np.abs(np.array(px) - D["close"][T]) / 1e-5
        piled = np.cumsum(qty)
        slope[name] = np.linalg.lstsq(away[:, None], piled, rcond=None)[0].item()
    want = (slope["bid"] - slope["ask"]) / (slope["bid"] + slope["ask"])
    assert last("book_slope:5", D) == pytest.approx(want)


def test_raw_levels_are_ticks_from_the_mid_and_logs_of_size():
    bid, ask = side("bid", 2), side("ask", 2)
    assert last("bid_ticks:2", D) == pytest.approx((D["close"][T] - bid[0][1]) / 1e-5)
    assert last("ask_ticks:1", D) == pytest.approx((ask[0][0] - D["close"][T]) / 1e-5)
    assert last("bid_size:1", D) == pytest.approx(math.log1p(bid[1][0]))
    assert last("ask_size:2", D) == pytest.approx(math.log1p(ask[1][1]))
