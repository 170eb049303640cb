"""Observations by reference are the observations themselves."""

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.env_checker import check_env as check_sb3

from agents.gather import WindowGather, extractor, feature_matrix
from envs.pipeline import Pipeline
from envs.trading import TradingEnv
from grid.errors import ConfigError
from grid.venue import Venue
from tests.support.markets import bar_columns, dataset, quote_columns, spec_for

VENUE = Venue(latency_ms=500)


@pytest.fixture(params=["bars", "quotes"])
def data(request):
    return dataset(bar_columns() if request.param == "bars" else quote_columns())


def episode(data, observation, seed=3):
    spec = spec_for(data, window=8)
    rows = (150, data.manifest.rows)
    env = TradingEnv(data, spec, VENUE, rows=rows, steps=80, observation=observation)
    rng = np.random.default_rng(0)
    obs, _ = env.reset(seed=seed)
    found = [obs]
    for _ in range(80):
        obs, *_ = env.step(int(rng.integers(3)))
        found.append(obs)
    env.close()
    return spec, np.stack(found)


def test_gathered_windows_have_the_bits_of_the_plain_observation(data):
    spec, plain = episode(data, "window")
    _, index = episode(data, "index")
    assert index.shape == (81, 5)
    env = TradingEnv(data, spec, VENUE, observation="index")
    gather = WindowGather(
        env.observation_space, feature_matrix(data, spec), spec.window, Pipeline(spec).lookback
    )
    env.close()
    gathered = gather(torch.from_numpy(index)).numpy()
    assert gathered.dtype == np.float32
    assert gathered.tobytes() == plain.tobytes()


def test_index_env_passes_the_checkers(data):
    env = TradingEnv(data, spec_for(data), VENUE, steps=30, observation="index")
    check_env(env, skip_render_check=True)
    check_sb3(env)
    env.close()


@pytest.mark.parametrize(
    ("algo", "kind"), [(PPO, "discrete"), (DQN, "discrete"), (SAC, "continuous")]
)
def test_learning_by_reference_gives_the_same_policy(algo, kind):
    data = dataset(bar_columns())
    spec = spec_for(data, kind=kind)

    def train(observation):
        env = TradingEnv(data, spec, VENUE, steps=50, observation=observation)
        more = extractor(data, spec) if observation == "index" else {}
        short = {"n_steps": 64, "batch_size": 64} if algo is PPO else {"learning_starts": 50}
        model = algo(
            "MlpPolicy", env, seed=1, device="cpu", policy_kwargs={"net_arch": [8], **more}, **short
        )
        model.learn(128)
        weights = {k: v for k, v in model.policy.state_dict().items() if "matrix" not in k}
        buffer = model.rollout_buffer if algo is PPO else model.replay_buffer
        size = buffer.observations[0].nbytes
        env.close()
        return weights, size

    plain, large = train("window")
    gathered, small = train("index")
    assert plain.keys() == gathered.keys()
    for name, value in plain.items():
        assert torch.equal(value, gathered[name]), name
    assert large / small == Pipeline(spec).obs_size / 5


def test_rollout_buffer_of_a_usual_observation_is_fifty_times_smaller():
    # a window of 64 rows of 8 features and the account, beside a row number and the account
    assert (64 * 8 + 4) / 5 > 50


def test_dataset_that_is_too_long_for_exact_row_numbers_is_refused(monkeypatch):
    monkeypatch.setattr("envs.sights._EXACT_ROWS", 100)
    data = dataset(bar_columns())
    with pytest.raises(ConfigError, match="exact up to 100 rows, the dataset has 400"):
        TradingEnv(data, spec_for(data), VENUE, observation="index")
