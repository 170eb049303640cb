"""Many envs at once, for the trainer: in this process if there is one, else a process each.

The vector env resets an env by itself when its episode ends, as stable-baselines3 expects.
"""

import contextlib
import ctypes
import multiprocessing
import signal
import traceback
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, Final

import msgspec
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.errors import ProcessDied
from grid.spec import Spec
from grid.venue import Venue

_ANSWER_S: Final = 120.0  # a reset or step takes milliseconds; the first one imports the engine
_END_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1


class EnvRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process needs to build its env; see `envs.trading.TradingEnv`."""

    dataset: Path
    spec: Spec
    venue: Venue
    rows: tuple[int, int]
    steps: int
    reward: str
    reward_scale: float

    def make(self) -> TradingEnv:
        """Return the env."""
        return TradingEnv(
            Dataset.open(self.dataset),
            self.spec,
            self.venue,
            rows=self.rows,
            steps=self.steps,
            reward=self.reward,
            reward_scale=self.reward_scale,
        )


class ProcessVecEnv(SubprocVecEnv):
    """An env a process; a process that dies or hangs is an error, and none outlives its owner.

    Raises:
        ProcessDied: from `reset` and `step`.
    """

    def __init__(self, recipe: EnvRecipe, n_envs: int) -> None:
        # forking is safe only from a process that has imported the engine and never run it
        multiprocessing.set_forkserver_preload([__name__])
        super().__init__([partial(_in_child, recipe)] * n_envs, start_method="forkserver")

    def reset(self) -> VecEnvObs:
        """Reset every env, with the seeds given to `seed`."""
        with _deaths():
            return super().reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Send each env its action."""
        with _deaths():
            super().step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Collect what `step_async` asked for."""
        with _deaths():
            for i, remote in enumerate(self.remotes):
                if not remote.poll(_ANSWER_S):
                    raise ProcessDied(f"env {i}: no answer to a step within {_ANSWER_S:g} s")
            return super().step_wait()

    def close(self) -> None:
        """End the processes; one that does not go is killed."""
        if self.closed:
            return
        self.closed = True
        for remote in self.remotes:
            with contextlib.suppress(OSError):
                remote.send(("close", None))
        for process in self.processes:
            process.join(_END_S)
            if process.is_alive():
                process.kill()
                process.join(_END_S)
        for remote in self.remotes:
            remote.close()
        # else the fork server, with torch in it, stays for as long as this process
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
        resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


def make_vec(recipe: EnvRecipe, n_envs: int) -> VecEnv:
    """Return `n_envs` envs that count their episodes; close it when done."""
    envs: VecEnv = DummyVecEnv([recipe.make]) if n_envs == 1 else ProcessVecEnv(recipe, n_envs)
    return VecMonitor(envs)


def _in_child(recipe: EnvRecipe) -> TradingEnv:
    # its parent is the fork server, which goes when the trainer goes, however that ends
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Ctrl-C reaches the whole terminal: the trainer alone decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return recipe.make()


@contextlib.contextmanager
def _deaths() -> Any:
    try:
        yield
    except (EOFError, OSError) as e:
        # CPython 3.12 crashes when its garbage collector meets the buffer that a failed send holds
        traceback.clear_frames(e.__traceback__)
        raise ProcessDied(f"an env's process ended: {type(e).__name__}; see its error above") from e
