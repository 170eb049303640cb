"""How often the best of many, chosen on one half of time, is none of the better on the other half.

Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado and Zhu 2017, The
Probability of Backtest Overfitting, Journal of Computational Finance 20(4)).
"""

from functools import cache
from itertools import combinations
from math import comb
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

BLOCKS: Final = 16
_LEAST_PERIODS: Final = 4  # in a block
_AT_ONCE: Final = 1 << 21


class Overfitting(msgspec.Struct, frozen=True, kw_only=True):
    """What choosing by the past was worth; itself a noisy figure where there is little to choose.

    Attributes:
        probability: that the best in sample ranks in the lower half out of sample; near 0.5 where
            trials differ by luck, near 0 where one is better.
        loss: probability that the best in sample has a negative ratio out of sample.
        slope: of the ratio out of sample on that in sample, of the best: performance degradation.
        in_sample: mean Sharpe ratio of a period of the best, in sample.
        out_of_sample: the same trials' mean ratio out of sample.
        trials: columns compared.
        blocks: parts of time.
        splits: ways to halve them.
    """

    probability: float
    loss: float
    slope: float
    in_sample: float
    out_of_sample: float
    trials: int
    blocks: int
    splits: int


def cross_validate(returns: Floats, blocks: int = BLOCKS) -> Overfitting | None:
    """Return what choosing the best of these trials by one half of time says about the other.

    Every half of the blocks of time serves once to choose and its complement to judge.

    Args:
        returns: float64 [n, trials], of the same periods.
        blocks: an even number of parts; fewer are used where they would hold under 4 periods.

    Returns:
        None of a single trial, or of fewer than 16 periods.
    """
    blocks = _blocks(returns, blocks)
    if not blocks:
        return None
    ins, outs, ranks = _chosen(returns, blocks)
    trials = returns.shape[1]
    # the logit of rank / (trials + 1) is 0 or less where that is 1/2 or less
    lower = ranks / (trials + 1.0) <= 0.5
    spread = float(((ins - ins.mean()) ** 2).sum())
    slope = float(((ins - ins.mean()) * (outs - outs.mean())).sum()) / spread if spread else 0.0
    return Overfitting(
        probability=float(lower.mean()),
        loss=float((outs < 0.0).mean()),
        slope=slope,
        in_sample=float(ins.mean()),
        out_of_sample=float(outs.mean()),
        trials=trials,
        blocks=blocks,
        splits=len(ins),
    )


def logits(returns: Floats, blocks: int = BLOCKS) -> Floats:
    """Return the logit of the best one's rank out of sample for each split: float64 [splits].

    Of `cross_validate`'s splits, none where that returns None; those of 0 or less are its
    probability of overfitting.
    """
    blocks = _blocks(returns, blocks)
    if not blocks:
        return np.empty(0)
    _, _, ranks = _chosen(returns, blocks)
    share = ranks / (returns.shape[1] + 1.0)
    return np.asarray(np.log(share / (1.0 - share)))


def _blocks(returns: Floats, blocks: int) -> int:
    n, trials = returns.shape
    blocks = min(blocks, n // _LEAST_PERIODS) // 2 * 2
    return 0 if trials < 2 or blocks < 4 else blocks


def _chosen(returns: Floats, blocks: int) -> tuple[Floats, Floats, Floats]:
    """Return of the best of each split its ratio in sample, out of sample, and its rank there."""
    n, trials = returns.shape
    halves = _halves(blocks)
    edges = np.linspace(0, n, blocks + 1).astype(np.int64)
    sizes = np.diff(edges).astype(np.float64)
    scaled = returns / np.maximum(np.abs(returns).max(axis=0), 1e-300)  # ratios stay the same
    first = np.add.reduceat(scaled, edges[:-1], axis=0)
    second = np.add.reduceat(scaled**2, edges[:-1], axis=0)
    ratios = np.empty((len(halves), trials))
    step = max(1, _AT_ONCE // trials)
    for i in range(0, len(halves), step):
        half = halves[i : i + step]
        ratios[i : i + step] = _ratio(half @ first, half @ second, half @ sizes)
    judged = ratios[::-1]  # the complement of a half is as far from the end as it is from the start
    rows, best = np.arange(len(halves)), ratios.argmax(axis=1)
    ins, outs = ratios[rows, best], judged[rows, best]
    below, as_good = judged < outs[:, None], judged == outs[:, None]
    ranks = below.sum(axis=1) + (as_good.sum(axis=1) + 1) / 2  # the middle of those that tie
    return ins, outs, ranks


@cache
def _halves(blocks: int) -> Floats:
    halves = np.zeros((comb(blocks, blocks // 2), blocks))
    for row, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[row, list(chosen)] = 1.0
    return halves


def _ratio(first: Floats, second: Floats, periods: Floats) -> Floats:
    mean = first / periods[:, None]
    variance = np.maximum(second / periods[:, None] - mean**2, 0.0)
    varies = variance > 1e-20
    return np.where(varies, mean / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
