"""Policies that learn nothing: what a trained agent has to be compared with. NumPy only."""

import zlib
from collections.abc import Callable
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from grid.errors import ConfigError, SpecMismatch
from grid.spec import Spec

type Obs = NDArray[np.float32]

PREFIX: Final = "baseline:"
_ACCOUNT: Final = 4  # numbers at the end of an observation, position and pending first


class Constant:
    """The same target always: flat at 0, buy and hold at the highest."""

    def __init__(self, spec: Spec, target: float) -> None:
        self.spec = spec
        self.target = nearest(spec, target)

    def act(self, obs: Obs) -> float:
        """Return the target."""
        return self.target


class Random:
    """Another target, drawn evenly from the others, with a probability at each decision.

    It is a function of what it sees, like every policy: the draws come from the observation's bits
    and the seed, and what it holds is read from the account in it. So a replay can ask it again.

    Args:
        spec: for the targets there are.
        change: probability of a change.
        seed: of the draws.
    """

    def __init__(self, spec: Spec, change: float, seed: int = 0) -> None:
        self.spec = spec
        self._seed = seed
        self._change = change

    @classmethod
    def trading(cls, spec: Spec, turnover: float, seed: int = 0) -> Self:
        """Return one that trades as much as another policy, so that it pays the same costs.

        Args:
            spec: for the targets there are.
            turnover: mean change of the other's target at a decision, without its sign.
            seed: of the draws.
        """
        step = mean_change(spec)
        return cls(spec, min(1.0, turnover / step) if step else 0.0, seed)

    def act(self, obs: Obs) -> float:
        """Return the target, changed or not."""
        position, pending = obs[-_ACCOUNT], obs[1 - _ACCOUNT]
        held = nearest(self.spec, float(position) + float(pending))
        rng = np.random.default_rng([self._seed, zlib.crc32(obs.tobytes())])
        if rng.random() >= self._change:
            return held
        rule = self.spec.target
        if rule.kind == "continuous":
            return float(rng.uniform(-1.0, 1.0))
        others = [level for level in rule.levels if level != held] or [held]
        return others[int(rng.integers(len(others)))]


class Momentum:
    """A rule: the sign of the return over the past rows, long after a rise, short after a fall.

    It reads the feature `log_return:n` with the largest n in the newest row of the observation,
    or else `momentum:n`, and takes the normalization off again.

    Raises:
        SpecMismatch: the spec has no such feature.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.feature = max(
            (f for f in spec.features if f.split(":")[0] in ("log_return", "momentum")),
            key=_rank,
            default="",
        )
        if not self.feature:
            raise SpecMismatch(
                f"{PREFIX}momentum reads a feature log_return:n or momentum:n, "
                f"found {', '.join(spec.features)}"
            )
        column = spec.features.index(self.feature)
        self._at = (spec.window - 1) * len(spec.features) + column
        self._mean, self._std = spec.mean[column], spec.std[column]
        self._up, self._down = nearest(spec, 1.0), nearest(spec, -1.0)

    def act(self, obs: Obs) -> float:
        """Return the highest target after a rise, the lowest otherwise."""
        rise = float(obs[self._at]) * self._std + self._mean
        return self._up if rise > 0 else self._down


def load(name: str, spec: Spec) -> Constant | Random | Momentum:
    """Return the baseline called `baseline:flat`, `hold`, `random` or `momentum`.

    Raises:
        ConfigError: there is no such baseline.
    """
    made: dict[str, Callable[[], Constant | Random | Momentum]] = {
        "flat": lambda: Constant(spec, 0.0),
        "hold": lambda: Constant(spec, 1.0),
        "random": lambda: Random(spec, change=0.1),
        "momentum": lambda: Momentum(spec),
    }
    short = name.removeprefix(PREFIX)
    if short not in made:
        raise ConfigError(f"unknown baseline {short!r}; there are: {', '.join(made)}")
    return made[short]()


def mean_change(spec: Spec) -> float:
    """Return how far apart two targets of `Random` are on average, one after the other."""
    if spec.target.kind == "continuous":
        return 2.0 / 3.0  # of two even draws from -1 to 1
    levels = np.unique(spec.target.levels)
    apart = np.abs(levels[:, None] - levels[None, :]).sum()
    return float(apart) / (len(levels) * (len(levels) - 1)) if len(levels) > 1 else 0.0


def nearest(spec: Spec, target: float) -> float:
    """Return the target that the spec's rule allows and that lies nearest to `target`."""
    if spec.target.kind == "discrete":
        return min(spec.target.levels, key=lambda level: abs(level - target))
    return min(1.0, max(-1.0, target))


def _rank(feature: str) -> tuple[bool, int]:
    name, _, n = feature.partition(":")
    return name == "log_return", int(n or 1)
