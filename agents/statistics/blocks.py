"""Resampling one record of returns in blocks, for returns depend on those before them.

The stationary bootstrap (Politis and Romano 1994): blocks begin anywhere, have lengths of a
geometric distribution, and wrap around the end. With blocks of one length it is the circular
bootstrap (Politis and Romano 1992). Only sums are resampled, so a draw costs one product of
matrices and no copy of the record.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

DRAWS: Final = 1_000
_MOST_CELLS: Final = 4_096
_AT_ONCE: Final = 1 << 20  # numbers of a chunk of draws: 8 MB


class Interval(msgspec.Struct, frozen=True):
    """A figure and where it would lie in 95 of 100 such records, or at another stated level."""

    low: float
    value: float
    high: float

    def scaled(self, factor: float) -> "Interval":
        """Return the interval in another unit."""
        return Interval(self.low * factor, self.value * factor, self.high * factor)


@dataclass(frozen=True)
class Resampled:
    """Mean and standard deviation of a period's returns in each draw: float64 [draws, records].

    Attributes:
        mean: of the returns.
        deviation: of the returns, 0 where they do not vary.
    """

    mean: Floats
    deviation: Floats

    @property
    def sharpe(self) -> Floats:
        """Sharpe ratio of a period in each draw, 0 where returns do not vary."""
        tiny = 1e-14 * np.abs(self.mean)
        varies = self.deviation > tiny
        return np.where(varies, self.mean / np.where(varies, self.deviation, 1.0), 0.0)


def resample(
    returns: Floats,
    *,
    length: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    circular: bool = False,
) -> Resampled:
    """Return the moments of `draws` resampled records, all of which take the same periods.

    A record of more than 4,096 periods is cut into as many cells of consecutive periods, which
    blocks do not divide.

    Args:
        returns: float64 [n] or [n, records], simultaneous.
        length: mean length of a block, in periods; by default what `block_length` finds on average.
        draws: how many.
        seed: of the draws.
        circular: give all blocks the same length.
    """
    columns = returns.reshape(len(returns), -1)
    n = len(columns)
    if length is None:
        length = float(np.mean([block_length(column) for column in columns.T]))
    per_cell = -(-n // _MOST_CELLS)
    edges = np.arange(0, n, per_cell)
    # moments about the mean: sums of squares about 0 would lose a small deviation to rounding
    centre = columns.mean(axis=0)
    first = np.add.reduceat(columns - centre, edges, axis=0)
    second = np.add.reduceat((columns - centre) ** 2, edges, axis=0)
    sizes = np.diff(np.append(edges, n)).astype(np.float64)
    rng = np.random.default_rng(seed)
    means, deviations = [], []
    for counts in _counts(len(edges), max(1.0, length / per_cell), draws, rng, circular):
        periods = (counts @ sizes)[:, None]
        mean = counts @ first / periods
        variance = (counts @ second / periods - mean**2) * periods / np.maximum(periods - 1, 1)
        means.append(centre + mean)
        deviations.append(np.sqrt(np.maximum(variance, 0.0)))
    return Resampled(np.concatenate(means), np.concatenate(deviations))


def interval(value: float, drawn: Floats, level: float = 0.95) -> Interval:
    """Return the percentile interval of drawn values, float64 [draws], around a value."""
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), value, float(high))


def block_length(returns: Floats) -> float:
    """Return the mean block that the stationary bootstrap of a record needs, in periods.

    Politis and White 2004, Automatic Block-Length Selection for the Dependent Bootstrap, with the
    correction of Patton, Politis and White 2009: 1 for independent returns, longer the longer they
    depend on each other, at most 3 sqrt(n) or n / 3.
    """
    n = len(returns)
    x = returns - returns.mean()
    variance = float(x @ x) / n
    if n < 8 or variance == 0.0:
        return 1.0
    quiet = max(5, int(math.log10(n)))  # so many small autocorrelations end the search
    most = math.ceil(math.sqrt(n)) + quiet
    lags = min(most, n - 1)
    covariance = np.array([float(x[lag:] @ x[: n - lag]) / n for lag in range(lags + 1)])
    small = np.abs(covariance[1:]) < 2.0 * math.sqrt(math.log10(n) / n) * variance
    runs = np.convolve(small, np.ones(quiet), mode="valid") == quiet
    # the first of the small ones, as in the authors' own program; the text stops one earlier
    cut = int(np.argmax(runs)) + 1 if runs.any() else lags
    width = min(2 * cut, lags)
    at = np.arange(1, width + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - at / width))  # trapezoid
    weighted = 2.0 * window * covariance[1 : width + 1]
    slope, spectrum = float(at @ weighted), variance + float(weighted.sum())
    if spectrum <= 0.0:  # far from what the formula is made for
        return 1.0
    best = (slope**2 / spectrum**2 * n) ** (1.0 / 3.0)
    return float(min(max(best, 1.0), math.ceil(min(3.0 * math.sqrt(n), n / 3.0))))


def _counts(
    n: int, length: float, draws: int, rng: np.random.Generator, circular: bool
) -> Iterator[Floats]:
    """Yield how often each cell is in each draw: float64 [some draws, n], rows of sum n."""
    length = min(length, float(n))
    step = max(1, _AT_ONCE // (2 * n))
    for begun in range(0, draws, step):
        rows = min(step, draws - begun)
        blocks = _lengths(n, length, rows, rng, circular)
        ends = np.minimum(np.cumsum(blocks, axis=1), n)
        taken = np.diff(ends, axis=1, prepend=0)  # the last block ends with the record
        starts = rng.integers(0, n, blocks.shape)
        row = np.arange(rows)[:, None] * (2 * n + 1)
        change = np.bincount((row + starts).ravel(), minlength=rows * (2 * n + 1)).astype(np.int64)
        change -= np.bincount((row + starts + taken).ravel(), minlength=rows * (2 * n + 1))
        laid = np.cumsum(change.reshape(rows, 2 * n + 1), axis=1)[:, : 2 * n]
        yield (laid[:, :n] + laid[:, n:]).astype(np.float64)


def _lengths(
    n: int, length: float, rows: int, rng: np.random.Generator, circular: bool
) -> NDArray[np.int64]:
    if circular:
        whole = max(1, round(length))
        return np.full((rows, -(-n // whole)), whole, dtype=np.int64)
    expected = n / length
    drawn = rng.geometric(1.0 / length, (rows, math.ceil(expected + 4.0 * math.sqrt(expected)) + 4))
    while (drawn.sum(axis=1) < n).any():
        drawn = np.hstack([drawn, rng.geometric(1.0 / length, drawn.shape)])
    return drawn
