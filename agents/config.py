"""One TOML file describes a training run; a wrong one dies here, before anything starts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agents.hyperparameters import (
    PPO,
    Algo,
    Count,
    MaskablePPO,
    NonNegative,
    Positive,
    RecurrentPPO,
    algo_name,
)
from envs.schemes import Orders, Weights
from grid import config
from grid.dataset import to_ns
from grid.errors import DataError
from grid.spec import TargetRule
from grid.venue import Venue

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, dots, dashes and underscores, beginning with a "
        "letter or digit",
    ),
]
Features = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
Window = Annotated[int, msgspec.Meta(ge=1, le=4096)]
type Span = tuple[str, str]


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows to learn from, and which to keep unseen.

    The rows just before a span warm its features up; nothing is decided or learned on them, so the
    two spans may touch.

    Attributes:
        dataset: name of a dataset.
        train: half-open span to learn from, two ISO dates or times, UTC.
        test: half-open span held out; must not overlap `train`.
    """

    dataset: Name
    train: Span
    test: Span


class EnvConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent sees, does and is rewarded for.

    Attributes:
        features: names with parameters, as in `log_return:5`.
        target: the action rule; with a `market` none, which has an action in its place.
        window: feature rows in one observation.
        every: rows from one decision to the next.
        timer_s: in place of `every`, a decision on each multiple of so many seconds since which
            there is a new quote, trade or row of depth; with a market on any rows; 0 for none.
        bar: bars to make of a dataset of quotes (BID, ASK, MID) or trades (LAST), as in
            `1-MINUTE-MID`; empty to take the dataset's rows.
        steps: decisions in a training episode.
        reward: name of the reward.
        reward_scale: factor of the reward; `auto` makes the one-decision log return of a full
            position have a deviation of 1 over the training rows.
        capital: starting balance, in account currency.
        clip: bound of every number in an observation.
        by_reference: let row numbers travel in place of windows, which the network gathers from the
            features on its device: the same result, far smaller buffers.
    """

    features: Features
    target: TargetRule | None = None
    window: Window = 16
    every: Count = 1
    timer_s: NonNegative = 0.0
    bar: str = ""
    steps: Count = 390
    reward: str = "log_equity"
    reward_scale: Positive | Literal["auto"] = "auto"
    capital: Positive = 100_000.0
    clip: Positive = 5.0
    by_reference: bool = False


class ViewConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One more dataset that the agent sees, and may trade.

    Attributes:
        dataset: its name.
        name: of the view; the dataset's without it. No two views have the same.
        features: those of `env` without them.
        window: feature rows in one observation; that of `env` without it.
        bar: bars to make of it, as `env.bar`.
        traded: whether its instrument is traded, and not only seen.
    """

    dataset: Name
    name: Name | None = None
    features: Features | None = None
    window: Window | None = None
    bar: str = ""
    traded: bool = True


class MarketConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is traded where it is not one position in one instrument: see `envs.market`.

    `data.dataset` with `env.features`, `env.window` and `env.bar` is the first view; decisions are
    counted on its rows.

    Attributes:
        action: weights of several instruments, or orders one by one.
        views: the others, in order.
        trades: datasets of trades beside the quotes of what is traded: limits fill on them, and
            their queues move.
    """

    action: Weights | Orders
    views: tuple[ViewConfig, ...] = ()
    trades: tuple[Name, ...] = ()


class RunSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long, how wide, where.

    Attributes:
        total_steps: decisions in all envs together; PPO rounds up to whole rollouts.
        n_envs: envs, each in a process of its own if there are several.
        checkpoint_every_steps: length of a segment: each begins from its checkpoint alone.
        device: `auto` takes a GPU where there is one.
    """

    total_steps: Count
    n_envs: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    checkpoint_every_steps: Count = 10_240
    device: Literal["auto", "cpu", "cuda"] = "auto"


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training run, complete.

    Attributes:
        name: of the run, and of its folder.
        data: which rows.
        env: observation, action, reward.
        algo: the algorithm, chosen by `name`, and its parameters.
        run: length and width.
        seed: of everything random.
        venue: costs and rules of the simulated venue.
        market: several instruments, or orders one by one, in place of `env.target`.
    """

    name: Name
    data: DataConfig
    env: EnvConfig
    algo: Algo
    run: RunSection
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    venue: Venue = Venue()
    market: MarketConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what each key allows and the whole does not; msgspec adds nothing to the text."""
        train, test = (_span(f"data.{k}", getattr(self.data, k)) for k in ("train", "test"))
        if train[0] < test[1] and test[0] < train[1]:
            raise ValueError(
                f"key data.test: expected no overlap with data.train {list(self.data.train)}, "
                f"found {list(self.data.test)}"
            )
        if self.env.timer_s and self.env.every != 1:
            raise ValueError("key env.timer_s: expected 0 beside env.every")
        if isinstance(self.algo, PPO):
            if self.algo.n_steps * self.run.n_envs < 2:
                raise ValueError("key algo.n_steps: expected 2 or more with one env, found 1")
            if self.algo.batch_size < 2:
                name = algo_name(self.algo)
                raise ValueError(f"key algo.batch_size: expected 2 or more for {name}, found 1")
        if isinstance(self.algo, RecurrentPPO) and self.algo.transformer is not None:
            raise ValueError("key algo.transformer: expected none for RecurrentPPO")
        if self.market is None:
            self._check_target()
        else:
            self._check_market(self.market)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all datasets, each once, the first view's first."""
        names = [self.data.dataset]
        if self.market is not None:
            names += [*(view.dataset for view in self.market.views), *self.market.trades]
        return tuple(dict.fromkeys(names))

    def _check_target(self) -> None:
        """Refuse what does not fit one position."""
        rule, name = self.env.target, algo_name(self.algo)
        if rule is None:
            raise ValueError("key env.target: expected one, or a table market with an action")
        if isinstance(self.algo, MaskablePPO):
            raise ValueError(
                "key algo.name: expected one without masks for env.target, which has no impossible "
                "action, found MaskablePPO"
            )
        if self.env.timer_s and self.env.bar:
            raise ValueError("key env.timer_s: expected 0 beside env.bar")
        needed = {"dqn": "discrete", "sac": "continuous"}.get(name, rule.kind)
        if rule.kind != needed:
            raise ValueError(
                f"key env.target.kind: expected {needed} for algo {name}, found {rule.kind}"
            )
        if rule.kind == "discrete" and len(rule.levels) < 2:
            raise ValueError("key env.target.levels: expected two levels or more")
        if self.venue.account == "cash" and (rule.kind != "discrete" or min(rule.levels) < 0):
            raise ValueError(
                "key env.target: expected discrete levels of 0 or more, for a cash account "
                "cannot go short"
            )

    def _check_market(self, market: MarketConfig) -> None:
        """Refuse what does not fit several instruments, or orders."""
        if self.env.target is not None:
            raise ValueError("key env.target: expected none beside market.action, found both")
        if self.env.by_reference:
            raise ValueError("key env.by_reference: expected false with a market, found true")
        if self.algo.transformer is not None:
            raise ValueError(
                "key algo.transformer: expected none with a market, whose windows differ in shape"
            )
        if self.venue.account == "cash":
            raise ValueError(
                "key venue.account: expected margin with a market, for a cash account cannot go "
                "short"
            )
        kind, name = market.action.__struct_config__.tag, algo_name(self.algo)
        fit = ("ppo", "RecurrentPPO", "sac" if kind == "weights" else "MaskablePPO")
        if name not in fit:
            raise ValueError(
                f"key algo.name: expected one of {', '.join(fit)} for market.action of kind "
                f"{kind}, found {name}"
            )
        names = [self.data.dataset, *(v.name or v.dataset for v in market.views)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(
                f"key market.views: expected another name for each view, found {twice[0]} twice"
            )


def load(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run's TOML file, with `section.key=value` overrides laid over it.

    Raises:
        ConfigError: with the file and the path of the key.
    """
    return config.load(path, RunConfig, overrides)


def _span(key: str, span: Span) -> tuple[int, int]:
    try:
        start, end = to_ns(span[0]), to_ns(span[1])
    except DataError as e:
        raise ValueError(f"key {key}: {e}") from e
    if start >= end:
        raise ValueError(f"key {key}: expected a start before the end, found {list(span)}")
    return start, end
