"""How a grid's axes are walked: a searcher proposes configurations, batch by batch.

A batch is proposed when all trials of the batches before have ended, and depends on their scores
and on nothing else: not on the order in which they ended, nor on who proposed before a crash.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from agents.trials import axes
from agents.trials.axes import Point
from agents.trials.config import GridSearch, PbtSearch, RandomSearch, TrainingGrid
from agents.trials.events import Proposed
from agents.trials.trial import Configuration, Refusal, configuration, tree_of
from grid.config import dump
from grid.errors import ArgonautError, ConfigError

TRIES: Final = 200  # draws for one valid configuration


class Settled(msgspec.Struct, frozen=True):
    """A configuration whose trials have all ended; without a score if none gave one."""

    configuration: Configuration
    score: float | None


type Batches = Sequence[Sequence[Settled]]


class Searcher(Protocol):
    """Proposes configurations."""

    def next(self, batches: Batches) -> list[Configuration]:
        """Return the batch after `batches`, empty when there is no more."""


class Check(Protocol):
    """Says whether a run can be, beyond what its config alone tells."""

    def __call__(self, tree: Mapping[str, Any]) -> None:
        """Raise an ArgonautError if not."""


class Admission:
    """Turns points into configurations, and keeps those that are none.

    Args:
        grid: base, axes and exclusions.
        check: of a run's tree, beyond its config; called once for each point.

    Attributes:
        excluded: number of points that the grid excludes.
        invalid: points that make no valid run.
    """

    def __init__(self, grid: TrainingGrid, check: Check | None = None) -> None:
        self.excluded = 0
        self.invalid: list[Refusal] = []
        self._base = dump(grid.base)
        self._exclude = grid.exclude
        self._check = check

    def __call__(self, params: Point, **kin: Any) -> Configuration | None:
        """Return the configuration of a point, None if it is not to be tried."""
        try:
            tree = tree_of(self._base, params)
            if any(axes.matches(tree, partial) for partial in self._exclude):
                self.excluded += 1
                return None
            made = configuration(tree, params, **kin)
            if self._check is not None:
                self._check(tree)
        except ArgonautError as e:
            self.invalid.append(Refusal(params, str(e).removeprefix("trial: ")))
            return None
        return made


class Proposer:
    """A searcher, with an account of what it did not propose.

    Args:
        searcher: proposes.
        admit: what it asks.
    """

    def __init__(self, searcher: Searcher, admit: Admission) -> None:
        self._searcher, self._admit = searcher, admit

    def next(self, batches: Batches) -> Proposed:
        """Return the batch after `batches`, without configurations when there is no more."""
        self._admit.excluded, self._admit.invalid = 0, []
        found = self._searcher.next(batches)
        return Proposed(
            batch=len(batches),
            configurations=tuple(found),
            excluded=self._admit.excluded,
            invalid=tuple(self._admit.invalid),
        )


class Every:
    """Every point of the axes, in one batch."""

    def __init__(self, grid: TrainingGrid, admit: Admission) -> None:
        self._axes = grid.axes
        self._admit = admit

    def next(self, batches: Batches) -> list[Configuration]:
        """Return all of them at first, then none."""
        return [] if batches else _distinct(map(self._admit, axes.product(self._axes)))


class AtRandom:
    """Points at random, in one batch."""

    def __init__(self, grid: TrainingGrid, search: RandomSearch, admit: Admission) -> None:
        self._grid, self._search, self._admit = grid, search, admit

    def next(self, batches: Batches) -> list[Configuration]:
        """Return all of them at first, then none."""
        if batches:
            return []
        rng = np.random.default_rng([self._search.seed, 0])
        return draw(self._grid, self._admit, rng, self._search.configurations)


class Population:
    """Population based training: a batch is a generation.

    The worst of a generation go on from the weights of some of the best, with the parameters of
    those multiplied by a factor or drawn anew; all others go on from their own.
    """

    def __init__(self, grid: TrainingGrid, search: PbtSearch, admit: Admission) -> None:
        self._grid, self._search, self._admit = grid, search, admit
        for path in grid.axes:
            if path not in TUNABLE:
                raise ConfigError(
                    f"key axes.{path}: expected what can change while a network learns with "
                    f"search pbt, one of {', '.join(sorted(TUNABLE))}"
                )

    def next(self, batches: Batches) -> list[Configuration]:
        """Return the first or the next generation, empty after the last."""
        s, g = self._search, len(batches)
        if g == s.generations:
            return []
        rng = np.random.default_rng([s.seed, g])
        goal = {"run.total_steps": self._grid.base.run.total_steps * (g + 1) // s.generations}
        if not batches:
            first = draw(self._grid, self._admit, rng, s.population, goal)
            return [msgspec.structs.replace(c, member=m) for m, c in enumerate(first)]
        ranked = sorted(batches[-1], key=_worth, reverse=True)
        n = max(1, int(len(ranked) * s.quantile))
        best = ranked[:n]
        worst = {x.configuration.member for x in ranked[-n:]}
        worst |= {x.configuration.member for x in ranked if x.score is None}
        made = []
        for x in sorted(batches[-1], key=lambda x: x.configuration.member):
            old, parent = x.configuration, x.configuration
            params = old.params
            if old.member in worst and len(ranked) > n:
                parent = best[int(rng.integers(n))].configuration
                params = self._explore(parent.params, rng)
            kin = {"parent": parent.key, "generation": g, "member": old.member}
            child = self._admit({**params, **goal}, **kin)
            child = child or self._admit({**parent.params, **goal}, **kin)
            if child is not None:
                made.append(child)
        return made

    def _explore(self, params: Point, rng: np.random.Generator) -> Point:
        found = dict(params)
        for path, axis in self._grid.axes.items():
            values = axes.values_of(axis)
            if rng.random() < self._search.resample:
                found.update(axes.sample({path: axis}, rng))
            elif values is not None and params[path] in values:
                at = values.index(params[path]) + int(rng.choice([-1, 1]))
                found[path] = values[min(max(at, 0), len(values) - 1)]
            elif isinstance(params[path], int | float):
                moved = params[path] * self._search.factors[int(rng.integers(2))]
                found[path] = _within(moved, axis, whole=isinstance(params[path], int))
        return found


TUNABLE: Final = frozenset(
    f"algo.{key}"
    for key in (
        "learning_rate", "gamma", "batch_size", "n_epochs", "gae_lambda", "clip_range", "ent_coef",
        "vf_coef", "max_grad_norm", "train_freq", "gradient_steps", "target_update_interval", "tau",
    )
)  # fmt: skip


def proposer(grid: TrainingGrid, check: Check | None = None) -> Proposer:
    """Return who proposes the configurations of a grid; see `searcher`."""
    admit = Admission(grid, check)
    return Proposer(searcher(grid, admit), admit)


def searcher(grid: TrainingGrid, admit: Admission) -> Searcher:
    """Return the searcher that a grid's `search` names.

    Raises:
        ConfigError: it does not fit the axes, or needs a package that is not installed.
    """
    match grid.search:
        case GridSearch():
            return Every(grid, admit)
        case RandomSearch() as search:
            return AtRandom(grid, search, admit)
        case PbtSearch() as search:
            return Population(grid, search, admit)
        case search:
            from agents.trials.bayes import Bayes  # Optuna, for those who ask for it

            return Bayes(grid, search, admit)


def draw(
    grid: TrainingGrid,
    admit: Admission,
    rng: np.random.Generator,
    count: int,
    more: Point | None = None,
) -> list[Configuration]:
    """Return up to `count` different configurations at random; fewer where there are no more."""
    found: dict[str, Configuration] = {}
    for _ in range(TRIES * count):
        made = admit({**axes.sample(grid.axes, rng), **(more or {})})
        if made is not None:
            found.setdefault(made.key, made)
        if len(found) == count:
            break
    return list(found.values())


def _distinct(made: Any) -> list[Configuration]:
    found: dict[str, Configuration] = {}
    for c in made:
        if c is not None:
            found.setdefault(c.key, c)
    return list(found.values())


def _worth(x: Settled) -> tuple[float, int]:
    return (-np.inf if x.score is None else x.score, -x.configuration.member)


def _within(value: float, axis: axes.Axis, *, whole: bool) -> float | int:
    bounds = (
        None if isinstance(axis, list) else axis.uniform or axis.log_uniform or axis.int_uniform
    )
    if bounds is not None:
        value = min(max(value, bounds[0]), bounds[1])
    return max(1, round(value)) if whole else value
