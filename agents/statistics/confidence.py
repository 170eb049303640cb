"""How sure the figures of one record are: intervals for dependent returns, and lengths needed."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.statistics import sharpe as ratios
from agents.statistics.blocks import DRAWS, Interval, block_length, interval, resample

type Floats = NDArray[np.float64]


class Confidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one record says about the truth behind it, at 95 %.

    Attributes:
        sharpe: annualized, None of a record that does not vary.
        total_return: over as long a time.
        min_years: length from which such a Sharpe ratio would exceed 0 with a probability of 95 %;
            None where none would do.
        block: mean length of the blocks that were drawn, in periods.
    """

    sharpe: Interval | None
    total_return: Interval | None
    min_years: float | None
    block: float


def confidence(
    returns: Floats, per_year: float, *, draws: int = DRAWS, seed: int = 0
) -> Confidence:
    """Return the intervals of a record by the stationary bootstrap.

    Args:
        returns: float64 [n], simple returns.
        per_year: periods in a year.
        draws: resampled records.
        seed: of the draws.
    """
    record = ratios.moments(returns)
    if record is None or float(returns.min()) <= -1.0:  # nothing is left to have a log
        return Confidence(sharpe=None, total_return=None, min_years=None, block=1.0)
    length, n, logs = block_length(returns), len(returns), np.log1p(returns)
    both = np.stack([returns, logs], axis=1)
    drawn = resample(both, length=length, draws=draws, seed=seed)
    needed = ratios.min_track_record(record)
    return Confidence(
        sharpe=interval(record.ratio, drawn.sharpe[:, 0]).scaled(math.sqrt(per_year)),
        total_return=interval(math.expm1(float(logs.sum())), np.expm1(n * drawn.mean[:, 1])),
        min_years=None if needed is None or per_year <= 0 else needed / per_year,
        block=length,
    )
