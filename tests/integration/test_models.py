"""The registry with what it stands for: proofs by real runs, and a grid that follows a name."""

import json
import warnings
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
import torch

from agents import parity
from agents.checkpoint import GOLDEN, Checkpoint
from agents.config import RunConfig
from agents.registry.export import export, torch_policy
from agents.registry.registry import Registry
from agents.training import train
from grid import wire
from grid.config import convert
from tests.support import markets, runs
from tests.support.grids import LAUNCH, Grid, Watch

NAME = "test/champion"
SAID = {"by": "ann", "why": "test", "at": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize("algo", ["ppo", "dqn", "sac"])
@pytest.mark.parametrize("body", [None, {"width": 8, "heads": 2, "layers": 2}])
def test_exported_networks_answer_as_the_checkpoint_does(tmp_path, algo, body):
    home = runs.home_with_data(tmp_path / "home")
    tree = runs.run_tree(home, algo, total_steps=128)
    tree["algo"] |= {"transformer": body} if body else {}
    checkpoint = Checkpoint.open(train(convert(tree, RunConfig, "test"), home, progress=False))
    golden = checkpoint.tensors(GOLDEN)
    onnx, said = export(checkpoint, tmp_path / "out", "onnx")
    script, _ = export(checkpoint, tmp_path / "out", "torchscript")
    session = onnxruntime.InferenceSession(onnx)
    ours = np.stack([session.run(None, {"obs": row[None]})[0][0] for row in golden["obs"]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about the format
        network = torch.jit.load(script)
    theirs = network(torch.from_numpy(golden["obs"].copy())).detach().numpy()
    np.testing.assert_array_equal(ours, golden["outputs"])
    np.testing.assert_allclose(theirs, golden["outputs"], atol=1e-5)
    assert json.loads((tmp_path / "out" / "model.json").read_text())["digest"] == checkpoint.digest
    assert said.worst <= 1e-5
    assert len(torch_policy(checkpoint)) == 5 + (algo == "sac") + (body is not None)


def test_checked_checkpoint_is_promoted_and_an_unchecked_one_is_not(tmp_path, procs):
    home = runs.home_with_data(tmp_path / "home")
    config = runs.run_config(home, total_steps=256)
    path = train(config, home, progress=False)

    def models(verb, *words):
        return procs.python(LAUNCH, "models", verb, *words, "--home", home.root)

    refused = models("promote", path, NAME)
    assert refused.wait(60) != 0
    assert "no evaluation; no lookahead; no parity" in refused.text
    checked = models("check", path)
    assert checked.wait(120) == 0, checked.text
    assert checked.text.count("passed") == 3
    promoted = models("promote", path, NAME, "--why", "first")
    assert promoted.wait(60) == 0, promoted.text
    change = Registry(home.models).changes()[-1]
    assert not change.forced
    assert {e.what for e in change.evidence} == {"evaluation", "lookahead", "parity"}
    assert "sharpe" in change.evidence[0].metrics or "log_return" in change.evidence[0].metrics


def test_running_agent_follows_its_name_and_misses_no_decision(tmp_path, addresses, procs, context):
    grid = Grid(tmp_path, addresses, markets.bar_columns(900), champion=f"model:{NAME}",
                feed={"speed": 100})  # fmt: skip
    registry = Registry(grid.home.models)
    second = runs.checkpoint(tmp_path / "other", grid.spec, seed=1)
    registry.promote(grid.checkpoint, NAME, force=True, **SAID)
    up = grid.up(procs)
    watch = Watch(context, grid)
    digests = [grid.checkpoint.digest, second.digest]

    def decides_by(digest):
        watch.until(lambda e: isinstance(e, wire.Acted) and e.action.policy == digest, digest)

    decides_by(digests[0])
    registry.promote(second, NAME, force=True, **SAID)
    decides_by(digests[1])
    registry.rollback(NAME, **SAID)
    decides_by(digests[0])
    assert up.wait(90) == 0
    watch.close()
    (run,) = grid.runs()
    assert len(run.outcomes) == grid.live_rows
    assert all(outcome.how == "action" for outcome in run.outcomes.values())
    used = [run.actions_of("alpha")[seq].policy for seq in sorted(run.outcomes)]
    changes = [b for a, b in pairwise(used) if a != b]
    assert changes == [digests[1], digests[0]]
    assert all(check.equal for check in parity.compare(run, grid.home)), parity.render(
        parity.compare(run, grid.home)
    )
