from pathlib import Path
from typing import Any

import pytest

from agents.trials.config import GridSearch, TrainingGrid, load, to_length_ns
from agents.trials.folder import check_same
from agents.trials.trial import Dates, Trial, configuration, run_config, tree_of
from grid.config import convert, dump
from grid.errors import ConfigError
from tests.support import grids_of_trials as grids

CONFIGS = Path(__file__).parents[2] / "configs" / "grids"
DATES = Dates(
    ("2020-01-01", "2020-01-02"), ("2020-01-03", "2020-01-04"), ("2020-01-05", "2020-01-06")
)


def test_trials_config_smallest_is_every_point_once_and_reads_back() -> None:
    grid = grids.grid()
    assert grid.all_seeds == [0]
    assert grid.search == GridSearch()
    assert convert(dump(grid), TrainingGrid, "x") == grid


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../up"}, "key name"),
        ({"axes": {"seed": [1, 2]}}, "key axes.seed: expected a key of the run that seeds"),
        ({"axes": {"algo.gamma": []}}, "key axes.algo.gamma: expected one value or more"),
        ({"seeds": 0}, "key seeds"),
        ({"seeds": [1, 1]}, "key seeds: expected each once"),
        ({"folds": {"kind": "rolling", "train": "1d", "test": "1d"}}, "key folds.validation"),
        ({"folds": {"kind": "none", "purge": "5 days"}}, "key folds.purge: expected auto, none"),
        ({"folds": {"kind": "none", "holdout": ["2020-02-01", "2020-01-01"]}}, "a start before"),
        ({"folds": {"kind": "sideways"}}, "expected one of none, rolling, anchored"),
        ({"search": {"kind": "best"}}, "expected one of grid, random, bayes, pbt"),
        ({"search": {"kind": "random"}}, "missing key search.configurations"),
        ({"prune": {"min_steps": 0}}, "key prune.min_steps"),
        ({"workers": {"cores": 0}}, "key workers.cores"),
        ({"objective": "luck"}, "key objective: expected one of log_return, sharpe, sortino"),
        (
            {
                "search": {"kind": "pbt", "population": 2, "generations": 2},
                "prune": {"min_steps": 1},
            },
            "key prune: expected none with search pbt",
        ),
    ],
)
def test_trials_config_wrong_value_names_its_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        convert(grids.grid_tree() | changes, TrainingGrid, "x")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_trials_config_file_names_its_base_and_overrides_reach_into_it(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(
        'name = "b"\ndata = {dataset = "d", train = ["2020-01-01", "2020-02-01"], '
        'test = ["2020-02-01", "2020-03-01"]}\nenv = {features = ["log_return:1"], '
        'target = {max_qty = 1.0}}\nalgo = {name = "ppo"}\nrun = {total_steps = 100}\n'
    )
    file = tmp_path / "grid.toml"
    file.write_text(
        'name = "g"\nbase = "base.toml"\nset.run.n_envs = 1\n'
        "axes.algo.gamma = {uniform = [0.5, 0.9]}\naxes.env.window = [2, 4]\n"
        "exclude = [{env.window = 4}]\n"
    )
    grid = load(file, ["base.run.total_steps=200", "seeds=2"])
    assert (grid.base.run.total_steps, grid.base.run.n_envs) == (200, 1)
    assert grid.all_seeds == [0, 1]
    assert set(grid.axes) == {"algo.gamma", "env.window"}
    assert grid.exclude == [{"env.window": 4}]
    file.write_text('name = "g"\nbase = "base.toml"\naxes.algo.gamma = 0.5\n')
    with pytest.raises(ConfigError, match=r"key axes\.algo\.gamma: expected a list of values"):
        load(file)
    file.write_text('name = "g"\nbase = "base.toml"\naxes.algo.gamma = {uniform = [2, 1]}\n')
    with pytest.raises(ConfigError, match=r"key axes\.algo\.gamma: uniform: expected"):
        load(file)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_trials_config_shipped_is_valid_and_named_after_its_file(file: Path) -> None:
    assert load(file).name == file.stem


def test_trials_config_lengths() -> None:
    assert to_length_ns("2d") == 2 * 86_400 * 10**9
    assert to_length_ns("30min") == 1_800 * 10**9


def test_trial_name_depends_on_what_it_is_and_not_on_the_grid() -> None:
    base = grids.base_tree()
    here = configuration(tree_of(base, {"algo.gamma": 0.5, "env.window": 2}), {})
    turned = configuration(tree_of(base, {"env.window": 2, "algo.gamma": 0.5}), {})
    renamed = configuration(tree_of({**base, "name": "else", "seed": 9}, {"algo.gamma": 0.5}), {})
    assert here.key == turned.key
    assert here.key != renamed.key
    config = run_config(base, here, Trial(here.key, 1, 7), DATES, gpu=False)
    assert (config.name, config.seed, config.run.device) == (f"{here.key}-f1-s7", 7, "cpu")
    assert (config.data.train, config.data.test) == (DATES.train, DATES.test)


def test_grid_goes_on_with_more_workers_and_budget_and_with_nothing_else() -> None:
    grid = grids.grid()
    check_same("g", grid, grids.grid(workers={"processes": 7}, budget={"hours": 1.0}))
    with pytest.raises(ConfigError, match=r"algo\.learning_rate was \[0\.001, 0\.01\], is"):
        check_same("g", grid, grids.grid(axes={"algo.learning_rate": [1e-3]}))
