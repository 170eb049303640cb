"""How often the best of many trials without any skill would look as good as the best of these."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.statistics.blocks import DRAWS, resample
from agents.statistics.sharpe import sharpe

type Floats = NDArray[np.float64]

_NORMAL: Final = NormalDist()
_TAIL: Final = 0.05


@dataclass(frozen=True)
class Luck:
    """What chance does to the ratios of some trials, their dependence on each other kept.

    Attributes:
        ratios: float64 [trials], Sharpe ratio of a period, 0 of a trial that never traded.
        errors: float64 [trials], standard error of each, of dependent and not normal returns.
        effective: number of independent trials whose best would be as lucky as the best of these.
    """

    ratios: Floats
    errors: Floats
    effective: float

    @property
    def best(self) -> int:
        """Column of the highest ratio."""
        return int(self.ratios.argmax())

    @property
    def variance(self) -> float:
        """Variance of the ratios that chance explains.

        That among the trials, as Bailey and Lopez de Prado (2014) take it, but no more than a
        trial's own mean squared error: trials that differ by more differ in truth, by their costs
        say, and that one of them is bad is no reason to doubt another.
        """
        chance = float(np.mean(self.errors**2))
        return min(float(np.var(self.ratios, ddof=1)), chance) if len(self.ratios) > 1 else chance

    def chance(self, tried: int, column: int | None = None) -> float:
        """Return the probability that the best of `tried` trials without skill is as good.

        As the best of these, or as the one in `column`.

        White 2000, A Reality Check for Data Snooping, with ratios over their errors for statistic.
        The bootstrap distribution of the highest one under the null is that of `effective`
        independent normal draws in its upper twentieth, which so reaches as far as is asked for.
        Trials without a record count as much as those with one.
        """
        column = self.best if column is None else column
        error = float(self.errors[column])
        if error == 0.0:
            return 1.0
        z = float(self.ratios[column]) / error
        draws = self.effective * max(1.0, tried / len(self.ratios))
        # 1 - cdf(z) ** draws, without losing a small one to rounding
        beyond = _NORMAL.cdf(-z)
        return -math.expm1(draws * math.log1p(-min(beyond, 1.0 - 1e-16)))


def luck(
    returns: Floats, *, length: float | None = None, draws: int = DRAWS, seed: int = 0
) -> Luck:
    """Return what chance does to trials, by the stationary bootstrap of all of them together.

    Args:
        returns: float64 [n, trials], of the same periods.
        length: mean length of a block, chosen from the returns by default.
        draws: resampled records.
        seed: of the draws.
    """
    ratios = np.array([sharpe(column) or 0.0 for column in returns.T])
    drawn = resample(returns, length=length, draws=draws, seed=seed).sharpe - ratios
    errors = drawn.std(axis=0)
    active = errors > 0.0
    if not active.any():
        return Luck(ratios, errors, 1.0)
    highest = (drawn[:, active] / errors[active]).max(axis=1)
    # cdf ** m is the distribution of the highest of m; fitted where it is asked, in the upper tail
    far = _NORMAL.cdf(float(np.quantile(highest, 1.0 - _TAIL)))
    effective = math.log(1.0 - _TAIL) / math.log(min(max(far, 1e-12), 1.0 - 1e-12))
    effective = min(max(effective, 1.0), float(active.sum()))
    return Luck(ratios, errors, effective)


def not_better(
    ours: Floats,
    theirs: Floats,
    *,
    length: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """Return the probability of so much higher a Sharpe ratio than another's if ours is not higher.

    One-sided, by the stationary bootstrap of both records together (after Ledoit and Wolf 2008,
    Robust Performance Hypothesis Testing with the Sharpe Ratio).

    Args:
        ours: float64 [n].
        theirs: float64 [n], of the same periods.
        length: mean length of a block, chosen from the returns by default.
        draws: resampled records.
        seed: of the draws.
    """
    both = np.stack([ours, theirs], axis=1)
    found = (sharpe(ours) or 0.0) - (sharpe(theirs) or 0.0)
    drawn = resample(both, length=length, draws=draws, seed=seed).sharpe
    error = float((drawn[:, 0] - drawn[:, 1]).std())
    if error == 0.0:
        return 1.0 if found <= 0.0 else 0.0
    return _NORMAL.cdf(-found / error)
