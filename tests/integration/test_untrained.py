"""The untrained baseline is the very network that training began with."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.policy import OnnxPolicy
from agents.training import train
from agents.untrained import untrained
from grid.config import convert
from grid.errors import ConfigError
from tests.support import runs


@pytest.mark.parametrize("algo", ["ppo", "dqn", "sac"])
def test_untrained_acts_as_a_run_that_learned_nothing(tmp_path: Path, algo: str) -> None:
    home = runs.home_with_data(tmp_path)
    tree = runs.run_tree(home, algo, total_steps=128)
    tree["algo"]["learning_rate"] = 1e-12  # too small for any weight to change
    checkpoint = Checkpoint.open(train(convert(tree, RunConfig, "test"), home, progress=False))
    trained, fresh = OnnxPolicy(checkpoint), untrained(checkpoint.manifest)
    size = checkpoint.tensors("golden.safetensors")["obs"].shape[1]
    for obs in np.random.default_rng(0).standard_normal((20, size)).astype(np.float32):
        np.testing.assert_allclose(fresh.outputs(obs), trained.outputs(obs), atol=1e-6)
        assert fresh.act(obs) == pytest.approx(trained.act(obs), abs=1e-6)


def test_untrained_of_another_seed_is_another_network(tmp_path: Path) -> None:
    tree = runs.run_tree(runs.home_with_data(tmp_path))
    said = runs.manifest(msgspec.structs.replace(runs.SPEC, window=3))
    one, other = (
        untrained(msgspec.structs.replace(said, config={**tree, "seed": seed})) for seed in (1, 2)
    )
    obs = np.ones(3 * 3 + 4, dtype=np.float32)
    assert not np.allclose(one.outputs(obs), other.outputs(obs))


def test_untrained_of_a_checkpoint_without_a_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="the checkpoint's config"):
        untrained(runs.manifest())
