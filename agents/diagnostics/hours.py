"""When in the day a policy was exposed, and what each hour earned."""

import msgspec
import numpy as np

from agents.metrics import Track

_HOUR_NS = 3_600_000_000_000


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """By the 24 hours of the day, UTC, in which a step begins.

    Attributes:
        steps: in each hour.
        exposure: mean of position notional over equity, without its sign.
        net: the same with its sign.
        log_return: sum of it.
    """

    steps: tuple[int, ...]
    exposure: tuple[float, ...]
    net: tuple[float, ...]
    log_return: tuple[float, ...]


def hours(track: Track) -> Hours:
    """Return a track by hour of day."""
    hour = (track.ts_ns[:-1] // _HOUR_NS % 24).astype(np.int64)
    held = track.position_qty[1:] * track.price[1:] * track.multiplier / track.equity[:-1]
    steps = np.bincount(hour, minlength=24)
    many = np.maximum(steps, 1)
    growth = np.log(np.maximum(track.equity, 1e-300))
    return Hours(
        steps=tuple(steps.tolist()),
        exposure=tuple((np.bincount(hour, np.abs(held), 24) / many).tolist()),
        net=tuple((np.bincount(hour, held, 24) / many).tolist()),
        log_return=tuple(np.bincount(hour, np.diff(growth), 24).tolist()),
    )
