"""Features of time, in UTC: where in the day and week a row lies, how long after the last."""

from typing import Final

import numpy as np

from envs.features.kernel import Floats, Rows, feature

_NS_PER_S: Final = 1e9
_NS_PER_DAY: Final = 86_400_000_000_000
_NS_PER_WEEK: Final = 7 * _NS_PER_DAY
_MONDAY_NS: Final = 4 * _NS_PER_DAY  # the first one after 1970-01-01, a Thursday


@feature("sine", ("ts_event",), lambda: 1)
def hour_sin(rows: Rows) -> Floats:
    """Time of day on a circle from midnight: its sine."""
    return np.asarray(np.sin(_angle(rows, 0, _NS_PER_DAY)))


@feature("cosine", ("ts_event",), lambda: 1)
def hour_cos(rows: Rows) -> Floats:
    """Time of day on a circle from midnight: its cosine."""
    return np.asarray(np.cos(_angle(rows, 0, _NS_PER_DAY)))


@feature("sine", ("ts_event",), lambda: 1)
def week_sin(rows: Rows) -> Floats:
    """Time of week on a circle from Monday's midnight: its sine."""
    return np.asarray(np.sin(_angle(rows, _MONDAY_NS, _NS_PER_WEEK)))


@feature("cosine", ("ts_event",), lambda: 1)
def week_cos(rows: Rows) -> Floats:
    """Time of week on a circle from Monday's midnight: its cosine."""
    return np.asarray(np.cos(_angle(rows, _MONDAY_NS, _NS_PER_WEEK)))


@feature("log seconds", ("ts_event",), lambda: 2)
def elapsed(rows: Rows) -> Floats:
    """Log of 1 plus the seconds since the row before: what shows a gap, or a busy market."""
    ts = rows["ts_event"]
    return np.asarray(np.log1p((ts[1:] - ts[:-1]).astype(np.float64) / _NS_PER_S))


def _angle(rows: Rows, start_ns: int, period_ns: int) -> Floats:
    share = ((rows["ts_event"] - start_ns) % period_ns).astype(np.float64) / period_ns
    return np.asarray(share * (2.0 * np.pi))
