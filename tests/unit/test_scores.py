"""Figures over seeds against those of rliable 1.2.0, run in an environment of its own."""

import numpy as np
import pytest

from agents.statistics.scores import (
    caution,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    profile_band,
    stratified,
)

X = np.random.default_rng(0).normal(0, 1, (10, 4))
Y = np.random.default_rng(1).normal(0.4, 1, (8, 4))
AT = np.array([-1.0, 0.0, 0.5, 1.0])


def test_interquartile_mean_is_that_of_rliable() -> None:
    assert interquartile_mean(np.arange(1.0, 9.0)) == 4.5
    assert interquartile_mean(X) == pytest.approx(-0.07926867569328708)


def test_stratified_interval_is_that_of_rliable() -> None:
    found = stratified(X, draws=2000)
    assert found.value == pytest.approx(-0.07926867569328708)
    assert (found.low, found.high) == pytest.approx((-0.318, 0.175), abs=0.03)
    pair = stratified(X, Y, figure=probability_of_improvement, draws=1000)
    assert (pair.low, pair.value, pair.high) == pytest.approx((0.200, 0.325, 0.469), abs=0.03)


def test_probability_of_improvement_is_that_of_rliable_with_ties() -> None:
    assert probability_of_improvement(X, Y) == pytest.approx(0.325)
    assert probability_of_improvement(Y, X) == pytest.approx(0.675)
    q = np.round(np.random.default_rng(2).normal(0, 1, (6, 3)), 1)
    r = np.round(np.random.default_rng(3).normal(0, 1, (6, 3)), 1)
    q[0] = r[0]
    assert probability_of_improvement(q, r) == pytest.approx(0.6435185185185185)


def test_performance_profile_is_that_of_rliable() -> None:
    np.testing.assert_allclose(performance_profile(X, AT), [0.9, 0.475, 0.225, 0.1])
    low, high = profile_band(X, AT, draws=500)
    np.testing.assert_allclose(low, [0.8, 0.325, 0.1, 0.025], atol=0.026)
    np.testing.assert_allclose(high, [0.975, 0.625, 0.375, 0.2], atol=0.026)


def test_stratified_draws_stay_within_their_task() -> None:
    far = np.array([[0.0, 100.0], [1.0, 101.0]])
    found = stratified(far, figure=lambda s: float(s[:, 1].min() - s[:, 0].max()), draws=50)
    assert found.low >= 99.0


def test_few_seeds_are_said_to_be_few() -> None:
    assert caution(1) == "1 seed: not enough to tell skill from a lucky seed"
    assert "too narrow" in caution(5)
    assert caution(10) == ""
