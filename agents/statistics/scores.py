"""Scores of several seeds on several tasks: what is typical of them, and how sure that is.

Agarwal, Schwarzer, Castro, Courville and Bellemare 2021, Deep Reinforcement Learning at the Edge
of the Statistical Precipice. Scores are float64 [seeds, tasks]; a task is a fold, an instrument, or
whatever else is not left to chance.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.statistics.blocks import Interval, interval

type Floats = NDArray[np.float64]

DRAWS: Final = 2_000
ENOUGH_SEEDS: Final = 10  # the intervals of fewer are too narrow: see docs/statistics.md
FEW_SEEDS: Final = 5


def interquartile_mean(scores: Floats) -> float:
    """Return the mean of the middle half of all scores: without the lowest and highest quarter."""
    flat = np.sort(scores, axis=None)
    cut = len(flat) // 4
    return float(flat[cut : len(flat) - cut].mean())


def stratified(
    *scores: Floats,
    figure: Callable[..., float] = interquartile_mean,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a figure with its stratified bootstrap interval: seeds are redrawn within each task.

    Args:
        *scores: what `figure` takes; each is resampled by itself.
        figure: of the scores.
        draws: how many.
        level: of the interval.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = np.array([figure(*(_redrawn(s, rng) for s in scores)) for _ in range(draws)])
    return interval(figure(*scores), drawn, level)


def probability_of_improvement(ours: Floats, theirs: Floats) -> float:
    """Return how likely one of our scores beats one of theirs, a tie counting half, over tasks.

    The Mann-Whitney U statistic of each task over the number of pairs (Agarwal et al. 2021).

    Args:
        ours: float64 [seeds, tasks].
        theirs: float64 [other seeds, tasks].
    """
    pairs = ours[:, None, :] - theirs[None, :, :]
    return float(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


def performance_profile(scores: Floats, thresholds: Floats) -> Floats:
    """Return the share of scores above each threshold: float64 [thresholds].

    The score distribution of Agarwal et al. 2021.
    """
    return np.asarray((scores[..., None] > thresholds).mean(axis=(0, 1)))


def profile_band(
    scores: Floats, thresholds: Floats, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> tuple[Floats, Floats]:
    """Return the pointwise stratified bootstrap band of a performance profile: low and high."""
    rng = np.random.default_rng(seed)
    drawn = [performance_profile(_redrawn(scores, rng), thresholds) for _ in range(draws)]
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return low, high


def caution(seeds: int) -> str:
    """Return what a reader must know about so many seeds, an empty string if they are enough."""
    if seeds >= ENOUGH_SEEDS:
        return ""
    said = f"{seeds} seed{'s' * (seeds != 1)}"
    if seeds < FEW_SEEDS:
        return f"{said}: not enough to tell skill from a lucky seed"
    return f"{said}: intervals over seeds are too narrow, {ENOUGH_SEEDS} would do"


def _redrawn(scores: Floats, rng: np.random.Generator) -> Floats:
    rows = rng.integers(0, len(scores), scores.shape)
    return np.asarray(np.take_along_axis(scores, rows, axis=0))
