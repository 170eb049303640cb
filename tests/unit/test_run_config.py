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
        (
            {"algo__name": "a2c"},
            "x: key algo.name: expected one of ppo, MaskablePPO, RecurrentPPO, dqn, sac, found",
        ),
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


def market_tree(kind: str = "weights", **changes: Any) -> dict[str, Any]:
    actions = {
        "weights": {"kind": "weights"},
        "orders": {"kind": "orders", "sizes": [1.0], "max_qty": 2.0},
    }
    whole = tree(market__action=actions[kind], market__views=[{"dataset": "e"}], **changes)
    if whole["env"]["target"] == {"max_qty": 1.0}:
        del whole["env"]["target"]
    return whole


def test_config_market_names_all_its_datasets_once_and_reads_back() -> None:
    views = [{"dataset": "e"}, {"dataset": "d", "name": "slow", "bar": "1-HOUR-MID"}]
    config = convert(
        market_tree(market__trades=["t", "e"]) | {"market": {
            "action": {"kind": "weights"}, "views": views, "trades": ["t", "e"],
        }}, RunConfig, "x",
    )  # fmt: skip
    assert config.datasets == ("d", "e", "t")
    assert convert(dump(config), RunConfig, "x") == config
    assert convert(tree(), RunConfig, "x").datasets == ("d",)
    assert "market" not in dump(convert(tree(), RunConfig, "x"))  # older runs go on


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("weights", {"env__target__kind": "discrete"}, "key env.target: expected none beside"),
        ("weights", {"algo__name": "dqn"}, "expected one of ppo, RecurrentPPO, sac for market"),
        ("weights", {"algo__name": "MaskablePPO"}, "expected one of ppo, RecurrentPPO, sac for"),
        ("orders", {"algo__name": "sac"}, "one of ppo, RecurrentPPO, MaskablePPO for market"),
        ("orders", {"env__by_reference": True}, "key env.by_reference: expected false with a"),
        ("orders", {"algo__transformer": {}}, "key algo.transformer: expected none with a market"),
        ("orders", {"venue__account": "cash"}, "key venue.account: expected margin with a market"),
        ("orders", {"data__dataset": "e"}, "key market.views: expected another name for each view"),
        ("orders", {"env__timer_s": 1.0, "env__every": 2}, "key env.timer_s: expected 0 beside"),
        ("orders", {"algo__n_steps": 1, "run__n_envs": 1}, "key algo.n_steps: expected 2 or more"),
    ],
)
def test_config_market_that_cannot_be_names_its_key(
    kind: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        convert(market_tree(kind, **changes), RunConfig, "x")
    assert said in str(error.value)


def test_config_algorithms_that_need_a_market_or_none_say_so() -> None:
    with pytest.raises(ConfigError, match="which has no impossible action, found MaskablePPO"):
        convert(tree(algo__name="MaskablePPO"), RunConfig, "x")
    with pytest.raises(ConfigError, match=r"algo\.transformer: expected none for Recurr"):
        convert(tree(algo__name="RecurrentPPO", algo__transformer={}), RunConfig, "x")
    without = tree()
    del without["env"]["target"]
    with pytest.raises(ConfigError, match=r"key env\.target: expected one, or a table market"):
        convert(without, RunConfig, "x")


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_config_that_is_shipped_is_valid(file: Path) -> None:
    assert load(file).name == file.stem
