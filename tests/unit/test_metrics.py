"""Figures against values worked out by hand or printed in the papers."""

import math

import numpy as np
import pytest

from agents.metrics import (
    Track,
    drawdown,
    measure,
    periods_per_year,
    sortino,
)

DAY_NS = 86_400 * 10**9


def track(equity: list[float], fills: list[tuple[float, ...]] = []) -> Track:  # noqa: B006
    n = len(equity)
    rows = np.array(fills, dtype=np.float64).reshape(-1, 5)
    position, traded, fees = np.zeros(n), np.zeros(n), np.zeros(n)
    for _, qty, px, fee, step in rows:
        position[int(step) + 1 :] += qty
        traded[int(step) + 1 :] += abs(qty) * px
        fees[int(step) + 1 :] += fee
    return Track(
        ts_ns=np.arange(n, dtype=np.int64) * DAY_NS,
        price=np.full(n, 10.0),
        equity=np.array(equity),
        position_qty=position,
        fees=fees,
        traded=traded,
        fills=rows,
    )


def test_measure_small_track_by_hand() -> None:
    m = measure(
        track([100.0, 110.0, 99.0, 108.9], [(0, 5.0, 10.0, 0.1, 0), (0, -5.0, 10.0, 0.2, 1)])
    )
    assert m.steps == 3
    assert m.total_return == pytest.approx(0.089)
    assert m.log_return == pytest.approx(math.log(1.089))
    assert m.max_drawdown == pytest.approx(0.1)
    assert m.trades == 2
    assert m.fees == pytest.approx(0.3)
    assert m.turnover == pytest.approx(100.0 / np.mean([100.0, 110.0, 99.0, 108.9]))
    assert m.in_market == pytest.approx(1 / 3)
    assert m.exposure == pytest.approx(50.0 / 110.0 / 4)
    returns = np.array([0.1, -0.1, 0.1])
    assert m.periods_per_year == pytest.approx(365.25)
    assert m.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(365.25))
    assert m.sortino == pytest.approx(returns.mean() / math.sqrt(0.01 / 3) * math.sqrt(365.25))
    assert not m.ruined


def test_measure_flat_track_has_no_ratios() -> None:
    m = measure(track([100.0] * 5))
    assert (m.sharpe, m.sortino, m.psr) == (None, None, None)
    assert (m.total_return, m.max_drawdown, m.turnover) == (0.0, 0.0, 0.0)


def test_track_counts_steps_with_fills_once() -> None:
    fills = [(0, 1.0, 10.0, 0.0, 0), (0, 1.0, 10.0, 0.0, 0), (0, 1.0, 10.0, 0.0, 2)]
    assert track([100.0] * 5, fills).trading_steps == 2


def test_sortino_too_little_to_say() -> None:
    assert sortino(np.array([0.1, 0.2])) is None
    assert sortino(np.array([])) is None


def test_drawdown_is_from_the_peak_so_far() -> None:
    found = drawdown(np.array([100.0, 80.0, 120.0, 90.0]))
    np.testing.assert_allclose(found, [0.0, 0.2, 0.0, 0.25])


def test_periods_per_year_counts_weekends_in() -> None:
    days = np.array([d for d in range(364) if d % 7 < 5], dtype=np.int64) * DAY_NS
    assert periods_per_year(days) == pytest.approx(261, rel=0.01)
