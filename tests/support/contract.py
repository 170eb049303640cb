"""What a vector env owes its user, as checks that any implementation can be put through.

Each takes a function that makes one, of `CountingEnv`s whose episodes take 5 steps, truncated.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.vec_env import VecEnv

EPISODE = 5


def flat(value: Any) -> list[np.ndarray[Any, Any]]:
    """The arrays in an observation, in order."""
    if isinstance(value, dict):
        return [a for key in sorted(value) for a in flat(value[key])]
    if isinstance(value, tuple):
        return [a for part in value for a in flat(part)]
    return [np.asarray(value)]


def row(value: Any, i: int) -> Any:
    """The observation of one env out of those of all."""
    if isinstance(value, dict):
        return {key: row(part, i) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(row(part, i) for part in value)
    return value[i]


def bits(value: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    """An observation in a form that is equal only if every bit is."""
    return [(a.dtype.str, a.shape, a.tobytes()) for a in flat(value)]


def check_gymnasium(make: Callable[[], VectorEnv[Any, Any, Any]]) -> None:
    """Put a Gymnasium `VectorEnv` with autoreset in the same step through its contract."""
    env = make()
    n = env.num_envs
    rich = env.single_observation_space.dtype == np.float32  # no two observations are equal
    assert env.observation_space == batch_space(env.single_observation_space, n)
    assert env.action_space == batch_space(env.single_action_space, n)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP

    obs, infos = env.reset(seed=7)
    first = bits(obs)
    assert env.observation_space.contains(obs)
    assert infos["step"].tolist() == [0] * n
    assert infos["_step"].tolist() == [True] * n

    env.action_space.seed(0)
    for step in range(1, 2 * EPISODE + 1):
        before = bits(obs)
        last = obs
        obs, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        assert bits(last) == before, "an observation must not change once it is given"
        assert env.observation_space.contains(obs)
        assert (rewards.dtype, rewards.shape) == (np.float64, (n,))
        assert (terminated.dtype, terminated.shape) == (np.bool_, (n,))
        assert (truncated.dtype, truncated.shape) == (np.bool_, (n,))
        assert not terminated.any()
        over = step % EPISODE == 0
        assert truncated.tolist() == [over] * n
        assert ("final_obs" in infos) == ("final_info" in infos) == over
        if over:
            assert infos["step"].tolist() == [0] * n, "the infos are those of the reset"
            assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True] * n
            for i in range(n):
                assert env.single_observation_space.contains(infos["final_obs"][i])
                assert not rich or bits(infos["final_obs"][i]) != bits(row(obs, i))
            infos = infos["final_info"]
        expected = (step - 1) % EPISODE + 1
        assert infos["step"].tolist() == [expected] * n
        assert infos["half"].dtype == np.float64
        assert infos["even"].dtype == np.bool_
        assert infos["mask"].shape == (n, 2)
        assert infos["deep"]["x"].tolist() == [1.5] * n
        assert infos["names"].tolist() == [["a", "b"]] * n

    assert bits(env.reset(seed=7)[0]) == first
    assert not rich or bits(env.reset(seed=8)[0]) != first
    assert env.reset(options={"row": 3})[1]["options"]["row"].tolist() == [3] * n
    assert env.call("mood") == env.get_attr("mood") == ("calm",) * n
    env.set_attr("mood", [f"m{i}" for i in range(n)])
    assert env.get_attr("mood") == tuple(f"m{i}" for i in range(n))
    frames = env.render()
    assert frames is not None
    assert [frame.shape for frame in frames] == [(4, 5, 3)] * n
    env.close()
    env.close()


def check_sb3(make: Callable[[], VecEnv], wrapper: type, no_wrapper: type) -> None:
    """Put a `VecEnv` of envs in `wrapper` through the contract of stable-baselines3."""
    env = make()
    n = env.num_envs
    rich = env.observation_space.dtype == np.float32  # no two observations are equal
    env.seed(7)
    obs = env.reset()
    first = bits(obs)
    assert all(len(a) == n for a in flat(obs))
    assert [info["step"] for info in env.reset_infos] == [0] * n

    env.action_space.seed(0)
    for step in range(1, 2 * EPISODE + 1):
        before, last = bits(obs), obs
        actions = np.array([env.action_space.sample() for _ in range(n)])
        obs, rewards, dones, infos = env.step(actions)
        assert bits(last) == before, "an observation must not change once it is given"
        assert [(a.dtype, a.shape) for a in flat(obs)] == [(a.dtype, a.shape) for a in flat(last)]
        assert rewards.shape == (n,)
        assert (dones.dtype, dones.shape) == (np.bool_, (n,))
        over = step % EPISODE == 0
        assert dones.tolist() == [over] * n
        assert [info["step"] for info in infos] == [(step - 1) % EPISODE + 1] * n
        assert [info["TimeLimit.truncated"] for info in infos] == [over] * n
        assert ["terminal_observation" in info for info in infos] == [over] * n
        if over:
            assert [info["step"] for info in env.reset_infos] == [0] * n
            for i, info in enumerate(infos):
                assert env.observation_space.contains(info["terminal_observation"])
                assert not rich or bits(info["terminal_observation"]) != bits(row(obs, i))

    env.seed(7)
    assert bits(env.reset()) == first
    assert not rich or bits(env.reset()) != first, "a seed is used once"
    env.set_options({"row": 3})
    env.reset()
    assert [info["options"] for info in env.reset_infos] == [{"row": 3}] * n
    env.reset()
    assert [info["options"] for info in env.reset_infos] == [{}] * n
    env.set_attr("mood", "glad", indices=[n - 1])
    assert env.get_attr("mood") == ["calm"] * (n - 1) + ["glad"]
    assert env.get_attr("mood", indices=n - 1) == ["glad"]
    assert env.env_method("loaded", ["sys", "no"], indices=0) == [["sys"]]
    assert env.has_attr("mood")
    assert not env.has_attr("wings")
    assert env.env_is_wrapped(wrapper) == [True] * n
    assert env.env_is_wrapped(no_wrapper, indices=[0]) == [False]
    assert [frame.shape for frame in env.get_images()] == [(4, 5, 3)] * n
    env.close()
    env.close()
