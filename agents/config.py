"""One TOML file describes a training run; a wrong one dies here, before anything starts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from grid import config
from grid.dataset import to_ns
from grid.errors import DataError
from grid.spec import TargetRule
from grid.venue import Venue

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="up to 64 letters, digits, dots, dashes and underscores, beginning with a "
        "letter or digit",
    ),
]
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
        target: the action rule.
        window: feature rows in one observation.
        every: rows from one decision to the next.
        timer_s: in place of `every`, a decision on each multiple of so many seconds since which
            there is a new quote or trade; 0 for none.
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

    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    target: TargetRule
    window: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 16
    every: Count = 1
    timer_s: NonNegative = 0.0
    bar: str = ""
    steps: Count = 390
    reward: str = "log_equity"
    reward_scale: Positive | Literal["auto"] = "auto"
    capital: Positive = 100_000.0
    clip: Positive = 5.0
    by_reference: bool = False


class Transformer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transformer over the window, in front of the hidden layers: see `agents.transformer`.

    Attributes:
        width: numbers a row; a multiple of `heads`.
        heads: attentions side by side.
        layers: blocks.
    """

    width: Count = 64
    heads: Count = 4
    layers: Count = 2

    def __post_init__(self) -> None:
        """Refuse a width that the heads cannot share."""
        if self.width % self.heads:
            raise ValueError(
                f"width: expected a multiple of {self.heads} heads, found {self.width}"
            )


class _Algo(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"
):
    """What all algorithms have.

    Attributes:
        net: widths of the hidden layers.
        transformer: what looks at the window before them; without it they see all numbers at once.
        learning_rate: of Adam.
        gamma: discount of a decision; a short horizon learns in far fewer steps.
        batch_size: transitions in a gradient step.
    """

    net: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (32, 32)
    transformer: Transformer | None = None
    learning_rate: Positive = 1e-3
    gamma: Share = 0.9
    batch_size: Count = 256


class PPO(_Algo, frozen=True, tag="ppo"):
    """Proximal policy optimization (Schulman et al. 2017).

    Attributes:
        n_steps: decisions of each env in a rollout.
        n_epochs: passes over a rollout.
        gae_lambda: trace decay of the advantage.
        clip_range: bound of the probability ratio's distance from 1.
        ent_coef: weight of the entropy bonus.
        vf_coef: weight of the value loss.
        max_grad_norm: gradients are clipped to this norm.
    """

    n_steps: Count = 256
    n_epochs: Count = 6
    gae_lambda: Share = 0.9
    clip_range: Positive = 0.2
    ent_coef: NonNegative = 0.0
    vf_coef: NonNegative = 0.5
    max_grad_norm: Positive = 0.5


class _OffPolicy(_Algo, frozen=True):
    """What algorithms with a replay buffer have.

    Attributes:
        buffer_size: transitions kept.
        learning_starts: decisions taken at random before the first gradient step.
        train_freq: decisions of each env between updates.
        gradient_steps: gradient steps in an update.
    """

    buffer_size: Count = 50_000
    learning_starts: Count = 1_000
    train_freq: Count = 4
    gradient_steps: Count = 1


class DQN(_OffPolicy, frozen=True, tag="dqn"):
    """Deep Q-learning (Mnih et al. 2015); discrete targets only.

    Attributes:
        target_update_interval: decisions between copies of the network to its target.
        exploration_fraction: share of the run over which random actions fade out.
        exploration_final: share of random actions that stays.
    """

    target_update_interval: Count = 500
    exploration_fraction: Share = 0.2
    exploration_final: Share = 0.02


class SAC(_OffPolicy, frozen=True, tag="sac"):
    """Soft actor-critic (Haarnoja et al. 2018); continuous targets only.

    Attributes:
        tau: step of the target network towards the network at each gradient step.
        ent_coef: weight of the entropy; `auto` learns it.
    """

    tau: Positive = 0.005
    ent_coef: Positive | Literal["auto"] = "auto"


type Algo = PPO | DQN | SAC


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
    """

    name: Name
    data: DataConfig
    env: EnvConfig
    algo: Algo
    run: RunSection
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    venue: Venue = Venue()

    def __post_init__(self) -> None:
        """Refuse what each key allows and the whole does not; msgspec adds nothing to the text."""
        train, test = (_span(f"data.{k}", getattr(self.data, k)) for k in ("train", "test"))
        if train[0] < test[1] and test[0] < train[1]:
            raise ValueError(
                f"key data.test: expected no overlap with data.train {list(self.data.train)}, "
                f"found {list(self.data.test)}"
            )
        if self.env.timer_s and (self.env.every != 1 or self.env.bar):
            raise ValueError("key env.timer_s: expected 0 beside env.every or env.bar")
        if isinstance(self.algo, PPO):
            if self.algo.n_steps * self.run.n_envs < 2:
                raise ValueError("key algo.n_steps: expected 2 or more with one env, found 1")
            if self.algo.batch_size < 2:
                raise ValueError("key algo.batch_size: expected 2 or more for ppo, found 1")
        kind = self.env.target.kind
        needed = {"dqn": "discrete", "sac": "continuous"}.get(algo_name(self.algo), kind)
        if kind != needed:
            raise ValueError(
                f"key env.target.kind: expected {needed} for algo {algo_name(self.algo)}, "
                f"found {kind}"
            )
        if kind == "discrete" and len(self.env.target.levels) < 2:
            raise ValueError("key env.target.levels: expected two levels or more")
        if self.venue.account == "cash" and (kind != "discrete" or min(self.env.target.levels) < 0):
            raise ValueError(
                "key env.target: expected discrete levels of 0 or more, for a cash account "
                "cannot go short"
            )


def load(path: Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run's TOML file, with `section.key=value` overrides laid over it.

    Raises:
        ConfigError: with the file and the path of the key.
    """
    return config.load(path, RunConfig, overrides)


def algo_name(algo: Algo) -> str:
    """Return `ppo`, `dqn` or `sac`."""
    return str(algo.__struct_config__.tag)


def _span(key: str, span: Span) -> tuple[int, int]:
    try:
        start, end = to_ns(span[0]), to_ns(span[1])
    except DataError as e:
        raise ValueError(f"key {key}: {e}") from e
    if start >= end:
        raise ValueError(f"key {key}: expected a start before the end, found {list(span)}")
    return start, end
