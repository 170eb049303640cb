import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from agents.checkpoint import GOLDEN, Checkpoint, save_tensors
from agents.policy import OnnxPolicy, load_policy
from grid.errors import CheckpointError, ConfigError, SpecMismatch
from grid.spec import TargetRule
from tests.support import runs

CONTINUOUS = msgspec.structs.replace(
    runs.SPEC, target=TargetRule(max_qty=10_000.0, kind="continuous")
)


def golden_changed(folder: Path, change: float) -> Checkpoint:
    checkpoint = runs.checkpoint(folder)
    golden = checkpoint.tensors(GOLDEN)
    golden["outputs"] = golden["outputs"] + np.float32(change)
    files = {name: checkpoint.read(name) for name in checkpoint.manifest.files}
    return Checkpoint.write(folder, checkpoint.manifest, {**files, GOLDEN: save_tensors(golden)})


def test_policy_discrete_gives_the_level_of_the_highest_output(tmp_path: Path) -> None:
    policy = OnnxPolicy(runs.checkpoint(tmp_path))
    golden = policy.checkpoint.tensors(GOLDEN)
    expected = [policy.spec.target.levels[i] for i in golden["outputs"].argmax(axis=1)]
    assert [policy.act(obs) for obs in golden["obs"]] == expected
    assert len(set(expected)) > 1


def test_policy_continuous_gives_the_output_clipped(tmp_path: Path) -> None:
    policy = OnnxPolicy(runs.checkpoint(tmp_path, CONTINUOUS))
    golden = policy.checkpoint.tensors(GOLDEN)
    expected = np.clip(golden["outputs"][:, 0], -1, 1)
    assert np.abs(golden["outputs"]).max() > 1
    np.testing.assert_allclose([policy.act(o) for o in golden["obs"]], expected, atol=1e-5)


def test_policy_same_observation_gives_the_same_bits(tmp_path: Path) -> None:
    a, b = (OnnxPolicy(runs.checkpoint(tmp_path, CONTINUOUS)) for _ in range(2))
    obs = np.linspace(-1, 1, 10, dtype=np.float32)
    assert {a.act(obs) for _ in range(20)} == {b.act(obs)}


def test_policy_within_rounding_of_its_golden_rows_loads(tmp_path: Path) -> None:
    OnnxPolicy(golden_changed(tmp_path, 2e-6))


def test_policy_that_does_not_give_its_golden_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="differ by"):
        OnnxPolicy(golden_changed(tmp_path, 1e-3))
    with pytest.raises(CheckpointError, match="differ by"):
        OnnxPolicy(golden_changed(tmp_path / "nan", float("nan")))


def test_policy_with_fewer_outputs_than_levels_is_refused(tmp_path: Path) -> None:
    checkpoint = runs.checkpoint(tmp_path, CONTINUOUS)
    manifest = msgspec.structs.replace(
        checkpoint.manifest, spec=runs.SPEC, spec_digest=runs.SPEC.digest
    )
    files = {name: checkpoint.read(name) for name in checkpoint.manifest.files}
    with pytest.raises(CheckpointError, match="expected outputs"):
        OnnxPolicy(Checkpoint.write(tmp_path, manifest, files))


def test_load_policy_checks_the_spec(tmp_path: Path) -> None:
    path = runs.checkpoint(tmp_path).path
    assert load_policy(path, runs.SPEC).spec == runs.SPEC
    with pytest.raises(SpecMismatch, match=r"target\.kind continuous expected, found discrete"):
        load_policy(path, CONTINUOUS)


def test_load_policy_baseline_by_name() -> None:
    obs = np.zeros(10, dtype=np.float32)
    assert load_policy("baseline:flat", runs.SPEC).act(obs) == 0.0
    assert load_policy("baseline:hold", runs.SPEC).act(obs) == 1.0
    with pytest.raises(ConfigError, match="there are: flat, hold, random, momentum"):
        load_policy("baseline:best", runs.SPEC)
    with pytest.raises(SpecMismatch, match="needs the spec"):
        load_policy("baseline:flat")


def test_policy_in_a_fresh_process_loads_nothing_heavy(tmp_path: Path) -> None:
    path = runs.checkpoint(tmp_path).path
    code = (
        "import sys; from agents.policy import load_policy;"
        f"load_policy({str(path)!r});"
        "heavy = {'torch', 'gymnasium', 'pandas', 'nautilus_trader', 'stable_baselines3', 'onnx'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
