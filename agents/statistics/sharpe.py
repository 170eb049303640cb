"""Sharpe ratios, and how much of one is luck: of the length of a record, and of many trials.

Ratios here are of one period, not annualized, unless a name says so. Returns are float64 [n].
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

EULER_GAMMA: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True)
class Moments:
    """What the ratios below need of a record of returns.

    Attributes:
        n: number of periods.
        ratio: Sharpe ratio of a period.
        skewness: of the returns.
        kurtosis: of the returns, 3 for a normal distribution.
    """

    n: int
    ratio: float
    skewness: float = 0.0
    kurtosis: float = 3.0

    @property
    def spread(self) -> float:
        """Variance of the estimated ratio, times n - 1 (Mertens 2002)."""
        return max(
            1.0 - self.skewness * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2, 1e-12
        )


def moments(returns: Floats) -> Moments | None:
    """Return the moments of a record, None of one that does not vary or has a single period."""
    ratio = sharpe(returns)
    if ratio is None:
        return None
    z = (returns - np.mean(returns)) / np.std(returns)
    return Moments(len(returns), ratio, float(np.mean(z**3)), float(np.mean(z**4)))


def sharpe(returns: Floats) -> float | None:
    """Return mean over standard deviation of a period's returns (Sharpe 1994, eq. 1 to 3)."""
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    mean = float(np.mean(returns))
    # what is left of a constant by rounding is no deviation
    return mean / deviation if deviation > 1e-14 * abs(mean) else None


def psr(record: Moments, benchmark: float = 0.0) -> float:
    """Return the probability that the true ratio exceeds `benchmark`.

    The probabilistic Sharpe ratio (Bailey and Lopez de Prado 2012, The Sharpe Ratio Efficient
    Frontier, Journal of Risk 15(2)).
    """
    z = (record.ratio - benchmark) * math.sqrt((record.n - 1) / record.spread)
    return _NORMAL.cdf(z)


def min_track_record(record: Moments, benchmark: float = 0.0, level: float = 0.95) -> float | None:
    """Return the periods after which this ratio would exceed `benchmark` at `level`.

    The minimum track record length (Bailey and Lopez de Prado 2012); None where the ratio
    does not exceed the benchmark, for then no length would do.
    """
    excess = record.ratio - benchmark
    if excess <= 0.0:
        return None
    return 1.0 + record.spread * (_NORMAL.inv_cdf(level) / excess) ** 2


def expected_maximum(trials: float) -> float:
    """Return what the best of independent draws from a standard normal distribution is worth.

    E[max] of N draws, to the second order of extreme value theory (Bailey, Borwein, Lopez de Prado
    and Zhu 2014, Pseudo-Mathematics and Financial Charlatanism, Notices of the AMS 61(5)); 0 for
    one.

    Args:
        trials: their number N, 1 or more; the effective number of dependent ones need not be whole.
    """
    if trials <= 1.0:
        return 0.0
    best = (1.0 - EULER_GAMMA) * _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    return max(0.0, best + EULER_GAMMA * _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e)))


def luck_ratio(variance: float, trials: float) -> float:
    """Return the ratio that the best of `trials` without skill is expected to show.

    The benchmark SR0 of the deflated Sharpe ratio (Bailey and Lopez de Prado 2014, The Deflated
    Sharpe Ratio, Journal of Portfolio Management 40(5)).

    Args:
        variance: of the estimated ratios among the trials.
        trials: their number, with those that failed or were stopped.
    """
    return math.sqrt(variance) * expected_maximum(trials)


def deflated(record: Moments, variance: float, trials: float) -> float:
    """Return the deflated Sharpe ratio: that the true ratio exceeds what luck gives the best trial.

    A probability: `psr` against `luck_ratio` (Bailey and Lopez de Prado 2014).
    """
    return psr(record, luck_ratio(variance, trials))


def min_backtest_years(trials: float, annual: float = 1.0) -> float:
    """Return the years below which luck alone is expected to show the best trial this ratio.

    The minimum backtest length (Bailey, Borwein, Lopez de Prado and Zhu 2014).

    Args:
        trials: their number.
        annual: annualized Sharpe ratio.
    """
    return (expected_maximum(trials) / annual) ** 2
