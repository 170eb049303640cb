"""The network that a run began with: what an agent has to beat to have learned anything."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from msgspec.structs import replace
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import algorithms, transformer
from agents.checkpoint import Manifest
from agents.config import RunConfig
from agents.export import to_onnx
from agents.hyperparameters import PPO
from agents.market_policy import MASKED, MarketNetwork
from agents.network import Network
from agents.policy import NetworkPolicy
from agents.training import seed_of
from envs.pipeline import Pipeline
from grid.config import convert


class Outline(gymnasium.Env[Any, Any]):
    """The spaces of an agent's env, and no market: enough to build its network on."""

    def __init__(self, size: int, clip: float, action_space: gymnasium.Space[Any]) -> None:
        self.observation_space = spaces.Box(-clip, clip, (size,), np.float32)
        self.action_space = action_space

    def step(self, action: Any) -> Any:
        """Refuse: there is no market behind it."""
        raise NotImplementedError("an outline of an env cannot be stepped")


def untrained(manifest: Manifest) -> NetworkPolicy:
    """Return the policy of a checkpoint's run before its first decision: its seed's own weights.

    Raises:
        ConfigError: the manifest holds no run's config.
    """
    spec = manifest.spec
    acts: gymnasium.Space[Any] = (
        spaces.Discrete(len(spec.target.levels))
        if spec.target.kind == "discrete"
        else spaces.Box(-1.0, 1.0, (1,), np.float32)
    )
    outline = Outline(Pipeline(spec).obs_size, spec.clip, acts)
    return NetworkPolicy(spec, _network(manifest, outline))


def untrained_market(manifest: Manifest) -> MarketNetwork:
    """Return the same of a run on several instruments or by orders.

    Raises:
        ConfigError: the manifest holds no run's config.
    """
    market = manifest.market
    assert market is not None
    outline = Outline(market.obs_size, market.clip, market.action.space(len(market.traded)))
    return MarketNetwork(market, _network(manifest, outline), masked=manifest.algo == MASKED)


def _network(manifest: Manifest, outline: Outline) -> Network:
    config = convert(manifest.config, RunConfig, "the checkpoint's config")
    spec, algo = manifest.spec, config.algo
    # what only training needs is kept small; none of it touches the weights
    algo = (
        replace(algo, n_steps=algo.batch_size)
        if isinstance(algo, PPO)
        else replace(algo, buffer_size=1)
    )
    extracting: dict[str, Any] = {}
    if (body := algo.transformer) is not None:
        extracting = transformer.extractor(
            spec.window, len(spec.features), body.width, body.heads, body.layers, {}
        )
    config = replace(config, algo=algo, run=replace(config.run, device="cpu"))
    envs = DummyVecEnv([lambda: outline])
    model = algorithms.build(config, envs, seed_of(config.seed, 0), extracting)
    return Network(to_onnx(model), "the untrained network")
