"""Small training grids for tests: configs, events, and a launcher in a process of its own."""

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil

from agents.trials.config import TrainingGrid
from agents.trials.results import load
from agents.trials.trial import Outcome
from agents.trials.work import TRACKS
from envs.rewards import Step
from grid.config import convert
from grid.home import Home

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
from pathlib import Path
import msgspec
from agents import provenance
from agents.trials import launcher
from agents.trials.clusters import builder
from agents.trials.config import TrainingGrid
from grid.config import convert
from grid.home import Home

provenance.commit = lambda: "test"  # others may commit while the test runs
tree = msgspec.json.decode(sys.argv[2])
grid = convert(tree, TrainingGrid, "test")

def tell(schedule, beats, events):
    for event in events:
        print(type(event).__name__, getattr(event, "trial", ""), flush=True)

schedule = launcher.run(grid, Home(Path(sys.argv[1])), builder(sys.argv[3]), tell, resume=True)
sys.exit(130 if schedule.stopped == launcher.INTERRUPTED else 0)
"""


def base_tree(**run: Any) -> dict[str, Any]:
    """A run over the first ten hours of the dataset `tiny`."""
    return {
        "name": "base",
        "data": {
            "dataset": "tiny",
            "train": ["2020-01-01 00:00:00", "2020-01-01 10:00:00"],
            "test": ["2020-01-01 10:10:00", "2020-01-01 13:00:00"],
        },
        "env": {
            "features": ["log_return:1", "momentum:5"],
            "window": 3,
            "steps": 50,
            "target": {"max_qty": 10_000.0},
        },
        "algo": {"name": "ppo", "net": [8, 8], "n_steps": 64, "batch_size": 64, "n_epochs": 2},
        "run": {"total_steps": 256, "n_envs": 1, "checkpoint_every_steps": 128, **run},
    }


def grid_tree(name: str = "tiny-grid", **more: Any) -> dict[str, Any]:
    """A grid of two points, one fold, one seed, unless told otherwise."""
    return {
        "name": name,
        "base": base_tree(),
        "axes": {"algo.learning_rate": [1e-3, 1e-2]},
        **more,
    }


def grid(name: str = "tiny-grid", **more: Any) -> TrainingGrid:
    """The config itself."""
    return convert(grid_tree(name, **more), TrainingGrid, "test")


def launch(
    home: Home, tree: dict[str, Any], log: Path, on: str = "local"
) -> "subprocess.Popen[bytes]":
    """Start or resume a grid in a process of its own, its events written to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(home.root), msgspec.json.encode(tree), on],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def outcome(score: float, steps: int = 256) -> Outcome:
    """What a trial came to, with one figure for all."""
    scores: dict[str, float | None] = {"sharpe": score, "log_return": score}
    return Outcome(digest="d", steps=steps, seconds=1.0, validation=scores, test=scores)


def pids_of_trials(nursery: int) -> dict[str, int]:
    """Processes of trials that run now, by the trial's id."""
    found = {}
    for child in psutil.Process(nursery).children():
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            found[Path(f"/proc/{child.pid}/comm").read_text().strip()] = child.pid
    return found


def made(home: Home, name: str = "tiny-grid") -> dict[str, Any]:
    """What a grid's trials have made: digest of the checkpoint, figures, and bytes of tracks."""
    results = load(home.root / "grids" / name)
    return {
        t.trial.id: (t.status, t.outcome and (t.outcome.digest, t.outcome.validation,
         t.outcome.test), hashlib.sha256((t.folder / TRACKS).read_bytes()).hexdigest())
        for t in results.trials if t.status == "done"
    }  # fmt: skip


def broken(step: Step) -> float:
    """A reward that a plan accepts and a training does not survive."""
    raise RuntimeError("this reward is broken")


BROKEN = f"{__name__}:{broken.__name__}"
