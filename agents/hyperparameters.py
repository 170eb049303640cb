"""The algorithms, and what a run can tell each of them."""

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]


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


class MaskablePPO(PPO, frozen=True, tag="MaskablePPO"):
    """PPO that takes no impossible action (Huang and Ontanon 2020), of sb3-contrib.

    For `env.action` of kind `orders`, whose masks it learns and acts under.
    """


class RecurrentPPO(PPO, frozen=True, tag="RecurrentPPO"):
    """PPO with an LSTM before the hidden layers (Hochreiter and Schmidhuber 1997), of sb3-contrib.

    Attributes:
        lstm_size: numbers that it remembers, of the policy and of the value each.
    """

    lstm_size: Count = 64


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


type Algo = PPO | MaskablePPO | RecurrentPPO | DQN | SAC


def algo_name(algo: Algo) -> str:
    """Return the name that a config chooses an algorithm by, as in `ppo`."""
    return str(algo.__struct_config__.tag)
