import msgspec
import numpy as np
import pytest

from agents.baselines import Constant, Momentum, Random, mean_change, nearest
from grid.errors import SpecMismatch
from grid.spec import TargetRule
from tests.support.runs import SPEC

OBS = np.zeros(10, dtype=np.float32)


def played(policy: Random, steps: int) -> list[float]:
    """What it wants from one step to the next, when it gets it, and the market moves."""
    market = np.random.default_rng(0).standard_normal((steps, len(OBS))).astype(np.float32)
    target, targets = 0.0, []
    for obs in market:
        obs[-4:] = target, 0.0, 0.0, 0.0
        target = policy.act(obs)
        targets.append(target)
    return targets


LONG_ONLY = msgspec.structs.replace(SPEC, target=TargetRule(max_qty=1.0, levels=(0.0, 0.5, 1.0)))


def test_momentum_reads_the_longest_return_of_the_newest_row() -> None:
    rule = Momentum(SPEC)  # two rows of log_return:1, log_return:5, rsi:10; mean 1e-4, std 2e-3
    assert rule.feature == "log_return:5"
    obs = OBS.copy()
    obs[4] = 0.0  # the mean, which is a rise
    assert rule.act(obs) == 1.0
    obs[4] = -0.051  # 1e-4 less 1.02e-4: just below no return
    assert rule.act(obs) == -1.0
    obs[1] = 5.0  # of the older row
    assert rule.act(obs) == -1.0


def test_momentum_without_a_return_among_the_features_is_refused() -> None:
    spec = msgspec.structs.replace(SPEC, features=("rsi:10",), mean=(0.0,), std=(1.0,))
    with pytest.raises(SpecMismatch, match="log_return"):
        Momentum(spec)


def test_random_changes_as_often_as_asked_and_only_to_other_levels() -> None:
    policy = Random(SPEC, change=0.2, seed=5)
    targets = played(policy, 5_000)
    changes = np.mean(np.diff(targets) != 0)
    assert changes == pytest.approx(0.2, abs=0.02)
    assert set(targets) == set(SPEC.target.levels)


def test_random_trades_as_much_as_asked_whatever_the_levels() -> None:
    for rule in (
        TargetRule(max_qty=1.0),
        TargetRule(max_qty=1.0, levels=(0.0, 0.25, 1.0)),
        TargetRule(max_qty=1.0, kind="continuous"),
    ):
        policy = Random.trading(msgspec.structs.replace(SPEC, target=rule), 0.15, seed=1)
        targets = played(policy, 20_000)
        assert np.mean(np.abs(np.diff(targets))) == pytest.approx(0.15, rel=0.05)


def test_random_with_one_level_never_trades() -> None:
    spec = msgspec.structs.replace(SPEC, target=TargetRule(max_qty=1.0, levels=(1.0,)))
    assert mean_change(spec) == 0.0
    assert set(played(Random.trading(spec, 0.5), 20)) == {1.0}


def test_random_same_seed_same_targets_another_seed_others() -> None:
    def targets(seed: int) -> list[float]:
        policy = Random(SPEC, change=0.5, seed=seed)
        return played(policy, 50)

    assert targets(1) == targets(1) != targets(2)


def test_random_continuous_stays_within_bounds() -> None:
    rule = TargetRule(max_qty=1.0, kind="continuous")
    policy = Random(msgspec.structs.replace(SPEC, target=rule), change=1.0)
    targets = played(policy, 500)
    assert -1 <= min(targets) < -0.9
    assert 0.9 < max(targets) <= 1


def test_nearest_long_only_levels_make_a_short_flat() -> None:
    assert nearest(LONG_ONLY, -1.0) == 0.0
    assert nearest(LONG_ONLY, 0.7) == 0.5
    assert Constant(LONG_ONLY, 1.0).act(OBS) == 1.0
