"""When to ask for what is missing, and whom: the recorder first, then the source. Pure."""

from typing import Final

from grid import wire
from grid.history import HISTORY, history_of

ASK_EVERY_NS: Final = 100_000_000
PATIENCE_NS: Final = 2_000_000_000  # without progress


class Retriever:
    """Fetches for one subscriber, one range at a time.

    Args:
        client: name of the subscriber.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._asks = 0
        self._ask_ns = 0
        self._until_ns: int | None = None  # none: nothing is being fetched

    @property
    def asked_the_source(self) -> bool:
        """Whether the last ask went to the source, which knows best what it has not."""
        return self._asks > 0 and self._asks % 2 == 0

    def begin(self, now_ns: int) -> bool:
        """Something is missing; say whether that is new."""
        if self._until_ns is not None:
            return False
        self._asks = 0
        self.progress(now_ns)
        return True

    def progress(self, now_ns: int) -> None:
        """Some of it has come: ask on at once."""
        self._ask_ns = now_ns
        self._until_ns = now_ns + PATIENCE_NS

    def turn(self, now_ns: int) -> None:
        """One of the two has it not: ask the other at once."""
        self._ask_ns = now_ns

    def end(self) -> None:
        """Nothing is missing any more."""
        self._until_ns = None

    def expired(self, now_ns: int) -> bool:
        """Whether it has been tried for too long."""
        return self._until_ns is None or now_ns >= self._until_ns

    def ask(
        self, stream: tuple[str, int, str], first: int, last: int, now_ns: int
    ) -> wire.Fetch | None:
        """Return what is to be sent for a range of (source, epoch, topic), if it is time."""
        if now_ns < self._ask_ns:
            return None
        self._ask_ns = now_ns + ASK_EVERY_NS
        self._asks += 1
        at = HISTORY if self._asks % 2 else history_of(stream[0])
        return wire.Fetch(at, self._client, *stream, first, last)
