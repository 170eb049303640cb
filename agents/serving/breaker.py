"""When to ask a server that fails, and when not to. Pure: events and times in, leave out."""

from typing import Final, Literal

type State = Literal["closed", "open", "half-open"]

_NS_PER_MS: Final = 1_000_000


class Breaker:
    """A circuit breaker: after failures in a row nobody asks for a while, then one does.

    The while doubles with each try that fails, up to a bound (Nygard, *Release It!*, 2007).

    Args:
        failures: in a row that open it.
        wait_ms: for the first while.
        max_wait_ms: for the longest.

    Attributes:
        opened: how often it has opened.
    """

    def __init__(
        self, failures: int = 5, wait_ms: float = 500.0, max_wait_ms: float = 10_000.0
    ) -> None:
        self.opened = 0
        self._limit = failures
        self._first_ns = round(wait_ms * _NS_PER_MS)
        self._most_ns = round(max_wait_ms * _NS_PER_MS)
        self._wait_ns = self._first_ns
        self._failed = 0  # in a row
        self._until_ns = 0
        self._trying = False

    def state(self, now_ns: int) -> State:
        """Return what it is."""
        if self._failed < self._limit:
            return "closed"
        return "open" if now_ns < self._until_ns or self._trying else "half-open"

    def allows(self, now_ns: int) -> bool:
        """Say whether to ask now; half-open, it lets one through and waits for what comes of it."""
        state = self.state(now_ns)
        self._trying = state == "half-open"
        return state != "open"

    def succeeded(self) -> None:
        """Take an answer: it is closed."""
        self._failed = 0
        self._wait_ns = self._first_ns
        self._trying = False

    def failed(self, now_ns: int) -> None:
        """Take a failure."""
        self._failed = min(self._failed + 1, self._limit)
        if self._failed == self._limit:
            self.opened += 1
            self._until_ns = now_ns + self._wait_ns
            self._wait_ns = min(2 * self._wait_ns, self._most_ns)
        self._trying = False


class RetryBudget:
    """Retries as a share of what is asked, so that a server in trouble gets no flood of them.

    Args:
        share: of a retry that each request adds.
        most: retries that are kept for later.
    """

    def __init__(self, share: float = 0.1, most: float = 10.0) -> None:
        self._share = share
        self._most = most
        self._left = min(1.0, most) if share else 0.0

    def asked(self) -> None:
        """Count a request that is no retry."""
        self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        """Take a retry, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
