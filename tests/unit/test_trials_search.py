from typing import Any

import numpy as np
import pytest

from agents.trials.config import TrainingGrid
from agents.trials.search import Settled, proposer
from agents.trials.trial import Configuration
from grid.errors import ConfigError
from tests.support import grids_of_trials as grids

UNIFORM = {"algo.gamma": {"uniform": [0.1, 0.9]}, "algo.n_epochs": [1, 2, 3]}


def searched(grid: TrainingGrid, scores: Any = lambda c: 0.0) -> list[list[Configuration]]:
    """All batches of a search, scored by a function."""
    batches: list[list[Settled]] = []
    found: list[list[Configuration]] = []
    while made := proposer(grid).next(batches).configurations:  # as after a restart, each time
        found.append(list(made))
        batches.append([Settled(c, scores(c)) for c in made])
    return found


def test_search_grid_leaves_out_what_is_excluded_invalid_or_the_same() -> None:
    grid = grids.grid(
        axes={"algo.name": ["ppo", "sac"], "env.window": [2, 3, 3], "algo.n_epochs": [1, 2]},
        exclude=[{"algo.name": "ppo", "env.window": 3, "algo.n_epochs": 2}],
    )
    said = proposer(grid).next([])
    assert [c.params["env.window"] for c in said.configurations] == [2, 2, 3]
    assert said.excluded == 2
    assert len(said.invalid) == 6
    assert all(r.params["algo.name"] == "sac" for r in said.invalid)
    assert said.invalid[0].why.startswith("unknown key algo.n_steps; there are")


def test_search_random_draws_the_same_again_and_none_twice() -> None:
    kind = {"kind": "random", "configurations": 20, "seed": 3}
    (first,), (second,) = (searched(grids.grid(axes=UNIFORM, search=kind)) for _ in range(2))
    assert first == second
    assert len({c.key for c in first}) == 20
    (other,) = searched(grids.grid(axes=UNIFORM, search=kind | {"seed": 4}))
    assert other != first
    (few,) = searched(grids.grid(axes={"algo.n_epochs": [1, 2]}, search=kind))
    assert len(few) == 2, "there are no more"


def test_search_population_takes_over_from_the_best_and_keeps_the_rest() -> None:
    kind = {"kind": "pbt", "population": 4, "generations": 3, "quantile": 0.25, "resample": 0.0}
    grid = grids.grid(axes=UNIFORM, search=kind)
    scores = {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}
    generations = searched(grid, lambda c: scores[c.member])
    assert generations == searched(grid, lambda c: scores[c.member])
    assert [len(g) for g in generations] == [4, 4, 4]
    first, second, third = generations
    assert [c.params["run.total_steps"] for c in (first[0], second[0], third[0])] == [85, 170, 256]
    for old, new in zip(first[:3], second[:3], strict=True):
        assert (new.parent, new.params["algo.gamma"]) == (old.key, old.params["algo.gamma"])
    taker, best = second[3], first[0]
    assert taker.parent == best.key
    ratio = taker.params["algo.gamma"] / best.params["algo.gamma"]
    assert (
        ratio == pytest.approx(0.8)
        or ratio == pytest.approx(1.25)
        or (taker.params["algo.gamma"] == 0.9)
    )
    assert abs(taker.params["algo.n_epochs"] - best.params["algo.n_epochs"]) <= 1
    assert len({c.key for g in generations for c in g}) == 12


def test_search_population_changes_only_what_a_network_survives() -> None:
    kind = {"kind": "pbt", "population": 2, "generations": 2}
    with pytest.raises(ConfigError, match=r"key axes\.env\.window: expected what can change"):
        proposer(grids.grid(axes={"env.window": [2, 3]}, search=kind))


def test_search_bayes_proposes_the_same_from_the_same_scores_and_finds_the_best() -> None:
    pytest.importorskip("optuna")
    kind = {"kind": "bayes", "configurations": 32, "batch": 4, "startup": 8}
    axes = {"algo.gamma": {"uniform": [0.0, 1.0]}, "algo.net": [[8], [16]]}
    grid = grids.grid(axes=axes, search=kind)

    def score(c: Configuration) -> float:
        return -abs(c.params["algo.gamma"] - 0.3) - (0.5 if c.params["algo.net"] == [8] else 0.0)

    batches = searched(grid, score)
    assert batches == searched(grid, score)
    assert [len(b) for b in batches] == [4] * 8
    late = [score(c) for b in batches[4:] for c in b]
    early = [score(c) for b in batches[:2] for c in b]
    assert np.median(late) > np.median(early) + 0.1
    assert batches != searched(grid, lambda c: -score(c))


def test_search_bayes_goes_on_where_configurations_had_no_score() -> None:
    pytest.importorskip("optuna")
    kind = {"kind": "bayes", "configurations": 6, "batch": 3, "startup": 2}
    axes = {"algo.learning_rate": {"log_uniform": [1e-4, 1e-2]}}
    assert [len(b) for b in searched(grids.grid(axes=axes, search=kind), lambda c: None)] == [3, 3]
