"""Bayesian search by Optuna, which is told everything anew for each batch.

Optuna's own state is never kept: the journal is, and a study made of it proposes the same again.
"""

from typing import Any

import numpy as np

from agents.trials.axes import Axis, Point, values_of
from agents.trials.config import BayesSearch, TrainingGrid
from agents.trials.search import TRIES, Admission, Batches
from agents.trials.trial import Configuration
from grid.errors import ConfigError

try:
    import optuna
except ImportError as e:
    raise ConfigError(
        "key search.kind: bayes needs Optuna, which is not installed: "
        "install the extra with pip install 'argonaut-nt[search]'"
    ) from e


class Bayes:
    """Batches by the tree-structured Parzen estimator."""

    def __init__(self, grid: TrainingGrid, search: BayesSearch, admit: Admission) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._axes, self._search, self._admit = grid.axes, search, admit
        self._spaces = {path: _space(axis) for path, axis in grid.axes.items()}

    def next(self, batches: Batches) -> list[Configuration]:
        """Return the next batch."""
        s = self._search
        known = [x for batch in batches for x in batch]
        count = min(s.batch, s.configurations - len(known))
        if count <= 0:
            return []
        seed = int(np.random.SeedSequence([s.seed, len(batches)]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=s.startup, constant_liar=True
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for x in known:
            study.add_trial(
                optuna.trial.create_trial(
                    params=self._told(x.configuration.params),
                    distributions=self._spaces,
                    value=x.score,
                    state=optuna.trial.TrialState.FAIL
                    if x.score is None
                    else optuna.trial.TrialState.COMPLETE,
                )
            )
        seen = {x.configuration.key for x in known}
        found: dict[str, Configuration] = {}
        for _ in range(TRIES * count):
            trial = study.ask(self._spaces)
            made = self._admit(self._point(trial.params))
            if made is None or made.key in seen | found.keys():
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            found[made.key] = made
            if len(found) == count:
                break
        return list(found.values())

    def _told(self, params: Point) -> dict[str, Any]:
        # Optuna takes plain values for choices only: what is a table or list goes by its number
        told = {}
        for path, axis in self._axes.items():
            values = values_of(axis)
            told[path] = params[path] if values is None else values.index(params[path])
        return told

    def _point(self, params: dict[str, Any]) -> Point:
        point = {}
        for path, axis in self._axes.items():
            values = values_of(axis)
            point[path] = params[path] if values is None else values[params[path]]
        return point


def _space(axis: Axis) -> "optuna.distributions.BaseDistribution":
    values = values_of(axis)
    if values is not None:
        if _ordered(values):
            return optuna.distributions.IntDistribution(0, len(values) - 1)
        return optuna.distributions.CategoricalDistribution(range(len(values)))
    assert not isinstance(axis, list)
    if axis.int_uniform is not None:
        return optuna.distributions.IntDistribution(*axis.int_uniform)
    low, high = axis.log_uniform or axis.uniform or (0.0, 1.0)
    return optuna.distributions.FloatDistribution(low, high, log=axis.log_uniform is not None)


def _ordered(values: list[Any]) -> bool:
    return (
        len(values) > 1
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
        and values == sorted(values)
    )
