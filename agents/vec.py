"""Many envs at once, for the trainer: in this process if there is one, else a process each.

The vector env resets an env by itself when its episode ends, as stable-baselines3 expects.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from envs import layout
from envs.recipe import Recipe, path_of
from envs.shared import TIMEOUT_S, SharedEnvs
from envs.vector import seeds_of


class SharedVecEnv(VecEnv):
    """Envs that step at the same time, in shared memory; see `envs.shared.SharedEnvs`.

    Where an episode ends in a step, the observation is the first of the next one; `infos` holds
    `terminal_observation`, and always `TimeLimit.truncated`. `seed(s)` gives env i the seed
    `envs.vector.seed_of(s, i)`. After an error from an env, `reset` before the next step.

    Args:
        recipes: one an env, all with the same spaces.
        timeout_s: for whatever an env is asked, once it is made.

    Raises:
        ConfigError: the recipes do not fit together or cannot be imported.
        ProcessDied: from any call, if a worker ended or stayed silent for `timeout_s`.
        EnvError: from any call, if an env raised an exception; one of ours is raised as it was.
    """

    def __init__(self, recipes: Sequence[Recipe], *, timeout_s: float = TIMEOUT_S) -> None:
        self.envs = SharedEnvs(recipes, timeout_s=timeout_s)
        super().__init__(self.envs.n, self.envs.obs_space, self.envs.action_space)

    def reset(self) -> VecEnvObs:
        """Start an episode in every env, with the seeds and options that were set."""
        self.reset_infos = self.envs.reset(self._seeds, [o or None for o in self._options])
        self._reset_seeds()
        self._reset_options()
        return self._obs()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Let the envs begin a step."""
        self.envs.begin(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Return observations, rewards (float64), dones and infos once all have taken it."""
        infos, first = self.envs.end()
        arrays = self.envs.arrays
        dones = np.zeros(self.num_envs, dtype=np.bool_)
        for info in infos:
            info["TimeLimit.truncated"] = False
        for i, info in first.items():
            terminated, truncated = arrays.ends[i]
            dones[i] = True
            infos[i]["TimeLimit.truncated"] = bool(truncated and not terminated)
            infos[i]["terminal_observation"] = layout.get(arrays.last_obs, i)
            self.reset_infos[i] = info
        return self._obs(), arrays.rewards.copy(), dones, infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seeds of the next reset, random ones for None."""
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._seeds = seeds_of(seed, self.num_envs)
        return self._seeds

    def close(self) -> None:
        """End the workers; harmless when closed already."""
        self.envs.close()

    def has_attr(self, attr_name: str) -> bool:
        """Say whether every env has an attribute."""
        return all(self.envs.call("has", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of envs; it must be plain data."""
        return self.envs.call("get", attr_name, envs=self._which(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of envs to plain data."""
        self.envs.call("set", attr_name, value, envs=self._which(indices))

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of envs; what goes and comes must be plain data."""
        which = self._which(indices)
        return self.envs.call("use", method_name, *method_args, envs=which, **kwargs)

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Say of envs whether a wrapper of that class is around them."""
        return self.envs.call("wrapped", path_of(wrapper_class), envs=self._which(indices))

    def get_images(self) -> list[Any]:
        """Return a frame of each env."""
        return self.envs.call("use", "render")

    def _obs(self) -> VecEnvObs:
        obs: VecEnvObs = layout.get_all(self.envs.arrays.obs)
        return obs

    def _which(self, indices: VecEnvIndices) -> list[int]:
        return [int(i) for i in self._get_indices(indices)]


def make_vec(recipe: Recipe, n_envs: int) -> VecEnv:
    """Return `n_envs` envs that count their episodes; close it when done."""
    single = n_envs == 1
    envs: VecEnv = DummyVecEnv([recipe.make]) if single else SharedVecEnv([recipe] * n_envs)
    return VecMonitor(envs)
