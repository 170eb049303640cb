"""Training for real: envs with the engine, stable-baselines3, processes that are killed."""

from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

from agents import plan
from agents.algorithms import OPTIMIZER
from agents.checkpoint import ONNX, WEIGHTS, Checkpoint
from agents.config import RunConfig
from agents.policy import load_policy
from agents.training import train
from agents.vec import make_vec
from grid.config import convert
from grid.dataset import Dataset
from grid.errors import CheckpointError, ConfigError, DataError, ProcessDied
from grid.home import Home
from tests.support import markets, runs
from tests.support.killed import kill_after_first_checkpoint, trained


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return runs.home_with_data(tmp_path / "home")


def named(home: Home, algo: str, name: str, **run: object) -> RunConfig:
    return msgspec.structs.replace(runs.run_config(home, algo, **run), name=name)


@pytest.mark.parametrize(("algo", "n_envs"), [("ppo", 2), ("dqn", 1), ("sac", 1)])
def test_training_killed_and_resumed_ends_with_the_same_bits(
    home: Home, tmp_path: Path, algo: str, n_envs: int
) -> None:
    # a segment takes long enough to be killed in: the kill follows the first checkpoint at once
    size = {"n_envs": n_envs, "total_steps": 1536, "checkpoint_every_steps": 512}
    whole = train(named(home, algo, "whole", **size), home, progress=False)
    broken = named(home, algo, "broken", **size)
    kill_after_first_checkpoint(home, broken, tmp_path)
    before = Checkpoint.open(home.runs / "broken").manifest
    assert before.steps < 1536

    resumed = train(broken, home, resume=True, progress=False)

    assert Checkpoint.open(resumed).manifest.steps >= 1536
    assert trained(resumed) == trained(whole)
    lines = (home.runs / "broken" / "progress.jsonl").read_bytes().splitlines()
    steps = [msgspec.json.decode(line)["steps"] for line in lines]
    assert steps == sorted(set(steps)), "a log entry was written twice"


def test_training_env_process_killed_ends_the_run_and_every_other_process(home: Home) -> None:
    config = runs.run_config(home, n_envs=2)
    recipe = plan.make(config, home).recipe
    envs = make_vec(recipe, 2)
    try:
        envs.seed(0)
        envs.reset()
        victim = psutil.Process(envs.unwrapped.envs.workers.pids[1])  # type: ignore[attr-defined]
        victim.kill()
        psutil.wait_procs([victim], timeout=10)
        with pytest.raises(ProcessDied, match="process ended"):
            envs.step(np.array([0, 0]))
    finally:
        envs.close()
    assert not psutil.Process().children()


def test_training_again_gives_the_same_bits(home: Home) -> None:
    first, second = (train(named(home, "ppo", n), home, progress=False) for n in "ab")
    assert trained(first) == trained(second)


def test_training_another_seed_ends_elsewhere(home: Home) -> None:
    config = runs.run_config(home)
    other = msgspec.structs.replace(config, name="other", seed=config.seed + 1)
    a, b = (train(c, home, progress=False) for c in (config, other))
    assert trained(a)[WEIGHTS] != trained(b)[WEIGHTS]


@pytest.mark.parametrize("algo", ["ppo", "dqn", "sac"])
def test_training_leaves_a_run_that_acts_and_says_what_it_is(home: Home, algo: str) -> None:
    config = runs.run_config(home, algo)
    path = train(config, home, progress=False)
    folder = home.runs / config.name
    checkpoint = Checkpoint.open(folder)
    m = checkpoint.manifest
    assert checkpoint.path == path.resolve()
    assert (m.algo, m.steps, m.segment) == (algo, 512, 4)
    assert m.data.train_rows == (0, 600)
    assert m.data.test_rows == (600, 899)
    assert m.data.fingerprint == Dataset.find(home.datasets, runs.NAME).manifest.fingerprint
    assert m.config == msgspec.json.decode((folder / "config.json").read_bytes())
    assert m.reward_scale > 0
    assert m.metrics["mean_episode_steps"] == 50
    assert list((folder / "tb").glob("events.out.tfevents.*"))
    assert len(list((folder / "checkpoints").iterdir())) == 4
    assert sum(Checkpoint.open(p).resumable for p in (folder / "checkpoints").iterdir()) == 1
    obs = checkpoint.tensors("golden.safetensors")["obs"][0]
    assert -1.0 <= load_policy(path).act(obs) <= 1.0


