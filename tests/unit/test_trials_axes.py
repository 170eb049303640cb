from collections import Counter
from typing import Any

import numpy as np
import pytest

from agents.trials import axes
from agents.trials.axes import Draw
from grid.config import convert
from grid.errors import ConfigError


def test_axes_product_runs_the_last_axis_fastest() -> None:
    points = list(axes.product({"a": [1, 2], "b.c": Draw(range=(0, 1, 0.5)), "d": [[1], [2]]}))
    assert len(points) == 2 * 3 * 2
    assert points[0] == {"a": 1, "b.c": 0.0, "d": [1]}
    assert points[1] == {"a": 1, "b.c": 0.0, "d": [2]}
    assert points[-1] == {"a": 2, "b.c": 1.0, "d": [2]}


def test_axes_range_includes_its_end_and_keeps_whole_numbers_whole() -> None:
    assert Draw(range=(16, 64, 16)).values == [16, 32, 48, 64]
    assert all(isinstance(x, int) for x in Draw(range=(16, 64, 16)).values or [])
    assert Draw(range=(0.1, 0.3, 0.1)).values == [0.1, 0.2, 0.3]


def test_axes_distribution_has_no_product() -> None:
    with pytest.raises(ConfigError, match=r"key axes\.x: expected a list, range or choice"):
        list(axes.product({"x": Draw(uniform=(0, 1))}))


def test_axes_samples_stay_in_bounds_and_are_spread_as_said() -> None:
    rng = np.random.default_rng(1)
    drawn = [Draw(log_uniform=(1e-4, 1e-2)).sample(rng) for _ in range(2_000)]
    assert min(drawn) >= 1e-4
    assert max(drawn) <= 1e-2
    assert 0.45 < np.mean([x < 1e-3 for x in drawn]) < 0.55
    whole = Counter(Draw(int_uniform=(1, 3)).sample(rng) for _ in range(300))
    assert set(whole) == {1, 2, 3}
    assert all(isinstance(x, int) for x in whole)


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "expected one of range, uniform"),
        ({"uniform": [0, 1], "choice": [1]}, "expected one of range, uniform"),
        ({"range": [1, 0, 1]}, r"range: expected \[first, last, step > 0\]"),
        ({"uniform": [1, 1]}, r"uniform: expected \[least, greatest\]"),
        ({"log_uniform": [0, 1]}, "log_uniform: expected above 0"),
        ({"choice": []}, "choice: expected one value or more"),
        ({"normal": [0, 1]}, "unknown key normal"),
    ],
)
def test_axes_impossible_draw_is_refused_in_a_sentence(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        convert(tree, Draw, "x")


def test_axes_whole_table_goes_before_a_key_in_it() -> None:
    tree = {"algo": {"name": "ppo", "n_steps": 1}, "seed": 0}
    found = axes.lay(tree, {"algo.gamma": 0.5, "algo": {"name": "dqn"}})
    assert found == {"algo": {"name": "dqn", "gamma": 0.5}, "seed": 0}
    assert tree == {"algo": {"name": "ppo", "n_steps": 1}, "seed": 0}


def test_axes_path_through_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"key axes\.seed\.x: seed is a value"):
        axes.lay({"seed": 0}, {"seed.x": 1})


def test_axes_exclusion_matches_what_has_all_its_values() -> None:
    tree = {"algo": {"name": "dqn"}, "env": {"window": 16}}
    assert axes.matches(tree, {"algo.name": "dqn", "env.window": 16})
    assert not axes.matches(tree, {"algo.name": "dqn", "env.window": 4})
    assert not axes.matches(tree, {"algo.missing": 1})


def test_axes_flatten_stops_at_a_draw() -> None:
    tree = {"algo": {"gamma": {"uniform": [0, 1]}, "net": [[8], [16]]}, "env.window": [1]}
    assert axes.flatten(tree) == {
        "algo.gamma": {"uniform": [0, 1]},
        "algo.net": [[8], [16]],
        "env.window": [1],
    }
