"""What a recording is made of: rows as they were at a time, and how they are looked up.

Times are nanoseconds since the recording began: small enough for every reader of JSON.
"""

from bisect import bisect_left, bisect_right
from copy import copy
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from grid.gateway import rows

type Cause = Literal["decision", "fill", "control", "began"]

by_time: Final[Any] = attrgetter("t_ns")
by_number: Final[Any] = attrgetter("n")


@dataclass(slots=True)
class Candle:
    """Market events of a topic, as one: prices of a quote are the middle of bid and ask."""

    ts_event_ns: int
    open: float
    high: float
    low: float
    close: float
    events: int = 1


@dataclass(slots=True)
class Moment:
    """Strategy, ledger and position after something has changed them."""

    cause: Cause
    strategy: rows.Strategy
    account: rows.Account | None
    position: rows.Position | None


@dataclass(slots=True)
class Ended:
    """A decision, and how it ended at `ended_ns` of the recording; None while it was open."""

    decision: rows.Decision
    ended_ns: int | None = None


@dataclass(slots=True)
class Timed[Row]:
    """A row, and when it was so: `t_ns` since the recording began; numbers rise."""

    n: int
    t_ns: int
    row: Row


@dataclass(slots=True)
class TopicOf:
    """A market topic of a recording; `every` events of it are one candle."""

    topic: str
    instrument_id: str
    kind: str
    events: int = 0
    every: int = 1
    candles: int = 0


@dataclass(slots=True)
class Count:
    """How many there are in the recording, and how many of these are told."""

    recorded: int = 0
    told: int = 0


@dataclass(slots=True)
class Snapshot:
    """What was so at a time of the recording."""

    t_ns: int
    strategy: rows.Strategy | None
    account: rows.Account | None
    position: rows.Position | None
    decision: rows.Decision | None
    topic: str
    price: float | None
    price_ts_event_ns: int | None
    fills: int
    fees: float
    currency: str


def decision_at(ended: Ended, t_ns: int) -> rows.Decision:
    """Return a decision as it was known at a time: it may have been open still."""
    if ended.ended_ns is not None and ended.ended_ns <= t_ns:
        return ended.decision
    found = copy(ended.decision)
    found.how = found.target = found.agent_id = found.reason = None
    return found


def between[Row](
    found: list[Timed[Row]], from_ns: int, until_ns: int | None, after_n: int, limit: int
) -> tuple[list[Timed[Row]], int | None]:
    """Return rows of a span of time, behind number `after_n`, and the number to go on after.

    Args:
        found: in order.
        from_ns: of the span, since the recording began.
        until_ns: of it, not included; None for the end.
        after_n: number of the last row that was told; 0 at first.
        limit: rows at most.
    """
    low = bisect_left(found, from_ns, key=by_time)
    low = max(low, bisect_right(found, after_n, key=by_number))
    high = len(found) if until_ns is None else bisect_left(found, until_ns, key=by_time)
    cut = found[low : min(high, low + limit)]
    return cut, cut[-1].n if cut and low + limit < high else None


def last[Row](found: list[Timed[Row]], t_ns: int) -> Row | None:
    """Return the last row that was so at a time, None before the first."""
    at = bisect_right(found, t_ns, key=by_time)
    return found[at - 1].row if at else None
