"""The chance of the best of many: right on trials without skill, whatever their dependence."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.statistics.luck import luck, not_better

type Floats = NDArray[np.float64]


def trials(n: int, count: int, rho: float, seed: int) -> Floats:
    """Returns with a correlation of `rho` between any two of them."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, count))
    return np.asarray(math.sqrt(rho) * common + math.sqrt(1 - rho) * own)


@pytest.mark.parametrize(("rho", "low", "high"), [(0.0, 14, 20), (0.9, 2, 7), (1.0, 1, 1.5)])
def test_effective_number_falls_with_correlation(rho: float, low: float, high: float) -> None:
    assert low <= luck(trials(300, 20, rho, 0), length=1.0).effective <= high


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_chance_is_calibrated_on_trials_without_skill(rho: float) -> None:
    found = [
        luck(trials(150, 10, rho, seed), length=1.0, draws=200).chance(10) for seed in range(150)
    ]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_chance_of_one_trial_is_that_of_a_normal_test() -> None:
    returns = trials(400, 1, 0.0, 3) + 0.1
    found = luck(returns, length=1.0, draws=2000)
    t = found.ratios[0] * math.sqrt(400)
    assert found.effective == 1.0
    assert found.chance(1) == pytest.approx(0.5 * math.erfc(t / math.sqrt(2)), rel=0.5)


def test_chance_grows_with_trials_that_left_no_record() -> None:
    found = luck(trials(400, 5, 0.0, 1) + 0.1, length=1.0)
    chances = [found.chance(n) for n in (1, 5, 10, 100, 10**6)]
    assert chances[0] == chances[1]  # fewer tried than there are records cannot be
    assert chances[1:] == sorted(chances[1:])
    assert chances[2] == pytest.approx(1 - (1 - chances[1]) ** 2)
    assert chances[-1] > 0.9


def test_variance_is_that_of_chance_where_a_trial_is_truly_bad() -> None:
    alike = trials(400, 10, 0.0, 2)
    assert luck(alike, length=1.0).variance == pytest.approx(1 / 400, rel=0.7)
    alike[:, :5] -= 1.0  # half of them lose by their costs
    assert luck(alike, length=1.0).variance == pytest.approx(1 / 400, rel=0.6)
    same = np.repeat(alike[:, :1], 4, axis=1)
    assert luck(same, length=1.0).variance == pytest.approx(0.0)


def test_trials_that_never_traded_are_luck() -> None:
    found = luck(np.zeros((100, 3)))
    assert (found.chance(3), found.effective) == (1.0, 1.0)


def test_not_better_is_calibrated_and_sees_a_difference() -> None:
    pairs = [trials(200, 2, 0.5, seed) for seed in range(100)]
    found = np.array([not_better(*pair.T, length=1.0, draws=200) for pair in pairs])
    assert np.mean(found < 0.2) == pytest.approx(0.2, abs=0.08)
    ours, theirs = pairs[0].T
    assert not_better(ours + 0.5, theirs) < 1e-4
    assert not_better(ours, ours) == 1.0
    assert not_better(ours - 0.5, theirs) > 0.99
