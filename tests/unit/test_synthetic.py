import math

import numpy as np
import pytest

from envs import synthetic
from grid.dataset import FIELDS
from grid.errors import DataError
from grid.venue import Floats, ticks

N = 60_000
SIGNAL = synthetic.signal(N, seed=7)
WALK = synthetic.walk(N, seed=7)


def next_returns(market: synthetic.Market) -> Floats:
    """Log return of bar t+1, at index t."""
    returns: Floats = np.diff(np.log(market.columns["close"]))
    return returns


def test_signal_foretells_the_next_return_as_strongly_as_stated() -> None:
    found = np.corrcoef(SIGNAL.signal[:-1], next_returns(SIGNAL))[0, 1]
    assert found == pytest.approx(0.25, abs=4 / math.sqrt(N))


def test_signal_foretells_by_volume_alone() -> None:
    latent = synthetic.latent_of(SIGNAL.columns)
    assert np.abs(latent - SIGNAL.signal).max() < 1e-3
    found = np.corrcoef(np.log(SIGNAL.columns["volume"])[:-1], next_returns(SIGNAL))[0, 1]
    assert found == pytest.approx(0.25, abs=4 / math.sqrt(N))


def test_walk_foretells_nothing() -> None:
    found = np.corrcoef(WALK.signal[:-1], next_returns(WALK))[0, 1]
    assert abs(found) < 4 / math.sqrt(N)
    assert WALK.gross_per_step == 0.0
    assert WALK.columns["volume"].tolist() == SIGNAL.columns["volume"].tolist()


def test_signal_of_the_past_does_not_foretell_its_own_bar() -> None:
    # the next bar's signal must not be in this bar's return: that would be a leak
    fresh = SIGNAL.signal[1:] - 2 ** (-1 / 20) * SIGNAL.signal[:-1]
    assert abs(np.corrcoef(fresh, next_returns(SIGNAL))[0, 1]) < 4 / math.sqrt(N)


def test_best_policy_earns_its_analytic_return() -> None:
    side = np.sign(SIGNAL.signal[:-1])
    earned = side * next_returns(SIGNAL)
    error = earned.std() / math.sqrt(len(earned))
    assert earned.mean() == pytest.approx(SIGNAL.gross_per_step, abs=4 * error)
    assert SIGNAL.gross_per_step == pytest.approx(5e-4 * 0.25 * 0.797885, rel=1e-5)


def test_best_policy_flips_as_often_as_the_formula_says() -> None:
    flips = np.diff(np.sign(SIGNAL.signal)) != 0
    expected = SIGNAL.flips_per_step
    assert flips.mean() == pytest.approx(expected, abs=6 * math.sqrt(expected / N))
    assert synthetic.flips_per_step(20) == pytest.approx(0.08332, abs=1e-5)


def test_best_policy_pays_for_each_flip() -> None:
    cost = 4.2e-5  # two sides of 0.2 bp fee and 0.01 bp half spread
    assert SIGNAL.net_per_step(cost) == SIGNAL.gross_per_step - SIGNAL.flips_per_step * cost
    assert SIGNAL.net_per_step(cost) * 390 == pytest.approx(0.0375, abs=1e-4)


def test_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    again, other = synthetic.signal(500, seed=1), synthetic.signal(500, seed=2)
    for field, values in synthetic.signal(500, seed=1).columns.items():
        assert np.array_equal(values, again.columns[field])
    assert not np.array_equal(again.columns["close"], other.columns["close"])


@pytest.mark.parametrize("market", [SIGNAL, WALK], ids=["signal", "walk"])
def test_market_is_made_of_sound_bars_on_the_tick(market: synthetic.Market) -> None:
    c = market.columns
    assert tuple(c) == FIELDS["bars"]
    assert np.array_equal(c["open"][1:], c["close"][:-1])
    assert (c["high"] >= np.maximum(c["open"], c["close"])).all()
    assert (c["low"] <= np.minimum(c["open"], c["close"])).all()
    assert (c["low"] > 0).all()
    assert (c["volume"] > 0).all()
    assert (np.diff(c["ts_event"]) == synthetic.INTERVAL_NS).all()
    for field in ("open", "high", "low", "close"):
        assert np.array_equal(c[field], ticks(c[field], synthetic.INSTRUMENT))
        assert c[field].tolist()[:50] == [round(p, 5) for p in c[field].tolist()[:50]]


def test_market_moves_as_much_as_stated() -> None:
    for market in (SIGNAL, WALK):
        assert next_returns(market).std() == pytest.approx(5e-4, rel=0.02)


@pytest.mark.parametrize(
    "wrong", [{"n": 1}, {"snr": -0.1}, {"snr": 1.1}, {"half_life": 0.0}, {"vol": 0.0}]
)
def test_market_of_impossible_parameters_is_refused(wrong: dict[str, float]) -> None:
    given = {"n": 10, "seed": 0} | wrong
    with pytest.raises(DataError, match="synthetic market"):
        synthetic.signal(**given)  # type: ignore[arg-type]
