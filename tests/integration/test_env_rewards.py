"""Rewards in the env: what it tells them of the account, the fills and the end of an episode."""

import contextlib

import numpy as np
import pytest

from envs.trading import TradingEnv
from grid.venue import Venue
from tests.support.markets import bar_columns, dataset, quote_columns, spec_for

MARKETS = {"bars": bar_columns, "quotes": quote_columns}


@contextlib.contextmanager
def env_of(kind, reward, latency_ms=500.0, **options):
    data = dataset(MARKETS[kind]())
    env = TradingEnv(data, spec_for(data), Venue(latency_ms=latency_ms), reward=reward, **options)
    try:
        yield env
    finally:
        env.close()


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("latency_ms", [500.0, 9_000.0])
def test_execution_shortfall_measures_each_fill_from_its_own_change_of_target(kind, latency_ms):
    rng = np.random.default_rng(5)
    with env_of(kind, "execution_shortfall", latency_ms) as env:
        _, info = env.reset(seed=1)
        changes, held, paid, cost, fills, crossed = [], None, 0.0, 0.0, 0, 0
        for _ in range(250):
            action = int(rng.integers(3)) if rng.random() < 0.3 else (held or 0)
            if action != held:
                changes.append(info["price"])  # each gives one order, and they are numbered
                held = action
            _, reward, _, _, info = env.step(action)
            paid += reward
            for fill in info["fills"]:
                fills += 1
                arrival = changes[int(fill.client_order_id.rpartition("-")[2]) - 1]
                crossed += arrival != changes[-1]
                cost += (fill.px - arrival) * fill.signed_qty + fill.commission
    assert fills > 30
    assert paid == pytest.approx(-cost / 100_000.0, rel=1e-9)
    assert (crossed > 5) == (kind == "quotes")  # orders in flight over a further change


@pytest.mark.parametrize("reward", ["differential_sharpe:0.05", "execution_shortfall", "profit"])
def test_reward_with_a_memory_begins_anew_with_each_episode(reward):
    def episode(env, seed):
        env.reset(seed=seed)
        return [env.step(k % 3)[1] for k in range(40)]

    with env_of("bars", reward, steps=40) as env:
        first, other, again = (episode(env, seed) for seed in (3, 4, 3))
    assert first == again
    assert first != other
    assert np.abs(first).max() > 0


def test_profit_is_the_change_of_equity_over_capital():
    with env_of("bars", "profit", reward_scale=2.0) as env:
        _, info = env.reset(seed=1)
        for action in (2, 2, 0, 1):
            before = info["equity"]
            _, reward, _, _, info = env.step(action)
            assert reward == pytest.approx(2.0 * (info["equity"] - before) / 100_000.0)
