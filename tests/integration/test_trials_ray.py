"""The same grid on this machine's pool and on Ray, where a worker is killed."""

import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents.trials.clusters import builder
from agents.trials.events import Failed, Saved
from agents.trials.folder import Folder
from agents.trials.journal import read
from agents.trials.results import load
from grid.errors import ConfigError
from tests.support import grids_of_trials as grids
from tests.support import runs
from tests.support.wait import until

pytest.importorskip("ray")


def tree(name: str) -> dict[str, Any]:
    # a holdout: what travels is the data that is cut off
    folds = {"kind": "none", "holdout": "60min", "validation": "60min"}
    base = grids.base_tree(total_steps=1_280, checkpoint_every_steps=128)  # time to be struck in
    return grids.grid_tree(name, base=base, folds=folds, workers={"processes": 2})


def workers(launcher: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Processes of Ray that carry out a trial."""
    found = []
    for child in psutil.Process(launcher.pid).children(recursive=True):
        try:
            if "ray::carry_out" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.timeout(600)  # Ray alone takes seconds to start, and so does each trial on it
def test_grid_on_ray_makes_the_same_checkpoints_though_a_worker_is_killed(tmp_path: Path) -> None:
    home, log = runs.home_with_data(tmp_path / "home"), tmp_path / "log"
    journal = Folder(home, "on-ray").journal
    child = grids.launch(home, tree("on-ray"), log, on="ray")
    family: list[psutil.Process] = []
    try:
        until(
            lambda: child.poll() is not None or any(isinstance(e, Saved) for e in read(journal)),
            200,
            "a checkpoint to come back",
        )
        if "timed out during startup" in log.read_text():
            pytest.skip("Ray did not start within 30 s, twice")  # a limit of its own
        assert child.poll() is None, log.read_text()
        struck = workers(child)
        for worker in struck:
            worker.kill()
        assert struck, log.read_text()
        family = psutil.Process(child.pid).children(recursive=True)
        assert child.wait(200) == 0, log.read_text()
    finally:
        child.kill()
        child.wait(10)
        _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, "a process of Ray has outlived its launcher"
    here = grids.launch(home, tree("here"), log)
    assert here.wait(100) == 0, log.read_text()

    results = load(home.root / "grids" / "on-ray")
    again = [t for t in results.trials if t.attempts > 1]
    assert again, "no worker was lost"
    assert all("worker" in e.why for e in results.events if isinstance(e, Failed))
    assert any(isinstance(e, Failed) for e in results.events)
    assert len(grids.made(home, "here")) == 2
    assert grids.made(home, "on-ray") == grids.made(home, "here")
    log_file = results.home.root / "logs" / f"{again[0].trial.id}.log"
    assert "checkpoint" in log_file.read_text()


def test_cluster_that_is_none_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="--on: expected local, ray or ray://HOST:PORT"):
        builder("dask")
