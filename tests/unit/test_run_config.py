from pathlib import Path
from typing import Any

import pytest

from agents.config import RunConfig, load
from agents.hyperparameters import PPO
from grid.config import convert, dump
from grid.errors import ConfigError
from grid.venue import Venue

CONFIGS = Path(__file__).parents[2] / "configs" / "train"


def tree(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "run",
        "data": {
            "dataset": "d",
            "train": ["2020-01-01", "2020-02-01"],
            "test": ["2020-02-01", "2020-03-01"],
        },
        "env": {"features": ["log_return:1"], "target": {"max_qty": 1.0}},
        "algo": {"name": "ppo"},
        "run": {"total_steps": 1},
    }
    for path, value in changes.items():
        *sections, key = path.split("__")
        at = base
        for section in sections:
            at = at.setdefault(section, {})
        at[key] = value
    return base


def test_config_smallest_has_costs_and_a_read_back_is_equal() -> None:
    config = convert(tree(), RunConfig, "x")
    assert config.venue == Venue()
    assert isinstance(config.algo, PPO)
    assert convert(dump(config), RunConfig, "x") == config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"algo__name": "a2c"}, "x: key algo.name: expected one of ppo, MaskablePPO, RecurrentPPO, dqn, sac, found 'a2c'"),
        ({"algo__n_step": 3}, "x: unknown key algo.n_step"),
        ({"algo__buffer_size": 3}, "x: unknown key algo.buffer_size"),
        ({"algo__name": "sac"}, "key env.target.kind: expected continuous for algo sac"),
        (
            {"algo__name": "dqn", "env__target__kind": "continuous"},
            "key env.target.kind: expected discrete for algo dqn, found continuous",
        ),
        ({"algo__gamma": 1.5}, "key algo.gamma: expected float <= 1.0"),
        ({"env__window": 0}, "key env.window"),
        ({"env__features": []}, "key env.features"),
        ({"env__target__levels": [1.0]}, "key env.target.levels: expected two levels"),
        ({"env__reward_scale": "big"}, "key env.reward_scale"),
        ({"data__train": ["2020-02-01", "2020-01-01"]}, "key data.train: expected a start before"),
        ({"data__test": ["2020-01-31", "2020-03-01"]}, "key data.test: expected no overlap"),
        ({"data__test": ["soon", "2020-03-01"]}, "key data.test: expected an ISO date"),
        ({"venue__account": "cash"}, "key env.target: expected discrete levels of 0 or more"),
        ({"run__total_steps": 0}, "key run.total_steps"),
        ({"run__device": "tpu"}, "key run.device"),
        ({"name": "../up"}, "key name"),
        ({"seed": -1}, "key seed"),
    ],
)
def test_config_wrong_value_names_its_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        convert(tree(**changes), RunConfig, "x")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_config_shipped_is_valid_and_named_after_its_file(file: Path) -> None:
    config = load(file, ["run.device=cpu"])
    assert config.name == file.stem
    assert config.run.device == "cpu"
