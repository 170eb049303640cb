"""Steps per second of many envs at once, in all envs together, each in a process of its own.

shared_N          our transport under stable-baselines3, N envs; beside their `SubprocVecEnv`
shared_N_p95_us   how long 95 of 100 steps of all N envs take at most; beside the same
gym_N, async_N    our Gymnasium form, and their `AsyncVectorEnv` with shared memory and without a
                  copy; beside `SubprocVecEnv` too

The envs are `TradingEnv`s that hold, with features, account, reward and info as in training. All
live at the same time and take turns in every round, so that a busy machine is busy for all.
"""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3.common.vec_env import SubprocVecEnv

from agents.bench.env import BARS, EPISODE, FEATURES
from agents.bench.report import Row
from agents.vec import SharedVecEnv
from envs.pipeline import fit
from envs.synthetic import write_synthetic
from envs.trading_recipe import EnvRecipe
from envs.vector import SharedVectorEnv
from grid.dataset import Dataset
from grid.home import Home
from grid.spec import TargetRule
from grid.venue import Venue

ROUNDS: Final = 21
STEPS: Final = 300
SIZES: Final = (2, 8)
_HOLD: Final = 1  # of short, flat, long


def run() -> list[Row]:
    """Measure; takes about half a minute."""
    rows = []
    with TemporaryDirectory(prefix="argonaut-") as name, closing(_Servers()):
        recipe = _recipe(Home(Path(name)))
        for n in SIZES:
            rates, slow_us = _measure(recipe, n)
            base, base_us = rates["subproc"], slow_us["subproc"]
            rows += [
                Row.of(f"shared_{n}", rates["shared"], "steps/s", base),
                Row.of(f"shared_{n}_p95_us", slow_us["shared"], "us", base_us),
                Row.of(f"gym_{n}", rates["gym"], "steps/s", base),
                Row.of(f"async_{n}", rates["async"], "steps/s", base),
            ]
    return rows


class _Servers:
    """What `multiprocessing` starts for the others, and would keep as long as this process."""

    def close(self) -> None:
        gc.collect()  # what the envs hold is unregistered there
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


def _measure(recipe: EnvRecipe, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """Medians over the rounds: steps per second, and the 95th percentile of a step in us."""
    actions = np.full(n, _HOLD)
    makers: list[Callable[[], gymnasium.Env[Any, Any]]] = [recipe.make] * n
    with ExitStack() as stack:
        shared: Any = stack.enter_context(closing(SharedVecEnv([recipe] * n)))
        gym: Any = stack.enter_context(closing(SharedVectorEnv([recipe] * n)))
        theirs: Any = AsyncVectorEnv(makers, copy=False, context="forkserver")
        stack.enter_context(closing(theirs))
        subproc: Any = SubprocVecEnv(makers, start_method="forkserver")
        stack.enter_context(closing(subproc))
        envs = {"shared": shared, "gym": gym, "async": theirs, "subproc": subproc}
        for env in envs.values():
            env.reset()
        rates: dict[str, list[float]] = {name: [] for name in envs}
        slow_us: dict[str, list[float]] = {name: [] for name in envs}
        for _ in range(ROUNDS):
            for name, env in envs.items():
                took_s = _timed(partial(env.step, actions))
                rates[name].append(n * STEPS / sum(took_s))
                slow_us[name].append(float(np.percentile(took_s, 95)) * 1e6)
    return _medians(rates), _medians(slow_us)


def _timed(step: Callable[[], object]) -> list[float]:
    took_s = []
    for _ in range(STEPS):
        began_s = time.perf_counter()
        step()
        took_s.append(time.perf_counter() - began_s)
    return took_s


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items()}


def _recipe(home: Home) -> EnvRecipe:
    write_synthetic("signal", "bench", home, n=BARS, seed=1)
    dataset = Dataset.find(home.datasets, "bench")
    rule = TargetRule(max_qty=100.0)
    spec = fit(dataset, (0, BARS), features=FEATURES, window=16, target=rule)
    return EnvRecipe(
        dataset=dataset.path,
        spec=spec,
        venue=Venue(),
        rows=(0, BARS),
        steps=EPISODE,
        reward="log_equity",
        reward_scale=1.0,
    )
