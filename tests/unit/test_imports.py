"""Imports point down, and light processes stay light."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("grid", "envs", "agents")
MODULES = {
    str(p.relative_to(ROOT).with_suffix("")).replace("/", "."): p
    for package in PACKAGES
    for p in (ROOT / package).rglob("*.py")
}
HEAVY = ("nautilus_trader", "pandas", "gymnasium", "torch", "stable_baselines3", "pyarrow")
LIGHT = (
    "grid.wire", "grid.bus", "grid.broker", "grid.recorder", "grid.session", "grid.supervisor",
    "grid.status", "grid.feed", "grid.relay", "grid.registrar", "grid.replayer", "grid.transcript",
    "grid.topology",
    "grid.splice", "grid.verifying", "grid.viewable", "grid.rejudging", "agents.bundle",
    "grid.paper.venue", "grid.control", "grid.node.gate", "grid.node.setup", "envs.pipeline",
    "agents.worker", "agents.grids", "agents.trials.launcher", "agents.trials.table", "launch",
    "agents.market_policy", "agents.config",
    "agents.trials.onlooker",
    "grid.gateway.serve", "grid.redis.bridge", "grid.proof.check", "agents.statistics.judge",
    "grid.bridges.alerts", "grid.bridges.bridge", "grid.bridges.kafka", "agents.client",
    "grid.bridges.inflow", "grid.bridges.waiting",
    "grid.serving.ends", "agents.serving.server", "agents.serving.front", "agents.serving.remote",
)  # fmt: skip
ENGINE = ("grid.node.", "envs.data.", "envs.engine", "envs.rerun", "envs.stage", "agents.bench.")
TORCH = (
    "agents.algorithms", "agents.export", "agents.gather", "agents.progress", "agents.training",
    "agents.untrained", "agents.vec", "agents.bench.vector", "agents.bench.train",
    "agents.registry.export", "agents.transformer", "agents.population", "agents.bench.population",
    "agents.serving.gpu", "agents.registry.handler",
)  # fmt: skip


def imported(path):
    """Everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def importers_of(*names):
    """Modules that import one of `names`, or something below it."""
    return {
        module
        for module, path in MODULES.items()
        if any(i == n or i.startswith(f"{n}.") for i in imported(path) for n in names)
    }


@pytest.mark.parametrize("module", LIGHT)
def test_light_module_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("recipe", ["envs.trading_recipe", "envs.market_recipe"])
def test_env_starts_no_thread_when_it_is_imported(recipe):
    # a nursery imports it and then forks the envs
    code = f"import os, {recipe}; print(len(os.listdir('/proc/self/task')))"
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=alone, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "1"


def test_imports_point_down():
    assert not [m for m in importers_of("envs", "agents", "launch") if m.startswith("grid")]
    assert not [m for m in importers_of("agents", "launch") if m.startswith("envs")]
    assert not importers_of("launch", "tests")


def test_engine_is_known_in_its_places_only():
    outside = {m for m in importers_of("nautilus_trader") if not m.startswith(ENGINE)}
    assert outside == set()


def test_torch_is_known_where_a_network_lives_only():
    assert importers_of("torch", "stable_baselines3") <= set(TORCH)


def test_zeromq_is_spoken_in_the_grid_only():
    places = ("grid.", "agents.bench.", "agents.chaos.")
    outside = {m for m in importers_of("zmq") if not m.startswith(places)}
    assert outside == set()


def test_package_files_hold_a_docstring_and_nothing_else():
    for path in (p for p in MODULES.values() if p.name == "__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_nothing_is_unpickled():
    assert importers_of("pickle", "cloudpickle", "dill", "joblib", "shelve") == set()
    for path in MODULES.values():
        text = path.read_text()
        assert "weights_only=False" not in text, path
        assert "allow_pickle=True" not in text, path
        assert "recv_pyobj" not in text, path
