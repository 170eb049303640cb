"""Sharpe statistics against the values printed in the papers, and against simulation."""

import math

import numpy as np
import pytest

from agents.statistics.sharpe import (
    Moments,
    deflated,
    expected_maximum,
    luck_ratio,
    min_backtest_years,
    min_track_record,
    moments,
    psr,
    sharpe,
)

DAILY = math.sqrt(250)


@pytest.mark.parametrize(
    ("skewness", "kurtosis", "expected"), [(0.0, 3.0, 0.981675), (-2.448, 10.164, 0.913361)]
)
def test_psr_gives_the_values_of_the_paper(
    skewness: float, kurtosis: float, expected: float
) -> None:
    # Bailey and Lopez de Prado 2012: 24 months, a monthly ratio of 0.458; printed 0.982 and 0.913
    assert psr(Moments(24, 0.458, skewness, kurtosis)) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("trials", "skewness", "kurtosis", "expected"),
    [(100, -3.0, 10.0, 0.900397), (46, -3.0, 10.0, 0.950502), (88, 0.0, 3.0, 0.950491)],
)
def test_deflated_gives_the_values_of_the_paper(
    trials: int, skewness: float, kurtosis: float, expected: float
) -> None:
    # Bailey and Lopez de Prado 2014: five years of days, an annual ratio of 2.5, V = 1/2 annual
    record = Moments(1250, 2.5 / DAILY, skewness, kurtosis)
    assert deflated(record, 0.5 / 250, trials) == pytest.approx(expected, abs=1e-6)


def test_luck_ratio_gives_the_value_of_the_paper() -> None:
    assert luck_ratio(0.5 / 250, 100) == pytest.approx(0.113172, abs=1e-6)


@pytest.mark.parametrize(
    ("per_year", "skewness", "kurtosis", "benchmark", "years"),
    [
        (250, 0.0, 3.0, 1.0, 2.7312),
        (52, 0.0, 3.0, 1.0, 2.8288),
        (12, 0.0, 3.0, 1.0, 3.2398),
        (12, -0.72, 5.78, 1.0, 4.9913),
    ],
)
def test_min_track_record_gives_the_values_of_the_paper(
    per_year: int, skewness: float, kurtosis: float, benchmark: float, years: float
) -> None:
    # Bailey and Lopez de Prado 2012: an annual ratio of 2 against 1, at 95 %
    root = math.sqrt(per_year)
    record = Moments(0, 2.0 / root, skewness, kurtosis)
    found = min_track_record(record, benchmark / root)
    assert found is not None
    assert found / per_year == pytest.approx(years, abs=1e-4)


def test_min_track_record_is_where_psr_reaches_the_level() -> None:
    record = Moments(100, 0.08, -0.5, 6.0)
    n = min_track_record(record, 0.02, 0.9)
    assert n is not None
    # psr is continuous in n
    assert psr(Moments(n, 0.08, -0.5, 6.0), 0.02) == pytest.approx(0.9)  # type: ignore[arg-type]
    assert min_track_record(record, 0.08) is None
    assert min_track_record(Moments(100, -0.1)) is None


@pytest.mark.parametrize(
    ("trials", "expected"), [(10, 1.5746), (45, 2.2356), (100, 2.5306), (1000, 3.2551), (1, 0.0)]
)
def test_expected_maximum_gives_the_values_of_the_paper(trials: int, expected: float) -> None:
    assert expected_maximum(trials) == pytest.approx(expected, abs=1e-4)


def test_expected_maximum_is_what_simulation_gives() -> None:
    draws = np.random.default_rng(0).standard_normal((10_000, 100)).max(axis=1)
    assert expected_maximum(100) == pytest.approx(draws.mean(), rel=0.02)


@pytest.mark.parametrize(("trials", "years"), [(45, 4.998), (46, 5.036)])
def test_min_backtest_gives_the_values_of_the_paper(trials: int, years: float) -> None:
    # Bailey, Borwein, Lopez de Prado and Zhu 2014: no more than 45 trials on five years
    assert min_backtest_years(trials) == pytest.approx(years, abs=1e-3)


def test_deflated_falls_with_every_trial() -> None:
    record = Moments(1000, 0.1)
    found = [deflated(record, 1e-3, n) for n in (1, 2, 3, 10, 100, 10_000)]
    assert found[0] == psr(record)
    assert found == sorted(found, reverse=True)


def test_moments_are_those_of_the_returns() -> None:
    returns = np.random.default_rng(0).normal(0.05, 1.0, 400) ** 3
    z = (returns - returns.mean()) / returns.std()
    found = moments(returns)
    assert found == Moments(
        400, pytest.approx(returns.mean() / returns.std(ddof=1)),
        pytest.approx((z**3).mean()), pytest.approx((z**4).mean()),
    )  # fmt: skip


def test_sharpe_of_what_does_not_vary_or_is_one_period_is_none() -> None:
    assert sharpe(np.array([0.1])) is None
    assert sharpe(np.full(9, 0.1)) is None
    assert moments(np.zeros(10)) is None


def test_psr_is_calibrated_on_skewed_returns_without_skill() -> None:
    rng = np.random.default_rng(1)
    drawn = rng.exponential(1.0, (1_000, 250)) - 1.0
    found = [m for m in map(moments, drawn) if m is not None]
    assert np.mean([psr(m) > 0.95 for m in found]) == pytest.approx(0.05, abs=0.02)
