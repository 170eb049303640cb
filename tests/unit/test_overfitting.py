"""Probability of backtest overfitting: a half for noise, none for what is better."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.statistics.overfitting import cross_validate
from agents.statistics.sharpe import sharpe

type Floats = NDArray[np.float64]


def noise(n: int, trials: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, trials))


def mean_probability(edge: float, times: int = 40) -> float:
    found = []
    for seed in range(times):
        returns = noise(1000, 50, seed)
        returns[:, 0] += edge
        result = cross_validate(returns, blocks=10)
        assert result is not None
        found.append(result.probability)
    return float(np.mean(found))


def test_probability_for_noise_is_near_one_half() -> None:
    assert mean_probability(0.0) == pytest.approx(0.5, abs=0.08)


def test_probability_for_one_trial_that_is_better_is_near_zero() -> None:
    assert mean_probability(0.4, times=10) < 0.01
    # a daily ratio of 0.10 and 0.15 among 50 on 1,000 days
    assert mean_probability(0.10) == pytest.approx(0.27, abs=0.09)
    assert mean_probability(0.15) == pytest.approx(0.083, abs=0.05)


def test_probability_of_trials_that_sum_to_nothing_is_one() -> None:
    # what was won in one half is lost in the other
    returns = noise(400, 20, 0)
    returns -= returns.mean(axis=0)
    found = cross_validate(returns, blocks=8)
    assert found is not None
    assert found.probability > 0.95
    assert found.slope < -0.5
    assert found.loss > 0.95


def test_every_figure_is_what_the_definition_gives() -> None:
    returns = noise(66, 5, 1)
    found = cross_validate(returns, blocks=6)
    assert found is not None
    parts = np.split(returns, 6)
    inside, outside, lower = [], [], []
    for chosen in combinations(range(6), 3):
        one = np.concatenate([parts[i] for i in range(6) if i in chosen])
        other = np.concatenate([parts[i] for i in range(6) if i not in chosen])
        correct = np.sqrt(32 / 33)  # the papers' deviation, and ours, divide by n here
        a, b = (np.array([sharpe(c) for c in x.T]) / correct for x in (one, other))
        best = int(a.argmax())
        inside.append(a[best])
        outside.append(b[best])
        rank = int((b < b[best]).sum()) + 1
        lower.append(np.log(rank / 6 / (1 - rank / 6)) <= 0)
    assert found.splits == len(lower) == 20
    assert found.probability == pytest.approx(np.mean(lower))
    assert found.loss == pytest.approx(np.mean(np.array(outside) < 0))
    assert found.in_sample == pytest.approx(np.mean(inside))
    assert found.out_of_sample == pytest.approx(np.mean(outside))
    assert found.slope == pytest.approx(np.polyfit(inside, outside, 1)[0])


def test_sixteen_blocks_are_halved_in_12870_ways() -> None:
    found = cross_validate(noise(64, 3, 2))
    assert found is not None
    assert (found.blocks, found.splits, found.trials) == (16, 12_870, 3)


def test_too_little_to_say_is_nothing() -> None:
    assert cross_validate(noise(1000, 1, 0)) is None
    assert cross_validate(noise(15, 5, 0)) is None
    found = cross_validate(noise(33, 5, 0))
    assert found is not None
    assert found.blocks == 8


def test_trials_that_never_trade_are_ratios_of_nothing() -> None:
    found = cross_validate(np.zeros((100, 4)), blocks=4)
    assert found is not None
    assert (found.in_sample, found.loss, found.probability) == (0.0, 0.0, 1.0)
