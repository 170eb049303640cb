"""What waits for one network, and when it goes through it. Pure: no clock, no socket."""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Asked(NamedTuple):
    """A request in a queue; times are of a clock that only goes forward.

    Attributes:
        route: the way back, whatever that is.
        id: of the request.
        obs: float32 [rows, obs_size].
        came_ns: when.
        due_ns: when its reply is of no use any more.
    """

    route: Any
    id: int
    obs: NDArray[np.float32]
    came_ns: int
    due_ns: int


class Lane:
    """A bounded queue that becomes batches.

    Args:
        max_batch: rows in a batch.
        max_wait_ns: how long the oldest waits for others.
        limit: requests that may wait.
    """

    def __init__(self, max_batch: int, max_wait_ns: int, limit: int) -> None:
        self._max_batch = max_batch
        self._max_wait_ns = max_wait_ns
        self._limit = limit
        self._waiting: deque[Asked] = deque()
        self._rows = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def due_ns(self) -> int | None:
        """When a batch is due; None while nothing waits."""
        if not self._waiting:
            return None
        came_ns = self._waiting[0].came_ns
        return came_ns if self._rows >= self._max_batch else came_ns + self._max_wait_ns

    def offer(self, asked: Asked) -> bool:
        """Let a request wait; False if there is no room."""
        if len(self._waiting) >= self._limit:
            return False
        self._waiting.append(asked)
        self._rows += len(asked.obs)
        return True

    def take(self, now_ns: int) -> tuple[list[Asked], list[Asked]]:
        """Return a batch in the order of arrival, and those whose deadline has passed."""
        batch: list[Asked] = []
        expired: list[Asked] = []
        rows = 0
        while self._waiting:
            asked = self._waiting[0]
            late = asked.due_ns <= now_ns
            if not late and batch and rows + len(asked.obs) > self._max_batch:
                break
            self._waiting.popleft()
            self._rows -= len(asked.obs)
            if late:
                expired.append(asked)
            else:
                batch.append(asked)
                rows += len(asked.obs)
        return batch, expired
