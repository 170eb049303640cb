"""A checkpoint in less kind worlds, for real: each world changes what it says and nothing else."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.checkpoint import Checkpoint
from agents.episode import run
from agents.policy import OnnxPolicy
from agents.sensitivity import AS_TRAINED, later, sensitivity, worlds
from envs.delay import Delayed
from envs.trading import TradingEnv
from grid.dataset import Dataset
from grid.errors import ConfigError
from grid.home import Home
from grid.venue import Venue
from tests.support import markets, runs


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return runs.home_with_data(tmp_path / "home")


@pytest.fixture
def checkpoint(home: Home, tmp_path: Path) -> Checkpoint:
    return runs.checkpoint_on(home, tmp_path / "checkpoints")


def sibling(checkpoint: Checkpoint, folder: Path, seed: int, **changed: object) -> Checkpoint:
    said = msgspec.structs.replace(checkpoint.manifest, seed=seed, **changed)
    return runs.checkpoint(folder, said.spec, seed=seed, said=said)


def test_sensitivity_shows_fees_spread_delay_and_seeds(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    other = sibling(checkpoint, tmp_path / "other", 7)
    cases = sensitivity(checkpoint.path, home, siblings=[other.path])
    found = {case.name: case.metrics for case in cases}
    assert list(found) == [
        AS_TRAINED, "no fees", "fees x 2", "fees x 4", "spread x 2", "one decision later",
        "seed 7",
    ]  # fmt: skip
    assert all(m is not None and m.steps == 299 for m in found.values())
    per_trade = {k: m.fees / m.trades for k, m in found.items() if m is not None}
    assert per_trade["no fees"] == 0.0
    assert per_trade["fees x 4"] == pytest.approx(4 * per_trade[AS_TRAINED], rel=0.05)
    assert found[AS_TRAINED] not in (found["one decision later"], found["seed 7"])


def test_delayed_env_does_one_decision_later_what_was_asked(
    home: Home, checkpoint: Checkpoint
) -> None:
    policy = OnnxPolicy(checkpoint)
    data = Dataset.find(home.datasets, runs.NAME)
    env = TradingEnv(data, policy.spec, Venue(), rows=(600, 900))
    try:
        found = run(Delayed(env), policy)
    finally:
        env.close()
        del env
    held = np.round(found.position_qty / policy.spec.target.max_qty, 6)
    np.testing.assert_array_equal(held[2:], found.targets[:-1])
    assert held[1] == 0.0
    assert len(set(held)) > 1


def test_delay_of_no_decision_is_refused(home: Home, checkpoint: Checkpoint) -> None:
    data = Dataset.find(home.datasets, runs.NAME)
    env = TradingEnv(data, checkpoint.manifest.spec, Venue(), rows=(600, 900))
    try:
        with pytest.raises(ConfigError, match="expected 1 decision or more, found 0"):
            Delayed(env, 0)
    finally:
        env.close()
        del env


def test_sibling_that_differs_by_more_than_its_seed_is_refused(
    home: Home, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="expected another seed than 0"):
        sensitivity(checkpoint.path, home, siblings=[checkpoint.path])
    other = sibling(checkpoint, tmp_path / "o", 1, venue=Venue(taker_fee_bps=0.0))
    with pytest.raises(ConfigError, match="found another spec, venue or data"):
        sensitivity(checkpoint.path, home, siblings=[other.path])


def test_worlds_of_quotes_change_latency_and_not_the_spread_they_have() -> None:
    data = markets.dataset(markets.quote_columns())
    said = runs.manifest(markets.spec_for(data))
    names = {name: venue for name, venue, _ in worlds(said)}
    assert "spread x 2" not in names
    assert names["latency x 2"].latency_ms == 2 * Venue().latency_ms


def test_later_doubles_whatever_the_latency_is() -> None:
    drawn = later(Venue(latency_ms=10.0, latency_p99_ms=40.0), 2.0)
    assert (drawn.latency_ms, drawn.latency_p99_ms) == (20.0, 80.0)
    measured = later(Venue(latency_quantiles_ms=(1.0, 5.0)), 2.0)
    assert measured.latency_quantiles_ms == (2.0, 10.0)
