"""The judge: from the records of all trials to a verdict, a pure function."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from agents.statistics import sharpe as ratios
from agents.statistics.blocks import DRAWS, block_length, interval, resample
from agents.statistics.luck import luck, not_better
from agents.statistics.overfitting import cross_validate
from agents.statistics.verdict import LEVEL, NOTHING, Beside, Holdout, Verdict, graded
from grid.errors import DataError

type Floats = NDArray[np.float64]


def judge(
    returns: Floats,
    per_year: float,
    *,
    tried: int | None = None,
    baselines: Mapping[str, Floats] | None = None,
    holdout: tuple[Floats, Mapping[str, Floats]] | None = None,
    chosen: int | None = None,
    seeds: int | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Verdict:
    """Return what the best of these trials is worth.

    An edge is claimed when the best of so many trials without skill would show such a ratio in
    fewer than `level` of cases, the deflated ratio passes 1 - `level`, and every baseline is beaten
    at `level`. It holds when a single test at `level` on the holdout confirms it there and no
    baseline does better.

    Args:
        returns: float64 [n, trials], simple returns of the same unseen periods after costs, a
            column each configuration: its folds joined, its seeds averaged.
        per_year: periods in a year.
        tried: trials begun, at least those with a record; failed and stopped ones count.
        baselines: name to float64 [n].
        holdout: returns of the best or chosen one, float64 [m], and baselines on the holdout.
        chosen: column of the trial that was chosen without these returns; by default the best by
            them is judged. It is compared with the best of luck all the same.
        seeds: of each configuration, for a word of caution.
        level: probability of an error that is allowed in each test.
        draws: of each bootstrap.
        seed: of the draws.

    Raises:
        DataError: there are too few periods, a return is not finite, or lengths differ.
    """
    baselines = baselines or {}
    records = returns.shape[1] if returns.ndim == 2 else 0
    _check("trials", returns, len(returns))
    for name, column in baselines.items():
        _check(name, column, len(returns))
    tried = records if tried is None else tried
    if tried < records:
        raise DataError(f"verdict: expected at least {records} trials, found {tried} tried")
    root = float(np.sqrt(per_year))
    found = luck(returns, draws=draws, seed=seed)
    picked = found.best if chosen is None else chosen
    best = returns[:, picked]
    record = ratios.moments(best) or ratios.Moments(len(best), 0.0)
    expected = ratios.luck_ratio(found.variance, tried)
    drawn = resample(best, draws=draws, seed=seed).sharpe[:, 0]
    length = block_length(best)
    beside = {
        name: Beside(
            sharpe=_scaled(ratios.sharpe(column), root),
            chance=not_better(best, column, length=length, draws=draws, seed=seed),
        )
        for name, column in baselines.items()
    }
    needed = ratios.min_track_record(record, expected, 1.0 - level)
    draft = Verdict(
        grade=NOTHING,
        line="",
        reasons=(),
        tried=tried,
        records=records,
        effective=found.effective,
        chosen=picked,
        sharpe=interval(record.ratio, drawn).scaled(root),
        chance=found.chance(tried, picked),
        luck_sharpe=expected * root,
        psr=ratios.psr(record),
        deflated=ratios.psr(record, expected),
        years=len(best) / per_year,
        min_years=None if needed is None else needed / per_year,
        overfitting=cross_validate(returns),
        beside=beside,
        holdout=None if holdout is None else _held(*holdout, root, draws, seed),
        level=level,
        by_best=chosen is None,
    )
    return graded(draft, seeds)


def _held(
    returns: Floats, baselines: Mapping[str, Floats], root: float, draws: int, seed: int
) -> Holdout:
    _check("holdout", returns, len(returns))
    found = luck(returns[:, None], draws=draws, seed=seed)
    drawn = resample(returns, draws=draws, seed=seed).sharpe[:, 0]
    return Holdout(
        sharpe=interval(float(found.ratios[0]), drawn).scaled(root),
        chance=found.chance(1),
        beside={n: _scaled(ratios.sharpe(column), root) for n, column in baselines.items()},
        years=len(returns) / root**2,
    )


def _check(name: str, returns: Floats, n: int) -> None:
    if returns.size == 0 or len(returns) != n or n < 8:
        raise DataError(
            f"verdict: expected {max(n, 8)} periods or more of {name}, found {len(returns)}"
        )
    if not np.isfinite(returns).all():
        raise DataError(f"verdict: expected finite returns of {name}, found one that is not")


def _scaled(ratio: float | None, root: float) -> float | None:
    return None if ratio is None else ratio * root
