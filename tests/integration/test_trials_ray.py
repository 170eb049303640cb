"""The same grid on this machine's pool and on Ray, where a worker is killed."""

import signal
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import provenance
from agents.trials import events, launcher
from agents.trials.clusters import builder
from agents.trials.config import TrainingGrid
from agents.trials.events import Event
from agents.trials.results import load
from agents.trials.schedule import Schedule
from grid.errors import ConfigError
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.support import runs

ray = pytest.importorskip("ray")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(provenance, "commit", lambda: "test")
    return runs.home_with_data(tmp_path / "home")


def workers_of_ray() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "ray::carry_out" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.timeout(300)  # Ray alone takes 5 s to start, a trial on it 3 s more than in the pool
def test_grid_on_ray_makes_the_same_checkpoints_though_a_worker_is_killed(home: Home) -> None:
    def grid(name: str) -> TrainingGrid:
        # a holdout: what travels is the data that is cut off
        folds = {"kind": "none", "holdout": "60min", "validation": "60min"}
        return grids.grid(name, folds=folds, workers={"processes": 2})

    killed: list[str] = []

    def kill_once(schedule: Schedule, beats: Any, news: list[Event]) -> None:
        for event in news:
            if isinstance(event, events.Saved) and not killed:
                for worker in workers_of_ray():
                    worker.send_signal(signal.SIGKILL)
                killed.append(event.trial)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        done = launcher.run(grid("on-ray"), home, builder("ray"), kill_once)
    assert done.stopped == "complete"
    assert not workers_of_ray()
    here = launcher.run(grid("here"), home, builder("local"), lambda *_: None)
    assert here.stopped == "complete"

    assert killed
    results = load(home.root / "grids" / "on-ray")
    again = [t for t in results.trials if t.attempts > 1]
    assert again, "no worker was lost"
    assert all("worker" in t.why for t in again)
    assert len(grids.made(home, "here")) == 2
    assert grids.made(home, "on-ray") == grids.made(home, "here")
    log = (results.home.root / "logs" / f"{again[0].trial.id}.log").read_text()
    assert "checkpoint" in log


def test_cluster_that_is_none_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="--on: expected local, ray or ray://HOST:PORT"):
        builder("dask")
