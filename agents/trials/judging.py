"""A checkpoint on a span of its dataset: the track that it leaves, and what it was worth.

In a thread of its own, for a thread can have one engine, and the trainer's has one already.
"""

import math
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.checkpoint import Checkpoint, load_tensors, save_tensors
from agents.config import Span
from agents.metrics import Track, measure
from agents.policy import OnnxPolicy
from agents.trials.trial import Scores
from grid.dataset import Dataset, to_ns
from grid.home import Home

FIGURES: Final = (
    "log_return", "sharpe", "sortino", "max_drawdown", "turnover", "trades", "fees", "exposure",
    "in_market", "periods_per_year", "steps",
)  # fmt: skip
_ARRAYS: Final = (
    "ts_ns", "price", "equity", "position_qty", "fees", "traded", "fills", "targets", "gross"
)  # fmt: skip


def judge(checkpoint: Checkpoint, home: Home, span: Span, beat: Callable[[], None]) -> Track:
    """Play a checkpoint over a span of its dataset, as `agents.evaluation` does.

    Args:
        checkpoint: what acts.
        home: where the dataset is.
        span: half-open, two ISO times.
        beat: called at every step.

    Raises:
        DataError: the span holds too few rows.
        EngineError: the engine failed.
    """
    found: list[Track] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(_play(checkpoint, home, span, beat))
        except BaseException as e:
            failed.append(e)

    import_module("envs.trading")  # the engine crashes where a thread is the first to load it
    thread = threading.Thread(target=work, name="judge")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def scores(track: Track) -> Scores:
    """Return the figures of a track; who never trades has a Sharpe ratio of 0 here, not none."""
    metrics = measure(track)
    said = {name: getattr(metrics, name) for name in FIGURES}
    plain = {k: 0.0 if v is None else float(v) for k, v in said.items()}
    return {k: v if math.isfinite(v) else None for k, v in plain.items()}


def to_bytes(tracks: dict[str, Track]) -> bytes:
    """Return tracks as the bytes of a safetensors file: NAME/FIELD arrays."""
    tensors = {
        f"{name}/{field}": getattr(track, field)
        for name, track in tracks.items()
        for field in _ARRAYS
    }
    more = {
        f"{name}/more": np.array([track.multiplier, float(track.ruined)])
        for name, track in tracks.items()
    }
    return save_tensors({**tensors, **more})


def from_bytes(content: bytes, where: Path) -> dict[str, Track]:
    """Return the tracks in such a file.

    Raises:
        CheckpointError: it is none.
    """
    tensors = load_tensors(content, where)
    names = {key.partition("/")[0] for key in tensors}
    return {
        name: Track(
            **{f: tensors[f"{name}/{f}"] for f in _ARRAYS if f"{name}/{f}" in tensors},
            multiplier=float(tensors[f"{name}/more"][0]),
            ruined=bool(tensors[f"{name}/more"][1]),
        )
        for name in sorted(names)
    }


def _play(checkpoint: Checkpoint, home: Home, span: Span, beat: Callable[[], None]) -> Track:
    from agents.evaluation import run
    from envs.made_bars import seen
    from envs.trading import TradingEnv

    if checkpoint.manifest.market is not None:
        return _play_market(checkpoint, home, span, beat)
    policy = OnnxPolicy(checkpoint)
    m = checkpoint.manifest
    dataset = seen(Dataset.find(home.datasets, m.data.name), m.spec)
    rows = dataset.rows_between(to_ns(span[0]), to_ns(span[1]))
    env = TradingEnv(dataset, policy.spec, m.venue, rows=rows)
    try:
        bar: Any = _Bar(beat)
        return run(env, policy, bar)
    finally:
        env.close()
        del env  # by the thread that made it


def _play_market(checkpoint: Checkpoint, home: Home, span: Span, beat: Callable[[], None]) -> Track:
    from agents import market_policy
    from agents.market_episode import datasets_of, env_of, run, span_of

    m = checkpoint.manifest
    # a grid's trials read datasets without the holdout, which is judged on whole ones
    env = env_of(m, datasets_of(m, home, proved=False), span_of(m, span))
    try:
        bar: Any = _Bar(beat)
        return run(env, market_policy.load(checkpoint), bar).track
    finally:
        env.close()
        del env


class _Bar:
    """Takes the place of a progress bar."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self.update = beat
