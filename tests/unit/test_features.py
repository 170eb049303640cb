"""One kernel, two uses, the same bits; and never a look at what comes later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.features import REGISTRY, parse
from envs.pipeline import Follower, Pipeline
from grid import wire
from grid.errors import ConfigError, DataError
from grid.spec import Spec, TargetRule
from tests.support.markets import PAIR, bar_columns, dataset, quote_columns, spec_for

BARS = ("log_return:3", "volatility:7", "momentum:12", "zscore:9", "rsi:14", "bar_range",
        "bar_body", "log_volume", "volume_zscore:11", "hour_sin", "hour_cos")  # fmt: skip
QUOTES = ("log_return:2", "spread", "imbalance", "volatility:5")
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
    )


def as_bar(columns, i):
    values = {k: float(columns[k][i]) for k in ("open", "high", "low", "close", "volume")}
    return wire.Bar(PAIR.id, "1-MINUTE-LAST", int(columns["ts_event"][i]), **values)


def as_quote(columns, i):
    values = {k: float(columns[k][i]) for k in ("bid_px", "ask_px", "bid_qty", "ask_qty")}
    return wire.Quote(PAIR.id, int(columns["ts_event"][i]), **values)


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
    names = {parse(f).declared.name for f in BARS + QUOTES}
    shipped = {k for k, d in REGISTRY.items() if d.kernel.__module__ == "envs.features"}
    assert names == shipped


def test_follower_gives_the_bits_of_the_matrix_for_bars():
    assert_stream_is_batch(make_spec("bar", BARS), bar_columns(300), as_bar)


def test_follower_gives_the_bits_of_the_matrix_for_quotes():
    assert_stream_is_batch(make_spec("quote", QUOTES), quote_columns(300), as_quote)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([1e-5, 0.5, 1.0, 1.00001, 7.3, 1e6]), min_size=40, max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_follower_gives_the_bits_of_the_matrix_for_odd_prices(prices, seed):
    close = np.array(prices)
    rng = np.random.default_rng(seed)
    columns = {
        "ts_event": np.sort(rng.integers(0, 2**60, len(close))),
        "open": close,
        "high": close * rng.choice([1.0, 1.5], len(close)),
        "low": close,
        "close": close,
        "volume": rng.choice([0.0, 1.0, 1e12], len(close)),
    }
    assert_stream_is_batch(make_spec("bar", BARS), columns, as_bar)


@pytest.mark.parametrize("name", BARS)
def test_feature_does_not_see_the_future_nor_beyond_its_lookback(name):
    found = parse(name)
    columns = bar_columns(120)
    before = found(columns)
    t = 60
    altered = {k: v.copy() for k, v in columns.items()}
    for k in ("open", "high", "low", "close"):
        altered[k][t + 1 :] *= 1.7
        altered[k][: t - found.lookback + 1] *= 0.6
    altered["volume"][t + 1 :] += 1e5
    altered["volume"][: t - found.lookback + 1] += 1e5
    index = t - found.lookback + 1
    assert found(altered)[index].tobytes() == before[index].tobytes()


@pytest.mark.parametrize("name", ["log_return:1", "bar_range", "spread"])
def test_pipeline_with_a_value_that_is_not_finite_names_feature_and_row(name):
    rows = "quote" if name == "spread" else "bar"
    columns = quote_columns(50) if rows == "quote" else bar_columns(50)
    columns["bid_px" if rows == "quote" else "low"][20] = np.nan
    if name == "log_return:1":
        columns["close"][20] = np.nan
    with pytest.raises(DataError, match=rf"feature '{name}' at row 20: expected a finite number"):
        Pipeline(make_spec(rows, (name,))).matrix(columns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense:3", "unknown feature 'nonsense'; there are: bar_body"),
        ("log_return", "parameters do not fit"),
        ("log_return:x", "parameters do not fit"),
        ("log_return:0", "whole numbers from 1"),
        ("no.such.module:kernel:3", "cannot be imported"),
    ],
)
def test_feature_that_cannot_be_is_refused_in_a_sentence(text, said):
    with pytest.raises(ConfigError, match=said):
        parse(text)


def test_feature_that_reads_what_the_rows_lack_is_refused():
    with pytest.raises(ConfigError, match="'spread' reads bid_px, ask_px, which bar rows do not"):
        Pipeline(make_spec("bar", ("spread",)))


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
