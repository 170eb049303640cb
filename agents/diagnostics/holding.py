"""How long positions were held, and on which side."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.metrics import Track


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Of the spells in which a position kept its side.

    Attributes:
        spells: their number.
        won: share of them in which equity rose; None without any.
        mean_steps: decisions that one lasted.
        median_steps: the same.
        longest_steps: the same.
        median_s: seconds that one lasted.
        lengths: upper bounds of steps, 1, 2, 4, 8 and so on, as bins.
        counts: spells in each bin.
        long: share of time on the long side.
        short: share of time on the short side.
    """

    spells: int
    won: float | None
    mean_steps: float
    median_steps: float
    longest_steps: int
    median_s: float
    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    long: float
    short: float


def holding(track: Track) -> Holding:
    """Return how a track held; a position is held from the row after its decision on."""
    side = np.sign(track.position_qty[1:])
    first, last = spells(side)
    # equity where it began and where it was over, if the track goes on that long
    over = np.minimum(last + 2, track.steps)
    steps = last - first + 1
    seconds = (track.ts_ns[last + 1] - track.ts_ns[first]) / 1e9
    longest = int(steps.max(initial=0))
    bins = 2 ** np.arange(max(longest - 1, 0).bit_length() + 1)
    counts = np.bincount(np.searchsorted(bins, steps), minlength=len(bins))
    some = len(first) > 0
    return Holding(
        spells=len(first),
        won=float(np.mean(track.equity[over] > track.equity[first])) if some else None,
        mean_steps=float(steps.mean()) if some else 0.0,
        median_steps=float(np.median(steps)) if some else 0.0,
        longest_steps=longest,
        median_s=float(np.median(seconds)) if some else 0.0,
        lengths=tuple(bins.tolist()),
        counts=tuple(counts.tolist()),
        long=float(np.mean(side > 0)),
        short=float(np.mean(side < 0)),
    )


def spells(side: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and last index of every run of one side, those without a position left out."""
    change = np.flatnonzero(np.diff(side)) + 1
    first = np.concatenate([[0], change])
    last = np.concatenate([change, [len(side)]]) - 1
    held = side[first] != 0
    return first[held].astype(np.int64), last[held].astype(np.int64)