def test_training_existing_run_is_neither_lost_nor_mixed(home: Home) -> None:
    config = runs.run_config(home, total_steps=128)
    path = train(config, home, progress=False)
    with pytest.raises(ConfigError, match="go on with --resume"):
        train(config, home, progress=False)
    assert train(config, home, resume=True, progress=False) == path.resolve()
    tree = runs.run_tree(home, total_steps=128)
    tree["algo"]["gamma"] = 0.5
    changed = msgspec.convert(tree, RunConfig)
    with pytest.raises(ConfigError, match=r"algo\.gamma was 0\.9, is 0\.5"):
        train(changed, home, resume=True, progress=False)
    assert train(changed, home, replace=True, progress=False) != path
    assert not path.exists()


def test_training_on_changed_data_does_not_resume(home: Home) -> None:
    config = runs.run_config(home)
    train(config, home, progress=False)
    other = runs.home_with_data(home.root.parent / "other", markets.bar_columns(900, seed=1))
    (home.datasets / runs.NAME).rename(home.root.parent / "old")
    (other.datasets / runs.NAME).rename(home.datasets / runs.NAME)
    with pytest.raises(CheckpointError, match="fingerprint"):
        train(config, home, resume=True, progress=False)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("env", "features", ["nonsense"], "unknown feature 'nonsense'"),
        ("env", "reward", "nonsense", "unknown reward 'nonsense'"),
        ("env", "steps", 5_000, "steps"),
        ("data", "test", ["2021-01-01", "2021-02-01"], "data.test"),
        ("data", "dataset", "nowhere", "no dataset 'nowhere'"),
    ],
)
def test_training_impossible_config_dies_before_anything_starts(
    home: Home, section: str, key: str, value: object, said: str
) -> None:
    tree = runs.run_tree(home, n_envs=2)
    tree[section][key] = value
    with pytest.raises((ConfigError, DataError), match=said):
        train(msgspec.convert(tree, RunConfig), home, progress=False)
    assert not (home.runs / "tiny-ppo").exists()
    assert not psutil.Process().children()


def test_exported_network_agrees_with_the_model_it_came_from(home: Home) -> None:
    path = train(runs.run_config(home, total_steps=128), home, progress=False)
    checkpoint = Checkpoint.open(path)
    assert set(checkpoint.manifest.files) >= {ONNX, WEIGHTS, OPTIMIZER}
    weights = checkpoint.tensors(WEIGHTS)
    x = checkpoint.tensors("golden.safetensors")["obs"]
    for i in (0, 2):
        w, b = (weights[f"mlp_extractor.policy_net.{i}.{k}"] for k in ("weight", "bias"))
        x = np.tanh(x @ w.T + b)
    logits = x @ weights["action_net.weight"].T + weights["action_net.bias"]
    policy = load_policy(path)
    levels = policy.spec.target.levels
    acts = [policy.act(row) for row in checkpoint.tensors("golden.safetensors")["obs"]]
    assert acts == [levels[i] for i in logits.argmax(axis=1)]


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_training_by_reference_gives_the_same_network(tmp_path: Path, algo: str) -> None:
    home = runs.home_with_data(tmp_path / "home")
    tree = runs.run_tree(home, algo, total_steps=256)
    plain = train(convert(tree, RunConfig, "test"), home, progress=False)
    tree["env"]["by_reference"] = True
    tree["name"] = "by-reference"
    gathered = train(convert(tree, RunConfig, "test"), home, progress=False)
    both = [Checkpoint.open(folder) for folder in (plain, gathered)]
    assert both[0].read(ONNX) == both[1].read(ONNX)
    assert both[0].read(WEIGHTS) == both[1].read(WEIGHTS)
