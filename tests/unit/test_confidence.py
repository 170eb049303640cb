"""Intervals of one record."""

import math

import numpy as np
import pytest

from agents.statistics.confidence import confidence
from agents.statistics.sharpe import min_track_record, moments


def test_confidence_of_independent_returns_is_that_of_theory() -> None:
    returns = np.random.default_rng(0).normal(0.0005, 0.01, 1000)
    found = confidence(returns, 252.0)
    record = moments(returns)
    assert found.sharpe is not None
    assert found.total_return is not None
    assert record is not None
    assert found.sharpe.value == pytest.approx(record.ratio * math.sqrt(252))
    half = 1.96 * math.sqrt(record.spread / 999 * 252)
    assert found.sharpe.high - found.sharpe.low == pytest.approx(2 * half, rel=0.15)
    assert found.total_return.value == pytest.approx(np.prod(1 + returns) - 1)
    width = math.log1p(found.total_return.high) - math.log1p(found.total_return.low)
    assert width == pytest.approx(2 * 1.96 * 0.01 * math.sqrt(1000), rel=0.15)
    assert found.min_years == pytest.approx((min_track_record(record) or 0.0) / 252)


def test_confidence_of_dependent_returns_is_less() -> None:
    shocks = np.random.default_rng(1).normal(0.0, 0.01, 1000)
    smooth = np.convolve(shocks, np.ones(5) / 5, mode="valid")
    alone, together = confidence(shocks, 252.0).sharpe, confidence(smooth, 252.0).sharpe
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 1.6 * (alone.high - alone.low)
    assert confidence(smooth, 252.0).block > 5


def test_confidence_of_nothing_or_of_ruin_is_none() -> None:
    assert confidence(np.zeros(50), 252.0).sharpe is None
    assert confidence(np.array([0.1, -1.2, 0.3]), 252.0).total_return is None
