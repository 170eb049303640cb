"""What a bridge says of itself on the bus while its other side has never answered yet."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from grid.bus import Addresses, Publisher, new_context

BEAT_S: Final = 0.5


class Waiting:
    """Heartbeats in the state `waiting`, from half a second on.

    They are of an epoch of their own: the bridge numbers its events anew once it begins.

    Args:
        addresses: of the grid.
        name: of this process.
        epoch: gives the epoch, if one is needed.
    """

    def __init__(self, addresses: Addresses, name: str, epoch: Callable[[], int]) -> None:
        self._addresses = addresses
        self._name = name
        self._epoch = epoch
        self._beat_s = time.monotonic()
        self._context: Any = None
        self._publisher: Publisher | None = None

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._publisher is not None:
            self._publisher.close()
            self._context.destroy(linger=0)

    def beat(self, failures: int) -> None:
        """Say that it waits, if that is due; call it again and again.

        Args:
            failures: tries so far.
        """
        now_s = time.monotonic()
        if now_s - self._beat_s < BEAT_S:
            return
        self._beat_s = now_s
        if self._publisher is None:
            self._context = new_context()
            self._publisher = Publisher(
                self._context, self._addresses.events_in, self._name, self._epoch(), role="bridge"
            )
        self._publisher.heartbeat("waiting", {"failures": float(failures)})
