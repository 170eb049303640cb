"""The memory that a vector env shares with its workers: a memfd, so it has no name to leave behind.

head    for each env a byte each: order (the number of the last order), done (of the last that was
        carried out), code (what is ordered), state (how it ended); its process; the length of its
        letter; and a letter box for what is not an array
arrays  actions, observations, last observations of episodes, rewards, ends: a row an env

The memory is the truth. An eventfd only tells the other side to look.
"""

import math
import mmap
import os
from typing import Any, Final

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from envs import layout, mail
from grid.errors import ConfigError

BOX_BYTES: Final = 8 << 20  # of one letter; a page of it takes memory when it is first written
_LINE: Final = 64  # of the processor's cache: what two processes write should not share one

PASS, BUILD, OPEN, RESET, STEP, CALL, CLOSE = range(7)
WELL, ENDED, FAILED = range(3)


class Head:
    """Orders, answers and letters.

    Attributes:
        memory: order, done, code and state, a byte an env, from `order`, `done`, `code`, `state`.
        pids: process of each env.
        exits: what `os.wait` said of its end, plus 1; 0 while it lives.

    Args:
        fd: of the memory.
        n: envs.
    """

    def __init__(self, fd: int, n: int) -> None:
        stride = -(-n // _LINE) * _LINE
        self.order, self.done, self.code, self.state = (stride * i for i in range(4))
        self.n = n
        self._boxes = _pages(4 * stride + 12 * n)
        self.size = self._boxes + n * BOX_BYTES
        if os.fstat(fd).st_size < self.size:
            os.ftruncate(fd, self.size)
        self.memory = mmap.mmap(fd, self.size)
        view = memoryview(self.memory)
        self._letters = view[self._boxes :]
        words = view[4 * stride : 4 * stride + 12 * n].cast("i")
        self.pids, self.exits, self._lengths = words[:n], words[n : 2 * n], words[2 * n :]

    def write(self, env: int, value: Any) -> None:
        """Put a letter into an env's box.

        Raises:
            ConfigError: it is too long.
            TypeError: it is not plain data.
        """
        raw = mail.encode(value)
        size = len(raw)
        if size > BOX_BYTES:
            raise ConfigError(f"env {env}: expected at most {BOX_BYTES} bytes, found {size}")
        start = env * BOX_BYTES
        self._letters[start : start + size] = raw
        self._lengths[env] = size

    def read(self, env: int) -> Any:
        """Return the letter in an env's box."""
        start = env * BOX_BYTES
        return mail.decode(self._letters[start : start + self._lengths[env]])


class Arrays:
    """The arrays behind a head.

    Attributes:
        actions: in the structure of the action space.
        obs: in the structure of the observation space.
        last_obs: of episodes that have just ended.
        rewards: float64 [n].
        ends: uint8 [n, 2], terminated and truncated.

    Args:
        fd: of the memory, which is enlarged as needed.
        head: of the same memory.
        obs_space: of one env.
        action_space: of one env.
    """

    def __init__(
        self, fd: int, head: Head, obs_space: Space[Any], action_space: Space[Any]
    ) -> None:
        def lay(take: layout.Take) -> tuple[Any, ...]:
            spaces = (action_space, obs_space, obs_space)
            trees = [layout.arrays(space, head.n, take) for space in spaces]
            ends = take((head.n, 2), np.dtype(np.uint8))
            return *trees, take((head.n,), np.dtype(np.float64)), ends

        measured = _Taker(None)
        lay(measured.take)
        if os.fstat(fd).st_size < head.size + measured.size:
            os.ftruncate(fd, head.size + measured.size)
        taker = _Taker(mmap.mmap(fd, measured.size, offset=head.size))
        self.actions, self.obs, self.last_obs, self.rewards, self.ends = lay(taker.take)


class _Taker:
    """Gives arrays over a memory, one after the other; without one it only adds up the size."""

    def __init__(self, memory: mmap.mmap | None) -> None:
        self.size = 0
        self._memory = memory

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        start, length = self.size, math.prod(shape)
        self.size += -(-dtype.itemsize * length // _LINE) * _LINE
        if self._memory is None:
            return np.empty(0)
        return np.frombuffer(self._memory, dtype, length, start).reshape(shape)


def _pages(size: int) -> int:
    return -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
