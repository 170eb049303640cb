"""Arrival prices: what stood on view when a fill's order was decided on."""

from collections import deque

from envs.rewards import Executed


class Arrivals:
    """Remembers each change of target until its fills are in.

    An order reaches the venue `latency_ns` after its decision. So a fill belongs to the latest
    change that could have reached the venue by then: an order in flight keeps its own arrival
    price, however often the target changes behind it.

    Args:
        latency_ns: from a decision to the venue.
        multiplier: account currency for one unit at a price of one.
    """

    def __init__(self, latency_ns: int, multiplier: float) -> None:
        self._latency_ns = latency_ns
        self._multiplier = multiplier
        self.begin()

    def begin(self) -> None:
        """Start an episode without a target."""
        self._target: float | None = None
        self._changes: deque[tuple[int, float]] = deque()  # at the venue from, arrival price

    def decided(self, ts_ns: int, target: float, px: float) -> None:
        """Take a decision: its time, its target and the price that it saw."""
        if target != self._target:
            self._target = target
            self._changes.append((ts_ns + self._latency_ns, px))

    def executed(self, ts_ns: int, signed_qty: float, px: float, commission: float) -> Executed:
        """Return a fill beside its arrival price; fills must come in order."""
        changes = self._changes
        while len(changes) > 1 and changes[1][0] <= ts_ns:
            changes.popleft()
        return Executed(signed_qty, px, changes[0][1], commission, self._multiplier)
