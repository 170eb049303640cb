"""How often intervals and verdicts are right, on records whose truth is known.

Intervals of records beside those that take returns for independent, of seeds beside what they
promise; verdicts beside the best trial's own
probabilistic Sharpe ratio, as if there had been no other.
"""

import math
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.bench.report import Row
from agents.statistics import sharpe as ratios
from agents.statistics.blocks import interval, resample
from agents.statistics.judge import judge
from agents.statistics.scores import stratified
from agents.statistics.verdict import WORTH

type Floats = NDArray[np.float64]

TIMES: Final = 100
DRAWS: Final = 300
DAYS, PER_YEAR = 1_000, 252.0
TRIALS: Final = 24
_SURE: Final = 0.95


def run() -> list[Row]:
    """Return shares in percent: of records covered, of walks claimed, of signals found."""
    rows = [_covered(f"covered, autocorrelation {phi:g}", phi) for phi in (0.0, 0.3, 0.5)]
    rows += [_seeded(f"covered, {seeds} seeds", seeds) for seeds in (3, 5, 10)]
    rows += [_claimed(f"walks claimed, correlation {rho:g}", rho, 0.0) for rho in (0.0, 0.5, 0.9)]
    rows += [
        _claimed(f"found, a Sharpe ratio of {annual:g}", 0.0, annual) for annual in (1.5, 2.0, 2.5)
    ]
    return rows


def _covered(name: str, phi: float) -> Row:
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    for _ in range(TIMES):
        shocks = rng.standard_normal(DAYS // 2)
        x = np.array(list(accumulate(shocks.tolist(), lambda last, new: phi * last + new)))
        for i, length in enumerate((None, 1.0)):
            drawn = resample(x, length=length, draws=DRAWS).sharpe[:, 0]
            found = interval(ratios.sharpe(x) or 0.0, drawn)
            inside[i] += found.low <= 0.0 <= found.high
    blocks, single = (100.0 * inside / TIMES).tolist()
    return Row.of(name, blocks, "% of records", single)


def _seeded(name: str, seeds: int) -> Row:
    """Count intervals of the interquartile mean over the seeds of one fold that hold the truth."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4 * TIMES):
        found = stratified(rng.standard_normal((seeds, 1)), draws=DRAWS)
        inside += found.low <= 0.0 <= found.high
    return Row.of(name, 25.0 * inside / TIMES, "% of grids", 95.0)


def _claimed(name: str, rho: float, annual: float) -> Row:
    """Count grids of which an edge is claimed; where there is one, half of the trials churn."""
    claimed = alone = 0
    for seed in range(TIMES):
        rng = np.random.default_rng(seed)
        common, own = rng.standard_normal((DAYS, 1)), rng.standard_normal((DAYS, TRIALS))
        grid = math.sqrt(rho) * common + math.sqrt(1.0 - rho) * own
        if annual:
            grid[:, TRIALS // 2 :] -= 0.3
            grid[:, 0] += annual / math.sqrt(PER_YEAR)
        claimed += judge(grid, PER_YEAR, draws=DRAWS).grade == WORTH
        best = max(filter(None, map(ratios.moments, grid.T)), key=lambda m: m.ratio)
        alone += ratios.psr(best) > _SURE
    return Row.of(name, 100.0 * claimed / TIMES, "% of grids", 100.0 * alone / TIMES)
