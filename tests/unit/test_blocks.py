"""Block bootstrap: what the authors' formulas give, and intervals that hold what they promise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.statistics.blocks import Interval, block_length, interval, resample
from agents.statistics.sharpe import sharpe

type Floats = NDArray[np.float64]


def ar1(phi: float, n: int, seed: int) -> Floats:
    shocks = np.random.default_rng(seed).standard_normal(n)
    x = np.empty(n)
    x[0] = shocks[0]
    for i in range(1, n):
        x[i] = phi * x[i - 1] + shocks[i]
    return x


@pytest.mark.parametrize(
    ("phi", "n", "seed", "expected"),
    [(0.0, 1000, 0, 1.0), (0.3, 1000, 1, 6.664), (0.7, 2000, 2, 17.022), (-0.4, 1500, 3, 9.483)],
)
def test_block_length_is_that_of_another_implementation(
    phi: float, n: int, seed: int, expected: float
) -> None:
    # arch.bootstrap.optimal_block_length of arch 8.0.0, which gives 0.51 for the first
    assert block_length(ar1(phi, n, seed)) == pytest.approx(expected, rel=0.01)


def test_block_length_of_too_little_is_one() -> None:
    assert block_length(np.zeros(100)) == 1.0
    assert block_length(np.array([1.0, 2.0])) == 1.0


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("length", [1.0, 7.3, 60.0, 1000.0])
def test_draws_are_centred_and_spread_as_the_dependence_asks(length: float, circular: bool) -> None:
    x = ar1(0.5, 60, 4)
    drawn = resample(x, length=length, draws=4000, circular=circular).mean[:, 0]
    assert drawn.mean() == pytest.approx(x.mean(), abs=4 * drawn.std() / np.sqrt(4000) + 1e-12)
    # variance of the mean under the stationary bootstrap, Politis and Romano 1994, lemma 1
    n, y = len(x), x - x.mean()
    wrapped = np.array([y @ np.roll(y, -lag) for lag in range(n)]) / n
    lags = np.arange(n)
    if circular:
        return
    mean = min(length, n)
    q = 1.0 - 1.0 / mean
    weights = (1 - lags / n) * q**lags + lags / n * q ** (n - lags)
    expected = (wrapped[0] + (weights[1:] * wrapped[1:]).sum()) / n
    assert drawn.var() == pytest.approx(max(expected, 0.0), rel=0.12, abs=1e-3)


def test_draws_of_one_long_record_agree_with_those_of_its_cells() -> None:
    x = ar1(0.3, 9_000, 5)  # three periods a cell
    found = resample(x, length=30.0, draws=500).sharpe[:, 0]
    n = len(x)
    long_run = (1 + 0.3) / (1 - 0.3)
    expected = np.sqrt(long_run / n)
    assert found.std() == pytest.approx(expected, rel=0.12)
    assert found.mean() == pytest.approx(sharpe(x), abs=0.005)


def test_records_are_resampled_together() -> None:
    x = ar1(0.0, 300, 6)
    drawn = resample(np.stack([x, 2 * x, -x], axis=1), draws=50)
    np.testing.assert_allclose(drawn.mean[:, 1], 2 * drawn.mean[:, 0])
    np.testing.assert_allclose(drawn.sharpe[:, 2], -drawn.sharpe[:, 0])
    again = resample(np.stack([x, 2 * x, -x], axis=1), draws=50)
    assert again.sharpe.tobytes() == drawn.sharpe.tobytes()


def test_interval_of_dependent_returns_covers_what_that_of_independent_ones_does_not() -> None:
    rng = np.random.default_rng(7)
    inside = {"blocks": 0, "single": 0}
    for _ in range(100):
        x = ar1(0.5, 400, int(rng.integers(1 << 31)))
        for name, length in (("blocks", None), ("single", 1.0)):
            drawn = resample(x, length=length, draws=200).sharpe[:, 0]
            found = interval(sharpe(x) or 0.0, drawn)
            inside[name] += found.low <= 0.0 <= found.high
    assert inside["blocks"] >= 86
    assert inside["single"] <= 80


def test_interval_is_of_the_stated_level_and_scales() -> None:
    found = interval(0.5, np.linspace(0.0, 1.0, 1001), level=0.9)
    assert found == Interval(pytest.approx(0.05), 0.5, pytest.approx(0.95))  # type: ignore[arg-type]
    assert found.scaled(2.0).value == 1.0


def test_record_that_does_not_vary_has_a_ratio_of_nothing() -> None:
    drawn = resample(np.full(50, 0.01), draws=20)
    assert (drawn.sharpe == 0.0).all()
    np.testing.assert_allclose(drawn.mean, 0.01)
