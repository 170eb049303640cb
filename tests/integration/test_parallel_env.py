"""Several agents in one engine."""

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from envs.market import MarketEnv
from envs.parallel import ParallelMarketEnv, Role
from envs.schemes import Orders, Weights
from envs.views import View
from grid.errors import ConfigError
from grid.venue import Venue
from tests.support.markets import bar_columns, dataset

VENUE = Venue(latency_ms=500)
TRAIN = (0, 100)
EURO = dataset(bar_columns(400))
ORDERS = Orders(sizes=(1_000.0, 5_000.0), max_qty=20_000.0, offsets_ticks=(5, 30))
ROLES = {
    "fund": Role(Weights(gross=2.0)),
    "maker": Role(ORDERS, "profit"),
    "twin": Role(Weights(2.0)),
}


def view():
    return View("euro", EURO, ("log_return:1", "rsi:10"), train_rows=TRAIN, window=4)


@pytest.fixture
def arena():
    env = ParallelMarketEnv(ROLES, [view()], VENUE, steps=40)
    yield env
    env.close()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_parallel_env_passes_pettingzoos_api_test(arena):
    parallel_api_test(arena, num_cycles=200)


def test_agents_have_accounts_of_their_own(arena):
    arena.reset(seed=1)
    for _ in range(20):
        _, _, _, _, infos = arena.step(
            {"fund": np.array([0.5]), "maker": [1, 1, 0, 0, 0], "twin": np.array([0.5])}
        )
    fund, maker, twin = (infos[name] for name in ROLES)
    assert fund["equity"] == twin["equity"] != 100_000.0
    (held,) = fund["positions"].values()
    (short,) = maker["positions"].values()
    assert held > 0 > short
    assert maker["fees"] != fund["fees"]


def test_agent_among_others_fares_as_it_does_alone(arena):
    rng = np.random.default_rng(0)
    weights = rng.uniform(-1, 1, 40)
    obs, _ = arena.reset(options={"decision": 7})
    arena.action_space("maker").seed(1)
    together = [obs["twin"].tobytes()]
    for w in weights:
        obs, rewards, _, _, infos = arena.step({
            "fund": np.array([-w]), "maker": arena.action_space("maker").sample(),
            "twin": np.array([w]),
        })  # fmt: skip
        together.append((obs["twin"].tobytes(), rewards["twin"], infos["twin"]["fees"]))
    arena.close()
    alone = MarketEnv([view()], Weights(gross=2.0), VENUE, steps=40, flat=True)
    first, _ = alone.reset(options={"decision": 7})
    single = [first.tobytes()]
    for w in weights:
        obs, reward, _, _, info = alone.step(np.array([w]))
        single.append((obs.tobytes(), reward, info["fees"]))
    alone.close()
    assert single == together


def test_execution_shortfall_is_paid_for_ones_own_fills_only():
    roles = {
        "idle": Role(ORDERS, "execution_shortfall"),
        "buyer": Role(ORDERS, "execution_shortfall"),
    }
    arena = ParallelMarketEnv(roles, [view()], VENUE, steps=40)
    try:
        _, infos = arena.reset(seed=1)
        (arrival,) = infos["buyer"]["prices"].values()
        _, rewards, _, _, infos = arena.step({"idle": [0] * 5, "buyer": [1, 0, 0, 0, 0]})
    finally:
        arena.close()
    (fill,) = infos["buyer"]["fills"]
    assert rewards["idle"] == 0.0
    cost = (fill.px - arrival) * 1_000.0 + fill.commission
    assert rewards["buyer"] == pytest.approx(-cost / 100_000.0, abs=1e-12)


def test_end_of_the_times_truncates_all(arena):
    arena.reset(seed=3)
    for _ in range(40):
        actions = {name: arena.action_space(name).sample() for name in arena.agents}
        _, _, ruined, ended, _ = arena.step(actions)
    assert all(ended.values())
    assert not any(ruined.values())
    assert arena.agents == []
    assert arena.step({}) == ({}, {}, {}, {}, {})


def test_missing_action_is_refused(arena):
    arena.reset(seed=3)
    with pytest.raises(ConfigError, match="twin has none"):
        arena.step({"fund": np.array([0.0]), "maker": [0] * 5})
