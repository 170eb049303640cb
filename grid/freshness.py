"""How fresh is what comes from a source, by its heartbeats. Pure; monotonic time is given.

A source that was silent for three heartbeats is stale until one comes. How old an event is, nobody
can tell from wall clocks, which differ and jump; but heartbeats come in line with the events and
carry the source's uptime, and how far that falls behind our own clock is how far we are behind.
"""

from typing import Final, Literal

STALE_NS: Final = 3_000_000_000
LAG_NS: Final = 2_000_000_000  # behind by more: skip to the present
_CAUGHT_UP_NS: Final = LAG_NS // 4
_CREEP_NS: Final = 500_000  # in a heartbeat's time no two clocks drift apart as far


class Freshness:
    """Of one source in one epoch.

    Attributes:
        state: `fresh`; `stale` after a silence, until a heartbeat comes; `lagging` from a heartbeat
            that is too old to one that is not.

    Args:
        now_ns: when something was last heard of it.
    """

    def __init__(self, now_ns: int) -> None:
        self.state: Literal["fresh", "stale", "lagging"] = "fresh"
        self._heard_ns = now_ns
        self._offset_ns: int | None = None  # the least seen between our clock and the uptime

    def renew(self, now_ns: int) -> None:
        """Begin afresh at `now_ns`, with what is known of the clocks."""
        self.state = "fresh"
        self._heard_ns = now_ns

    def heard(self, now_ns: int) -> None:
        """Something came."""
        self.passed(now_ns)
        self._heard_ns = now_ns

    def passed(self, now_ns: int) -> None:
        """Time has passed."""
        if now_ns - self._heard_ns > STALE_NS and self.state == "fresh":
            self.state = "stale"

    def beat(self, uptime_s: float, now_ns: int) -> None:
        """A heartbeat came."""
        offset_ns = now_ns - round(uptime_s * 1e9)
        known_ns = offset_ns if self._offset_ns is None else self._offset_ns
        self._offset_ns = min(offset_ns, known_ns + _CREEP_NS)
        behind_ns = offset_ns - self._offset_ns
        limit_ns = _CAUGHT_UP_NS if self.state == "lagging" else LAG_NS
        self.state = "lagging" if behind_ns > limit_ns else "fresh"
