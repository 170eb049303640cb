"""Many envs at once, for the trainer: in this process if there is one, else a process each.

The vector env resets an env by itself when its episode ends, as stable-baselines3 expects.
"""

import contextlib
import ctypes
import multiprocessing
import signal
import traceback
from collections.abc import Iterator
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecMonitor

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


class _Line:
    """The trainer's end of a pipe to an env's process, on which silence and death are errors."""

    def __init__(self, index: int, pipe: Connection) -> None:
        self._index = index
        self._pipe = pipe
        self.close = pipe.close

    def send(self, message: Any) -> None:
        with _deaths(self._index):
            self._pipe.send(message)

    def recv(self) -> Any:
        with _deaths(self._index):
            if self._pipe.poll(_ANSWER_S):
                return self._pipe.recv()
        raise ProcessDied(f"env {self._index}: no answer within {_ANSWER_S:g} s")


class ProcessVecEnv(SubprocVecEnv):
    """An env a process; a process that dies or hangs is an error, and none outlives its owner.

    Raises:
        ProcessDied: from any call, if an env's process ends or stays silent.
    """

    def __init__(self, recipe: EnvRecipe, n_envs: int) -> None:
        # forking is safe only from a process that has imported the engine and never run it
        multiprocessing.set_forkserver_preload([__name__])
        _start_fork_server()
        with _deaths(0):
            super().__init__([partial(_in_child, recipe)] * n_envs, start_method="forkserver")
        self.remotes: Any = tuple(_Line(i, pipe) for i, pipe in enumerate(self.remotes))

    def close(self) -> None:
        """End the processes; one that does not go is killed."""
        if self.closed:
            return
        self.closed = True
        for remote in self.remotes:
            with contextlib.suppress(ProcessDied):
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


def _start_fork_server() -> None:
    # Ctrl-C reaches the whole terminal, and while it imports the server would show a traceback:
    # it inherits a mask without SIGINT, and ignores it from then on
    resource_tracker.ensure_running()  # the server would start it, and that lifts the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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
def _deaths(index: int) -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as e:
        # CPython 3.12 crashes when its garbage collector meets the buffer that a failed send holds
        traceback.clear_frames(e.__traceback__)
        raise ProcessDied(f"env {index}: its process ended; its own error is above") from e
