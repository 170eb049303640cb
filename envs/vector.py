"""`SharedVectorEnv`: many envs, each in a process of its own, as one Gymnasium `VectorEnv`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs import layout
from envs.recipe import Recipe
from envs.shared import TIMEOUT_S, Info, SharedEnvs
from grid.errors import ConfigError

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


class SharedVectorEnv(VectorEnv[Any, Any, Any]):
    """Envs that step at the same time, in shared memory; see `envs.shared.SharedEnvs`.

    Autoreset is `AutoresetMode.SAME_STEP`: where an episode ends in a step, the observation is the
    first of the next one, and `infos` holds `final_obs` and `final_info`. The same seed gives the
    same episodes, those of the same envs stepped one by one. After an error from an env, `reset`
    before the next step.

    Args:
        recipes: one an env, all with the same spaces.
        timeout_s: for whatever an env is asked, once it is made.

    Raises:
        ConfigError: the recipes do not fit together or cannot be imported.
        ProcessDied: from any call, if a worker ended or stayed silent for `timeout_s`.
        EnvError: from any call, if an env raised an exception; one of ours is raised as it was.
    """

    def __init__(self, recipes: Sequence[Recipe], *, timeout_s: float = TIMEOUT_S) -> None:
        self.envs = envs = SharedEnvs(recipes, timeout_s=timeout_s)
        self.num_envs = envs.n
        self.single_observation_space = envs.obs_space
        self.single_action_space = envs.action_space
        self.observation_space = batch_space(envs.obs_space, envs.n)
        self.action_space = batch_space(envs.action_space, envs.n)
        self.render_mode = envs.render_mode
        self.metadata = {
            "render_modes": envs.render_modes,
            "autoreset_mode": AutoresetMode.SAME_STEP,
        }

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every env.

        Args:
            seed: env i gets `seed_of(seed, i)`; or a seed for each env, used as it is.
            options: for each env.

        Raises:
            ConfigError: there are not as many seeds as envs.
        """
        one = seed is None or isinstance(seed, int)
        super().reset(seed=seed if one else None)  # type: ignore[arg-type]
        seeds = seeds_of(seed, self.num_envs) if one else list(seed)  # type: ignore[arg-type]
        if len(seeds) != self.num_envs:
            raise ConfigError(f"seed: expected {self.num_envs}, one an env, found {len(seeds)}")
        infos = self.envs.reset(seeds, [options] * self.num_envs)
        return layout.get_all(self.envs.arrays.obs), self._stack(infos)

    def step(self, actions: Any) -> tuple[Any, Floats, Flags, Flags, dict[str, Any]]:
        """Take an action in each env, `actions` being of the action space."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Let the envs begin a step."""
        self.envs.begin(actions)

    def step_wait(self) -> tuple[Any, Floats, Flags, Flags, dict[str, Any]]:
        """Return what `step` does, once all envs have taken it."""
        infos, first = self.envs.end()
        arrays = self.envs.arrays
        ends = np.zeros((2, self.num_envs), dtype=np.bool_)
        for i, info in first.items():
            ends[:, i] = arrays.ends[i]
            last_obs = layout.get(arrays.last_obs, i)
            infos[i] = {"final_info": infos[i], "final_obs": last_obs, **info}
        obs = layout.get_all(arrays.obs)
        return obs, arrays.rewards.copy(), ends[0], ends[1], self._stack(infos)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each env, or get an attribute; what goes and comes is plain data."""
        return tuple(self.envs.call("use", name, *args, **kwargs))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each env."""
        return tuple(self.envs.call("get", name))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each env: to its own of a list or tuple, else to the same."""
        n = self.num_envs
        each = list(values) if isinstance(values, list | tuple) else [values] * n
        if len(each) != n:
            raise ConfigError(f"{name}: expected {n} values, one an env, found {len(each)}")
        for i, value in enumerate(each):
            self.envs.call("set", name, value, envs=[i])

    def render(self) -> tuple[Any, ...]:
        """Return a frame of each env."""
        return self.call("render")

    def close_extras(self, **kwargs: Any) -> None:
        """End the workers."""
        self.envs.close()

    def _stack(self, infos: list[Info]) -> dict[str, Any]:
        """Return the infos as Gymnasium wants them: an array and a mask for each key."""
        stacked: dict[str, Any] = {}
        keys = list(infos[0])
        if any(list(info) != keys for info in infos):
            for i, info in enumerate(infos):
                stacked = self._add_info(stacked, info, i)
            return stacked
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        for key, values in zip(keys, zip(*(i.values() for i in infos), strict=True), strict=True):
            kind = type(values[0])
            if key != "final_obs" and kind in (float, int, bool, np.ndarray):
                stacked[key] = np.array(values)
            elif key != "final_obs" and kind is dict:
                stacked[key] = self._stack(list(values))
            else:
                stacked[key] = objects = np.empty(self.num_envs, dtype=object)
                for i, value in enumerate(values):  # at once, lists could be taken for rows
                    objects[i] = value
            stacked[f"_{key}"] = everywhere
        return stacked


def seed_of(seed: int, env: int) -> int:
    """Return the seed of one of the envs: unrelated to those of the others and of other seeds."""
    return int(np.random.SeedSequence([seed, env]).generate_state(1)[0] % 2**31)


def seeds_of(seed: int | None, n: int) -> list[int | None]:
    """Return the seeds of `n` envs, None for none."""
    return [None if seed is None else seed_of(seed, env) for env in range(n)]
