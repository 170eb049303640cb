"""The same check for a `MarketEnv`: several datasets with one past and other futures.

Everything after a time is altered in every dataset. Features, observations, masks, account, reward
and fills up to that time must be equal, the normalization of every view must not change with what
comes after the training, and no order may fill at a price that was on view when it was given.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.lookahead.altered import altered, pause_of
from envs.lookahead.compare import compare_features
from envs.lookahead.market_fills import check_market_fills
from envs.lookahead.market_play import compare_episodes, draw, play
from envs.lookahead.report import Report
from envs.market import MarketEnv
from grid.dataset import Dataset
from grid.errors import ConfigError, DataError

type Datasets = Mapping[str, Dataset]

_TAIL: Final = 4  # decisions beyond the last one played, in the engine's window but not reached
_DIRECTIONS: Final = (1, -1)


@dataclass(frozen=True)
class MarketSubject:
    """What is checked.

    Attributes:
        datasets: all that the env is made of, under any names.
        train_end_ns: UNIX ns; rows at this time or later are not for learning.
        build: an env of these datasets with episodes of so many steps.
    """

    datasets: Datasets
    train_end_ns: int
    build: Callable[[Datasets, int], MarketEnv]


def check_market(
    subject: MarketSubject, *, cuts: int = 4, steps: int = 200, seed: int = 0
) -> Report:
    """Play `subject` with several futures and compare.

    Args:
        subject: datasets, and how their env is made.
        cuts: times after which everything is altered, each in two directions; one is the end of
            training, the others are decisions after it, drawn at random.
        steps: decisions played before each cut.
        seed: of the times, the actions and the futures.

    Raises:
        ConfigError: nothing is to be played.
        DataError: there are too few decisions.
    """
    if cuts < 1 or steps < 1:
        raise ConfigError(f"expected at least one cut and one step, found {cuts} and {steps}")
    rng = np.random.default_rng(seed)
    with closing(subject.build(subject.datasets, steps + _TAIL)) as env:
        chosen = _cuts(subject, env, cuts, steps, rng)
        actions = [draw(env, steps, int(rng.integers(2**31))) for _ in chosen]
        played = [play(env, cut.at - steps, a) for cut, a in zip(chosen, actions, strict=True)]
        views, markets, venue, resting = env.views, env.markets, env.venue, env.scheme.resting
    report = Report(len(chosen) * len(_DIRECTIONS))
    _check_normalization(subject, env, seed, report)
    for cut, again, before in zip(chosen, actions, played, strict=True):
        check_market_fills(markets, venue, resting, before, report)
        for direction in _DIRECTIONS:
            seed += 1
            future = _after(subject.datasets, cut.after_ns, direction, seed)
            with closing(subject.build(future, steps + _TAIL)) as other:
                after = play(other, cut.at - steps, again)
            for view, theirs in zip(views, other.views, strict=True):
                row = int(view.rows_at(np.array([cut.after_ns]))[0])
                compare_features(
                    view.pipeline, view.dataset, theirs.dataset, row, report,
                    where=f"{view.name}.",
                )  # fmt: skip
            compare_episodes(views, before, after, report)
    return report


class _Cut(NamedTuple):
    """The number of the last decision that is played, and the time after which all is altered."""

    at: int
    after_ns: int


def _cuts(
    subject: MarketSubject, env: MarketEnv, cuts: int, steps: int, rng: np.random.Generator
) -> list[_Cut]:
    """Cuts with room on both sides, no training row after them and no traded bar half gone."""
    times_ns = env.times_ns
    end_ns = subject.train_end_ns - 1
    last = int(np.searchsorted(times_ns, end_ns, side="right")) - 1
    found = [_Cut(last, end_ns)] if _between_bars(env, np.array([end_ns]))[0] else []
    later = np.flatnonzero((times_ns > end_ns) & _between_bars(env, times_ns))
    highest = len(times_ns) - 1 - _TAIL
    later = later[(later >= steps) & (later <= highest)]
    if not steps <= last <= highest or not len([*found, *later]):
        raise DataError(
            f"expected {steps} decisions or more before the end of training and {_TAIL} after it, "
            f"found {last + 1} and {len(times_ns) - last - 1}"
        )
    others = rng.choice(later, cuts - len(found)).tolist() if len(later) else []
    return found + [_Cut(at, int(times_ns[at])) for at in others]


def _between_bars(env: MarketEnv, times_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether no traded bar has begun before each time and closes after it."""
    between = np.ones(len(times_ns), dtype=np.bool_)
    for market in env.markets:
        if market.manifest.kind == "bars":
            closes = np.append(market.columns["ts_event"], np.iinfo(np.int64).max)
            following = closes[np.searchsorted(closes, times_ns, side="right")]
            between &= following - market.manifest.interval_ns >= times_ns
    return between


def _after(datasets: Datasets, cut_ns: int, direction: int, seed: int) -> dict[str, Dataset]:
    future = {}
    # the same pause in all, or one ends before another goes on
    pause_ns = pause_of(datasets.values(), np.random.default_rng(seed))
    for n, (name, dataset) in enumerate(datasets.items()):
        row = int(np.searchsorted(dataset.columns["ts_event"], cut_ns, side="right")) - 1
        future[name] = altered(dataset, row, direction, seed * len(datasets) + n, pause_ns)
    return future


def _check_normalization(subject: MarketSubject, env: MarketEnv, seed: int, report: Report) -> None:
    """What comes after training must not change what the views have learned from it."""
    report.note("normalization", 0)
    for direction in _DIRECTIONS:
        future = _after(subject.datasets, subject.train_end_ns - 1, direction, seed)
        with closing(subject.build(future, 1)) as other:
            pairs = list(zip(env.views, other.views, strict=True))
        for ours, theirs in pairs:
            mine, his = ours.pipeline.spec, theirs.pipeline.spec
            fitted = zip(mine.mean, mine.std, his.mean, his.std, strict=True)
            for name, (mean, std, other_mean, other_std) in zip(mine.features, fitted, strict=True):
                equal = (mean, std) == (other_mean, other_std)
                said = f"that of {ours.name}.{name} changes with rows after the training"
                report.note("normalization", 1, "" if equal else said)
