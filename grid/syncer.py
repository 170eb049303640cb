"""A thread that waits for the disk, so that the one that writes does not have to.

A disk takes from one to some hundreds of milliseconds to confirm. Who writes asks for a
confirmation after each flush; while one is under way, all those that are asked for meanwhile
become the next.
"""

import threading
import time
from collections.abc import Callable


class Syncer:
    """Confirms what was flushed.

    Args:
        flushed: how many events are flushed now.
        sync: waits until the disk has them; raises OSError when it refuses.

    Attributes:
        synced: events that a power cut can no longer take away.
        error: of the disk, after which nothing is confirmed any more.
    """

    def __init__(self, flushed: Callable[[], int], sync: Callable[[], None]) -> None:
        self.synced = 0
        self.error: OSError | None = None
        self._flushed = flushed
        self._sync = sync
        self._asked = threading.Event()
        self._ending = False
        self._slowest_s = 0.0
        self._thread = threading.Thread(target=self._run, name="syncer", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Have what is flushed now confirmed, soon."""
        self._asked.set()

    def slowest_s(self) -> float:
        """Return how long the slowest confirmation since the last call took, in seconds."""
        slowest_s, self._slowest_s = self._slowest_s, 0.0
        return slowest_s

    def close(self, timeout_s: float) -> None:
        """End the thread after the confirmation that is under way, or leave it after a while."""
        self._ending = True
        self._asked.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._ending:
                return
            flushed, began_s = self._flushed(), time.monotonic()
            try:
                self._sync()
            except OSError as e:
                self.error = e
                return
            self.synced = flushed
            self._slowest_s = max(self._slowest_s, time.monotonic() - began_s)
