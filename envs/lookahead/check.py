"""Plays an env's past with several futures and compares, bit for bit.

The env plays recorded actions up to a row, on the dataset and on copies whose rows after it are
altered. Features, account, reward and fills up to that row must be equal; what was learned from
the training rows must not change with the rows after them; and no order may fill at a price that
was on view when it was decided on.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from envs.fitting import timed_rows
from envs.lookahead.altered import altered
from envs.lookahead.compare import compare_episodes, compare_features
from envs.lookahead.fills import check_fills
from envs.lookahead.play import Patient, Repeat, play
from envs.lookahead.report import Report
from envs.pipeline import Pipeline
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.errors import ConfigError, DataError
from grid.spec import Spec

_TAIL: Final = 4  # decisions beyond the last one played, in the engine's window but not reached
_FEWER: Final = 4  # times that, where the future moves decisions
_DIRECTIONS: Final = (1, -1)


class Learned(NamedTuple):
    """What comes from the training rows."""

    spec: Spec
    reward_scale: float


@dataclass(frozen=True)
class Subject:
    """What is checked.

    Attributes:
        dataset: all its rows are played on.
        train_rows: half-open range that `learn` may look at.
        learn: from a dataset, what training fits.
        build: an env over all rows of a dataset, with episodes of so many steps.
    """

    dataset: Dataset
    train_rows: tuple[int, int]
    learn: Callable[[Dataset], Learned]
    build: Callable[[Dataset, Learned, int], TradingEnv]


def check(subject: Subject, *, cuts: int = 4, steps: int = 500, seed: int = 0) -> Report:
    """Play `subject` with several futures and compare.

    Args:
        subject: dataset, and how its env is made.
        cuts: rows after which everything is altered, each in two directions; one is the last
            training row, the others are drawn at random.
        steps: decisions played before each cut, fewer if the dataset is short.
        seed: of the rows, the actions and the futures.

    Raises:
        ConfigError: nothing is to be played.
        DataError: the dataset is too short to play.
    """
    if cuts < 1 or steps < 1:
        raise ConfigError(f"expected at least one cut and one step, found {cuts} and {steps}")
    dataset = subject.dataset
    learned = subject.learn(dataset)
    pipeline = Pipeline(learned.spec)
    rng = np.random.default_rng(seed)
    steps, spans = _spans(subject, pipeline, cuts, steps, rng)
    report = Report(len(spans) * len(_DIRECTIONS))
    _check_normalization(subject, learned, seed, report)
    with contextlib.closing(subject.build(dataset, learned, steps + _TAIL)) as env:
        played = [play(env, start, Patient(env, rng), steps) for start, _ in spans]
        venue = env.venue
    for before in played:
        check_fills(dataset, venue, before, report)
        for direction in _DIRECTIONS:
            seed += 1
            future = altered(dataset, before.rows[-1], direction, seed)
            compare_features(pipeline, dataset, future, before.rows[-1], report)
            with contextlib.closing(subject.build(future, learned, steps + _TAIL)) as env:
                after = play(env, before.rows[0], Repeat(before.actions), steps)
            compare_episodes(pipeline, before, after, report)
    return report


def _spans(
    subject: Subject, pipeline: Pipeline, cuts: int, steps: int, rng: np.random.Generator
) -> tuple[int, list[tuple[int, int]]]:
    """The steps that can be played before each cut, and the rows of first decision and cut."""
    spec, lo, every = pipeline.spec, pipeline.warmup - 1, pipeline.spec.every
    manifest, train_end = subject.dataset.manifest, subject.train_rows[1] - 1
    points = np.arange(lo, manifest.rows)  # rows on which a decision may be taken
    if spec.timer_ns:
        points, _ = timed_rows(np.asarray(subject.dataset.columns["ts_event"]), lo, spec.timer_ns)
    # another future holds fewer decisions by time
    highest = len(points) - 1 - _TAIL * every * (_FEWER if spec.timed else 1)
    last_trained = int(np.searchsorted(points, train_end, side="right")) - 1
    at_train_end = [last_trained] if last_trained <= highest else []
    steps = min(steps, min([highest, *at_train_end]) // every)
    if steps < 1:
        raise DataError(
            f"{manifest.name}: expected rows for one decision before the end of training and "
            f"{_TAIL} after it, beyond {lo} rows of warm-up, found {manifest.rows} rows"
        )
    others = rng.integers(steps * every, highest + 1, max(0, cuts - len(at_train_end)))
    chosen = np.array(at_train_end + others.tolist())
    spans = zip(points[chosen - steps * every].tolist(), points[chosen].tolist(), strict=True)
    return steps, list(spans)


def _check_normalization(subject: Subject, learned: Learned, seed: int, report: Report) -> None:
    last = subject.train_rows[1] - 1
    spec = learned.spec
    said = f"changes with rows after {last}, the last of training"
    report.note("normalization", 0)
    if last >= subject.dataset.manifest.rows - 1:
        return  # there is nothing after the training rows
    for direction in _DIRECTIONS:
        other = subject.learn(altered(subject.dataset, last, direction, seed))
        fitted = zip(spec.mean, spec.std, other.spec.mean, other.spec.std, strict=True)
        for name, (mean, std, other_mean, other_std) in zip(spec.features, fitted, strict=True):
            equal = (mean, std) == (other_mean, other_std)
            report.note("normalization", 1, "" if equal else f"that of {name} {said}")
        equal = learned.reward_scale == other.reward_scale
        report.note("reward scale", 1, "" if equal else said)
