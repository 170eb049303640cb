"""What a report plays once more: baselines on the test spans, and the chosen one in other worlds.

Everything is played as the trials were judged: the same rows, costs and env.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import gymnasium
import numpy as np

from agents import market_episode, market_policy, market_rivals
from agents.checkpoint import Checkpoint
from agents.config import Span
from agents.episode import run
from agents.market_episode import datasets_of, env_of, span_of
from agents.market_policy import MarketPolicy
from agents.metrics import Track
from agents.policy import OnnxPolicy, Policy
from agents.rivals import rivals
from agents.sensitivity import worlds
from agents.trials.results import TrialResult
from envs.delay import Delayed
from envs.made_bars import seen
from envs.trading import TradingEnv
from grid.dataset import Dataset, to_ns
from grid.errors import ConfigError
from grid.home import Home
from grid.venue import Venue

TRAINING: Final = "in training"
_SEEDED: Final = ("random", "untrained")  # the others do the same whatever the seed

type Tell = Callable[[str], None]


@dataclass
class Played:
    """Tracks by name, then by seed, then by fold, the oldest first.

    Attributes:
        baselines: beside the trials of the chosen configuration.
        worlds: of one seed of it.
        notes: of the baselines, a sentence each.
    """

    baselines: dict[str, dict[int, list[Track]]] = field(default_factory=dict)
    worlds: dict[str, list[Track]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Stage:
    """A checkpoint and its dataset, to play on.

    Args:
        checkpoint: of a trial.
        home: where the dataset is.
    """

    def __init__(self, checkpoint: Checkpoint, home: Home) -> None:
        self.policy: Any = OnnxPolicy(checkpoint)
        self.manifest = checkpoint.manifest
        self._home = home

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, as the agent sees it."""
        return seen(Dataset.find(self._home.datasets, self.manifest.data.name), self.manifest.spec)

    def rows(self, span: Span) -> tuple[int, int]:
        """Return the rows of a span."""
        return self.dataset.rows_between(to_ns(span[0]), to_ns(span[1]))

    def learned(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Return the last rows that it learned from, as many as those."""
        first, last = self.manifest.data.train_rows
        return max(first, last - (rows[1] - rows[0])), last

    def rivals(self, track: Track, seed: int) -> tuple[dict[str, Any], list[str]]:
        """Return the baselines by name, and what is to be said of them."""
        found, notes = rivals(self.manifest, track, seed)
        return dict(found), notes

    def play(
        self,
        policy: Policy,
        rows: tuple[int, int],
        venue: Venue | None = None,
        delay: int = 0,
    ) -> Track:
        """Return the track of a policy.

        Raises:
            ConfigError: this world cannot be on these data.
            EngineError: the engine failed.
        """
        env = TradingEnv(self.dataset, self.policy.spec, venue or self.manifest.venue, rows=rows)
        acted: gymnasium.Env[Any, Any] = Delayed(env, delay) if delay else env
        try:
            return run(acted, policy)
        finally:
            env.close()
            del env, acted  # a thread can have one engine


class MarketStage:
    """The same on several instruments or by orders; its rows are spans of time, UNIX ns.

    Args:
        checkpoint: of a trial.
        home: where the datasets are.
    """

    def __init__(self, checkpoint: Checkpoint, home: Home) -> None:
        self.policy: Any = market_policy.load(checkpoint)
        self.manifest = checkpoint.manifest
        self._home = home

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """The datasets, whole."""
        return datasets_of(self.manifest, self._home, proved=False)

    def rows(self, span: Span) -> tuple[int, int]:
        """Return a span in ns."""
        return span_of(self.manifest, span)

    def learned(self, rows: tuple[int, int]) -> tuple[int, int]:
        """Return the last span that it learned from, as long as that."""
        first, last = span_of(self.manifest, "train")
        return max(first, last - (rows[1] - rows[0])), last

    def rivals(self, track: Track, seed: int) -> tuple[dict[str, Any], list[str]]:
        """Return the baselines by name, and what is to be said of them."""
        found, notes = market_rivals.rivals(self.manifest, self.policy.spec, track, seed)
        return dict(found), notes

    def play(
        self,
        policy: MarketPolicy,
        rows: tuple[int, int],
        venue: Venue | None = None,
        delay: int = 0,
    ) -> Track:
        """Return the track of a policy.

        Raises:
            ConfigError: this world cannot be on these data.
            EngineError: the engine failed.
        """
        env = env_of(self.manifest, self.datasets, rows, venue)
        try:
            return market_episode.run(env, policy, delay=delay).track
        finally:
            env.close()
            del env


def stage_of(trial: TrialResult, home: Home) -> Stage | MarketStage:
    """Return where the checkpoint of a trial plays."""
    checkpoint = Checkpoint.open(trial.folder)
    kind = Stage if checkpoint.manifest.market is None else MarketStage
    return kind(checkpoint, home)


def beside(
    trials: list[TrialResult], tracks: dict[str, Track], home: Home, span: Span | None, tell: Tell
) -> Played:
    """Play the baselines of trials of one configuration, in order of their folds.

    Args:
        trials: all folds and seeds, or one fold with all seeds.
        tracks: trial -> its own track on the span, whose turnover the random one takes.
        home: where the datasets are.
        span: to play on, the test span of each by default.
        tell: called before each.
    """
    played = Played()
    first = min(t.trial.seed for t in trials)
    for t in sorted(trials, key=lambda t: (t.trial.fold, t.trial.seed)):
        stage = stage_of(t, home)
        rows = stage.rows(span or t.dates.test)
        found, notes = stage.rivals(tracks[t.trial.id], t.trial.seed)
        for name, policy in found.items():
            if t.trial.seed != first and name not in _SEEDED:
                continue
            tell(f"{name}, fold {t.trial.fold}, seed {t.trial.seed}")
            track = stage.play(policy, rows)
            played.baselines.setdefault(name, {}).setdefault(t.trial.seed, []).append(track)
        played.notes = played.notes or [n for n in notes if not n.startswith("random")]
    return played


def elsewhere(trials: list[TrialResult], home: Home, tell: Tell) -> dict[str, list[Track]]:
    """Play trials of one configuration and seed, a fold each, under other costs and delays.

    The last rows that each learned from, as many as it was judged on, are one of the worlds.
    """
    found: dict[str, list[Track]] = {}
    for t in sorted(trials, key=lambda t: t.trial.fold):
        stage = stage_of(t, home)
        lo, hi = stage.rows(t.dates.test)
        for name, venue, delay in worlds(stage.manifest):
            tell(f"{name}, fold {t.trial.fold}")
            try:
                found.setdefault(name, []).append(stage.play(stage.policy, (lo, hi), venue, delay))
            except ConfigError:  # a latency that the data cannot tell, say
                found.pop(name, None)
        tell(f"{TRAINING}, fold {t.trial.fold}")
        track = stage.play(stage.policy, stage.learned((lo, hi)))
        found.setdefault(TRAINING, []).append(track)
    folds = len(found.get(TRAINING, []))
    return {name: tracks for name, tracks in found.items() if len(tracks) == folds}


def joined(tracks: list[Track]) -> Track:
    """Return tracks one after the other as one, each trading the same size as before.

    What was earned is added up; between two tracks there is a step in which nothing happens.
    """
    shifted: list[Track] = []
    for t in tracks:
        before = shifted[-1] if shifted else None
        steps = sum(len(x.equity) for x in shifted)
        shifted.append(
            dataclasses.replace(
                t,
                equity=t.equity - t.equity[0] + (before.equity[-1] if before else t.equity[0]),
                fees=t.fees + (before.fees[-1] if before else 0.0),
                traded=t.traded + (before.traded[-1] if before else 0.0),
                fills=t.fills + np.array([0.0, 0.0, 0.0, 0.0, steps]),
                targets=np.append(t.targets, 0.0) if len(t.targets) else t.targets,
            )
        )
    fields = (
        "ts_ns", "price", "equity", "position_qty", "fees", "traded", "fills", "targets", "gross"
    )  # fmt: skip
    whole = {f: np.concatenate([getattr(t, f) for t in shifted]) for f in fields}
    kept = all(len(t.targets) for t in shifted)
    whole["targets"] = whole["targets"][:-1] if kept else np.empty(0)
    ruined = any(t.ruined for t in tracks)
    return Track(**whole, multiplier=tracks[0].multiplier, ruined=ruined)
