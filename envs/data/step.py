"""How often a book is looked at: every so many events, or on the multiples of a time."""

import re
from typing import Final, NamedTuple

import numpy as np

from grid.dataset import LAST, Columns
from grid.errors import DataError
from grid.venue import Ints

_NS: Final = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_WORDS: Final = {"us": "MICROSECOND", "ms": "MILLISECOND", "s": "SECOND", "m": "MINUTE"}
_STEP: Final = re.compile(r"([1-9]\d*)(us|ms|s|m)?")


class Step(NamedTuple):
    """One of the two is 0."""

    name: str  # as in 100-MILLISECOND-BOOK
    events: int
    interval_ns: int


def parse(text: str) -> Step:
    """Read `50`, in events, or `100ms`, `1s`, `5m`.

    Raises:
        DataError: it is neither.
    """
    match = _STEP.fullmatch(text)
    if not match:
        raise DataError(
            f"every {text!r}: expected a number of events, as in 50, or a time, as in 100ms, 1s, 5m"
        )
    count, unit = int(match[1]), match[2]
    if unit is None:
        return Step(f"{count}-EVENT-BOOK", count, 0)
    return Step(f"{count}-{_WORDS[unit]}-BOOK", 0, count * _NS[unit])


def named(name: str) -> Step:
    """Return the step whose name that is."""
    count, word, _ = name.split("-")
    units = {long: short for short, long in _WORDS.items()}
    return parse(count + units.get(word, ""))


def rows_at(events: Columns, step: Step) -> tuple[Ints, Ints]:
    """Return for each row how many events it knows of, and its time, UNIX ns; times rise.

    A row stands after the last event of a packet. By events it has that event's time. By time it
    has the end of its interval, for nobody knows before that no more will come; an interval without
    events has no row.
    """
    ends = np.flatnonzero(events["flags"] & LAST) + 1
    ts = events["ts_event"][ends - 1]
    length_ns = step.interval_ns
    times = -(-ts // length_ns) * length_ns if length_ns else ts
    newest = np.ones(len(times), np.bool_)
    newest[:-1] = times[1:] != times[:-1]
    ends, times = ends[newest], times[newest]
    if step.events > 1:
        due = np.diff(ends // step.events, prepend=0) > 0
        ends, times = ends[due], times[due]
    return ends, times
