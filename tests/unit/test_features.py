"""One kernel, two uses, the same bits; and never a look at what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.features.registry import expand, parse, shipped
from envs.follower import Follower
from envs.pipeline import Pipeline
from grid import wire
from grid.dataset import LEVELS as LEVEL_FIELDS
from grid.dataset import to_iso
from grid.errors import ConfigError, DataError
from grid.spec import Book, Spec, TargetRule
from tests.support.markets import (
    LEVELS,
    MINUTE_NS,
    PAIR,
    bar_columns,
    dataset,
    depth_columns,
    quote_columns,
    spec_for,
    trade_columns,
)

BARS = (
    "log_return:3", "volatility:7", "momentum:12", "zscore:9", "zscore:150", "rsi:14", "macd:3:9",
    "macd_histogram:3:6:4", "channel:8", "bar_range", "bar_body", "bar_close", "bar_gap", "atr:14",
    "range_volatility:10", "log_volume", "volume_zscore:11", "volume_imbalance:13",
    "tick_imbalance:9", "vwap_distance:16", "hour_sin", "hour_cos", "week_sin", "week_cos",
    "elapsed",
)  # fmt: skip
QUOTES = ("log_return:2", "spread", "imbalance", "log_depth", "microprice", "order_flow:12",
          "volatility:5", "macd:5:35", "tick_imbalance:20", "elapsed")  # fmt: skip
TRADES = ("trade_imbalance:9", "trade_sign:5", "trade_vwap_distance:12", "trade_rate:6",
          "log_return:2", "volatility:5", "log_volume", "volume_zscore:7", "volume_imbalance:9",
          "tick_imbalance:20", "rsi:9", "elapsed")  # fmt: skip
DEPTH = ("book_imbalance:3", "depth_spread:5", "book_slope:4", *expand(["levels:5"]), "spread",
         "imbalance", "microprice", "order_flow:7", "log_depth", "elapsed")  # fmt: skip
ACCOUNT = wire.Account(1000.0, -500.0, 9e4, 100_100.0, 12.5, 1.1, 1)


def make_spec(rows, features, window=3):
    return Spec(
        instrument_id=PAIR.id,
        rows=rows,
        bar="1-MINUTE-LAST" if rows == "bar" else "",
        features=features,
        mean=(0.1,) * len(features),
        std=(0.7,) * len(features),
        window=window,
        target=TargetRule(max_qty=1e4),
        book=Book(levels=LEVELS, tick=PAIR.tick) if rows == "depth" else None,
    )


def as_bar(columns, i):
    values = {k: float(columns[k][i]) for k in ("open", "high", "low", "close", "volume")}
    return wire.Bar(PAIR.id, "1-MINUTE-LAST", int(columns["ts_event"][i]), **values)


def as_quote(columns, i):
    values = {k: float(columns[k][i]) for k in ("bid_px", "ask_px", "bid_qty", "ask_qty")}
    return wire.Quote(PAIR.id, int(columns["ts_event"][i]), **values)


def as_trade(columns, i):
    price, qty = float(columns["price"][i]), float(columns["qty"][i])
    return wire.Trade(PAIR.id, int(columns["ts_event"][i]), price, qty, int(columns["side"][i]))


def as_depth(columns, i):
    levels = (tuple(columns[f][i].tolist()) for f in LEVEL_FIELDS)
    return wire.Depth(PAIR.id, int(columns["ts_event"][i]), *levels)


def assert_stream_is_batch(spec, columns, row_of):
    pipeline = Pipeline(spec)
    matrix = pipeline.matrix(columns)
    follower = Follower(pipeline)
    n = len(columns["ts_event"])
    for i in range(n):
        follower.push(row_of(columns, i))
        assert follower.ready == (i + 1 >= pipeline.warmup)
        if follower.ready:
            end = i - pipeline.lookback + 2
            want = matrix[end - spec.window : end].ravel()
            obs = follower.observe(ACCOUNT)
            assert obs[: want.size].tobytes() == want.tobytes()
    assert follower.ready


def test_every_feature_is_covered_here():
    names = {parse(f).declared.name for f in BARS + QUOTES + TRADES + DEPTH}
    assert names == {d.name for d in shipped()}


def test_follower_gives_the_bits_of_the_matrix_for_bars():
    assert_stream_is_batch(make_spec("bar", BARS), bar_columns(300), as_bar)


def test_follower_gives_the_bits_of_the_matrix_for_quotes():
    assert_stream_is_batch(make_spec("quote", QUOTES), quote_columns(300), as_quote)


def test_follower_gives_the_bits_of_the_matrix_for_trades():
    assert_stream_is_batch(make_spec("trade", TRADES), trade_columns(300), as_trade)


def test_follower_gives_the_bits_of_the_matrix_for_depth():
    assert_stream_is_batch(make_spec("depth", DEPTH), depth_columns(300), as_depth)


PRICES = st.sampled_from([1e-5, 0.5, 1.0, 1.00001, 7.3, 1e6])
TIMES_NS = st.sampled_from([0, 1, MINUTE_NS, 3 * 86_400_000_000_000, 2**55])
SHORT = tuple(f for f in BARS if parse(f).lookback <= 40)


@st.composite
def odd_bars(draw, n=60):
    """Adversarial bars: jumps of eleven decades, constant stretches, no volume, gaps of a year."""
    close = np.array(draw(st.lists(PRICES, min_size=n, max_size=n)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    opening = close * rng.choice([1.0, 0.9, 1.1], n)
    steps = draw(st.lists(TIMES_NS, min_size=n, max_size=n))
    return {
        "ts_event": np.cumsum(np.array(steps, dtype=np.int64)),
        "open": opening,
        "high": np.maximum(opening, close) * rng.choice([1.0, 1.5], n),
        "low": np.minimum(opening, close) * rng.choice([1.0, 0.5], n),
        "close": close,
        "volume": rng.choice([0.0, 1.0, 1e12], n),
    }


@st.composite
def odd_quotes(draw, n=160):
    """Adversarial quotes: locked, one-sided and empty books, jumps and constant stretches."""
    bid = np.array(draw(st.lists(PRICES, min_size=n, max_size=n)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.lists(TIMES_NS, min_size=n, max_size=n))
    return {
        "ts_event": np.cumsum(np.array(steps, dtype=np.int64)),
        "bid_px": bid,
        "ask_px": bid * rng.choice([1.0, 1.0001, 3.0], n),
        "bid_qty": rng.choice([0.0, 1.0, 1e12], n),
        "ask_qty": rng.choice([0.0, 1.0, 1e12], n),
    }


@st.composite
def odd_depth(draw, n=60):
    """Adversarial books: locked, of one level, with huge and empty ones, jumps and gaps."""
    best = np.array(draw(st.lists(PRICES, min_size=n, max_size=n)))[:, None]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.lists(TIMES_NS, min_size=n, max_size=n))
    fall = np.cumprod(rng.choice([1.0, 0.999, 0.1], (n, LEVELS)), axis=1)
    return {
        "ts_event": np.cumsum(np.array(steps, dtype=np.int64)),
        "bid_pxs": best * fall,
        "ask_pxs": best / fall[::-1],
        "bid_qtys": rng.choice([0.0, 1.0, 1e12], (n, LEVELS)),
        "ask_qtys": rng.choice([0.0, 1.0, 1e12], (n, LEVELS)),
    }


@settings(max_examples=12, deadline=None)
@given(odd_depth())
def test_follower_gives_the_bits_of_the_matrix_for_odd_depth(columns):
    assert_stream_is_batch(make_spec("depth", DEPTH), columns, as_depth)


@settings(max_examples=30, deadline=None)
@given(odd_bars())
def test_follower_gives_the_bits_of_the_matrix_for_odd_bars(columns):
    assert_stream_is_batch(make_spec("bar", SHORT), columns, as_bar)


@settings(max_examples=10, deadline=None)
@given(odd_quotes())
def test_follower_gives_the_bits_of_the_matrix_for_odd_quotes(columns):
    assert_stream_is_batch(make_spec("quote", QUOTES), columns, as_quote)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SHORT), odd_bars(), st.data())
def test_feature_of_odd_bars_knows_neither_future_nor_beyond_its_lookback(name, columns, data):
    found = parse(name)
    other = data.draw(odd_bars())
    t = data.draw(st.integers(found.lookback - 1, 58))
    first = t - found.lookback + 1
    mixed = {
        k: np.concatenate([other[k][:first], v[first : t + 1], other[k][t + 1 :]])
        for k, v in columns.items()
    }
    mixed["ts_event"][:first] -= 2**60
    mixed["ts_event"][t + 1 :] += 2**60
    with np.errstate(all="ignore"):  # as in the pipeline
        assert found(mixed)[first].tobytes() == found(columns)[first].tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([("bar", f) for f in SHORT] + [("quote", f) for f in QUOTES[:6]]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 59),
    st.data(),
)
def test_input_that_is_not_finite_is_refused_by_name_on_both_paths(which, bad, row, data):
    rows, name = which
    columns = bar_columns(60) if rows == "bar" else quote_columns(60)
    read = [c for c in parse(name).declared.needs if c in columns and c != "ts_event"]
    if not read:
        return
    column = data.draw(st.sampled_from(read))
    columns[column][row] = bad
    pipeline = Pipeline(make_spec(rows, ("elapsed", name)))
    with pytest.raises(DataError, match=rf"feature '{name}' at row {row}: expected a finite"):
        pipeline.raw(columns)
    follower = Follower(pipeline)
    row_of = as_bar if rows == "bar" else as_quote
    for i in range(row):
        follower.push(row_of(columns, i))
    at = to_iso(int(columns["ts_event"][row]))
    with pytest.raises(DataError, match=f"feature '{name}' at {at}: expected a finite"):
        follower.push(row_of(columns, row))
    assert not follower.ready


@pytest.mark.parametrize("name", BARS)
def test_feature_does_not_see_the_future_nor_beyond_its_lookback(name):
    found = parse(name)
    columns = bar_columns(320)
    before = found(columns)
    t = 160
    altered = {k: v.copy() for k, v in columns.items()}
    for k in ("open", "high", "low", "close"):
        altered[k][t + 1 :] *= 1.7
        altered[k][: t - found.lookback + 1] *= 0.6
    for k in ("volume", "ts_event"):
        altered[k][t + 1 :] += 100_000
        altered[k][: t - found.lookback + 1] -= 100_000
    altered["volume"] = np.abs(altered["volume"])
    index = t - found.lookback + 1
    assert found(altered)[index].tobytes() == before[index].tobytes()


def test_output_that_is_not_finite_is_refused_by_name_on_both_paths():
    columns = bar_columns(50)
    columns["low"][20] = 0.0
    pipeline = Pipeline(make_spec("bar", ("log_return:1", "bar_range")))
    with pytest.raises(DataError, match=r"feature 'bar_range' at row 20: .* number, found inf"):
        pipeline.matrix(columns)
    with pytest.raises(DataError, match="feature 'bar_range' at row 1020: "):
        pipeline.matrix(columns, first=1000)
    follower = Follower(pipeline)
    for i in range(20):
        follower.push(as_bar(columns, i))
    with pytest.raises(DataError, match="feature 'bar_range' at 2020-01-01 00:21:00: "):
        follower.push(as_bar(columns, 20))


def test_follower_warms_up_anew_after_a_bad_row():
    columns = bar_columns(60)
    pipeline = Pipeline(make_spec("bar", ("volatility:7",)))
    follower = Follower(pipeline)
    for i in range(20):
        follower.push(as_bar(columns, i))
    columns["close"][20] = np.nan
    with pytest.raises(DataError):
        follower.push(as_bar(columns, 20))
    for i in range(21, 21 + pipeline.warmup):
        assert not follower.ready
        follower.push(as_bar(columns, i))
    whole = {k: v[21 : 21 + pipeline.warmup] for k, v in columns.items()}
    obs = follower.observe(ACCOUNT)
    assert obs[:3].tobytes() == pipeline.matrix(whole).tobytes()


def test_column_that_no_feature_reads_may_hold_anything():
    columns = bar_columns(50)
    columns["volume"][20] = np.nan
    assert_stream_is_batch(make_spec("bar", ("log_return:1",)), columns, as_bar)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense:3", "unknown feature 'nonsense'; there are: ask_size, ask_ticks, atr, bar_body"),
        ("macd:12", "expected macd:fast:slow, whole numbers from 1"),
        ("log_return", "parameters do not fit"),
        ("log_return:x", "parameters do not fit"),
        ("log_return:0", "whole numbers from 1"),
        ("no.such.module:kernel:3", "module no.such.module cannot be imported: ModuleNotFound"),
        ("envs.pipeline:kernel:3", "module envs.pipeline declares no such kernel"),
    ],
)
def test_feature_that_cannot_be_is_refused_in_a_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


def test_feature_that_reads_what_the_rows_lack_is_refused():
    with pytest.raises(ConfigError, match="'spread' reads bid_px, ask_px, which bar rows do not"):
        Pipeline(make_spec("bar", ("spread",)))


def test_feature_that_reads_more_levels_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="'book_imbalance:6' reads 6 levels, the rows have 5"):
        Pipeline(make_spec("depth", ("book_imbalance:6",)))


def test_level_that_is_not_finite_is_refused_by_name_on_both_paths():
    columns = depth_columns(30)
    columns["ask_qtys"][20, 3] = np.nan
    pipeline = Pipeline(make_spec("depth", ("book_imbalance:5",)))
    said = "feature 'book_imbalance:5' at {}: expected a finite ask_qtys, found nan"
    with pytest.raises(DataError, match=said.format("row 20")):
        pipeline.raw(columns)
    follower = Follower(pipeline)
    for i in range(20):
        follower.push(as_depth(columns, i))
    with pytest.raises(DataError, match=said.format(to_iso(int(columns["ts_event"][20])))):
        follower.push(as_depth(columns, 20))


def test_levels_stand_for_price_and_size_of_each():
    assert expand(("spread", "levels:2")) == (
        "spread", "bid_ticks:1", "ask_ticks:1", "bid_size:1", "ask_size:1",
        "bid_ticks:2", "ask_ticks:2", "bid_size:2", "ask_size:2",
    )  # fmt: skip


def test_matrix_in_chunks_has_the_bits_of_the_matrix_at_once(monkeypatch):
    columns = bar_columns(500)
    pipeline = Pipeline(make_spec("bar", BARS))
    whole = pipeline.matrix(columns)
    monkeypatch.setattr("envs.pipeline._CHUNK_ROWS", 37)
    assert pipeline.matrix(columns).tobytes() == whole.tobytes()


def test_fit_knows_nothing_of_rows_outside_the_range():
    columns = bar_columns(400)
    spec = spec_for(dataset(columns))
    for k in ("open", "high", "low", "close"):
        columns[k][200:] *= 3.0
    assert spec_for(dataset(columns)).digest == spec.digest


def test_fit_centers_and_scales_the_training_rows():
    data = dataset(bar_columns(400))
    spec = spec_for(data)
    training = {k: v[:200] for k, v in data.columns.items()}
    values = Pipeline(spec).raw(training)
    np.testing.assert_allclose(values.mean(axis=0), spec.mean)
    matrix = Pipeline(spec).matrix(training)
    assert np.abs(matrix.mean(axis=0)).max() < 0.1
    assert np.abs(matrix).max() <= spec.clip


def test_account_part_is_clipped_and_survives_ruin():
    pipeline = Pipeline(make_spec("bar", ("bar_body",)))
    assert pipeline.account(5000.0, 0.0, 1000.0, 100_000.0) == (0.5, 0.0, 1.0, 0.0)
    assert pipeline.account(1e9, -1e9, -1e9, -5.0) == (5.0, -5.0, -5.0, -5.0)
