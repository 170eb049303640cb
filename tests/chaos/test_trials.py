"""A grid of 24 trainings on real data, killed at random, ends as one that nobody touched."""

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from agents.gridreport.finding import find
from agents.trials.events import Done, Failed, Launched, Saved
from agents.trials.folder import Folder
from agents.trials.journal import read
from agents.trials.results import load
from envs.data import demo
from envs.data.importer import import_file
from grid import instrument
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.support.sources import ROOT, SHARED
from tests.support.wait import until

MINUTES = SHARED / "gbpusd_1m_bid_2012-02.csv"
SEED = 5
VICTIMS = ("trial", "launcher", "trial", "interrupt", "trial", "launcher")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with real bars: minutes of GBP/USD where they lie beside the repository, else the
    hours of EUR/USD that come with the demo."""
    home = Home(tmp_path / "home")
    if MINUTES.exists():
        declared = instrument.load(ROOT / "configs" / "instruments" / "gbpusd.toml")
        import_file(MINUTES, declared, name="real", home=home, bar="1-MINUTE-BID")
    else:
        demo.import_demo(home)
    return home


def tree(home: Home, name: str) -> dict[str, Any]:
    """Two algorithms, two observations, two folds, three seeds."""
    minutes = MINUTES.exists()
    base = grids.base_tree(total_steps=256, checkpoint_every_steps=128)
    base["data"] = {
        "dataset": "real" if minutes else demo.NAME,
        "train": ["2012-02-01", "2012-02-10"],  # of no meaning where the folds walk
        "test": ["2012-02-10", "2012-02-20"],
    }
    lengths = ("1d", "3h", "3h", "2d") if minutes else ("60d", "10d", "10d", "30d")
    train, validation, test, holdout = lengths
    dqn = {"name": "dqn", "net": [8, 8], "batch_size": 32, "learning_starts": 50,
           "buffer_size": 500}  # fmt: skip
    return grids.grid_tree(
        name,
        base=base,
        axes={"algo": [base["algo"], dqn], "env.window": [2, 3]},
        seeds=3,
        folds={
            "kind": "rolling", "train": train, "validation": validation, "test": test,
            "holdout": holdout, "count": 2, "purge": "none", "embargo": "30min",
        },
        workers={"processes": 2, "retries": 9},
    )  # fmt: skip


@contextlib.contextmanager
def running(home: Home, config: dict[str, Any], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    child = grids.launch(home, config, log)
    try:
        yield child
    finally:
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(child.pid).children(recursive=True)
        if child.poll() is None:
            child.kill()
        child.wait(10)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, f"outlived the launcher: {alive}"


class Journal:
    """What a grid's journal says now."""

    def __init__(self, home: Home, name: str) -> None:
        self._file = Folder(home, name).journal

    def count(self, kind: type[Any]) -> int:
        return sum(isinstance(e, kind) for e in read(self._file))

    def saving(self) -> set[str]:
        """Trials that have written a checkpoint and have not ended."""
        events = read(self._file)
        saved = {e.trial for e in events if isinstance(e, Saved)}
        return saved - {e.trial for e in events if isinstance(e, Done)}


def kill_a_trial(child: "subprocess.Popen[bytes]", journal: Journal, rng: random.Random) -> None:
    def struck() -> bool:
        if child.poll() is not None:
            return True
        for nursery in psutil.Process(child.pid).children():
            pids = grids.pids_of_trials(nursery.pid)
            names = sorted(journal.saving() & pids.keys())
            if names:
                os.kill(pids[rng.choice(names)], signal.SIGKILL)
                return True
        return False

    until(struck, 60, "a trial to strike")


def wait_for_more(child: "subprocess.Popen[bytes]", journal: Journal, more: int) -> None:
    enough = journal.count(Done) + more
    until(lambda: child.poll() is not None or journal.count(Done) >= enough, 90, "more to be done")


@pytest.mark.timeout(300)  # 30 s on two cores of one's own, and ten times that on crowded ones
def test_grid_killed_at_random_and_resumed_finds_what_an_undisturbed_one_finds(
    home: Home, tmp_path: Path
) -> None:
    with running(home, tree(home, "calm"), tmp_path / "calm.log") as child:
        assert child.wait(110) == 0, (tmp_path / "calm.log").read_text()

    rng = random.Random(SEED)
    config, log = tree(home, "struck"), tmp_path / "struck.log"
    journal = Journal(home, "struck")
    victims = list(VICTIMS)
    while victims:
        with running(home, config, log) as child:
            while victims:
                wait_for_more(child, journal, rng.randrange(1, 4))
                assert child.poll() is None, log.read_text()
                victim = victims.pop(0)
                if victim == "trial":
                    kill_a_trial(child, journal, rng)
                    continue
                child.send_signal(signal.SIGINT if victim == "interrupt" else signal.SIGKILL)
                assert child.wait(15) == (130 if victim == "interrupt" else -signal.SIGKILL)
                break
    with running(home, config, log) as child:
        assert child.wait(90) == 0, log.read_text()

    grids_of = {name: load(home.root / "grids" / name) for name in ("calm", "struck")}
    for results in grids_of.values():
        assert results.stopped == "complete"
        assert len(results.trials) == 24
        assert {t.status for t in results.trials} == {"done"}
    calm, struck = (grids.made(home, name) for name in grids_of)
    assert calm == struck
    assert grids_of["calm"].scores == grids_of["struck"].scores
    # and so says the report, the name apart
    said = [
        msgspec.structs.replace(found, name="", config={**found.config, "name": ""})
        for found in (find(results, home, play=False)[0] for results in grids_of.values())
    ]
    assert said[0].verdict is not None
    assert said[0] == said[1]
    events = read(Folder(home, "struck").journal)
    done = [e.trial for e in events if isinstance(e, Done)]
    assert len(done) == len(set(done)) == 24, "a trial was repeated"
    deaths = [e for e in events if isinstance(e, Failed)]
    assert [(e.why, e.again) for e in deaths] == [("was killed by SIGKILL", True)] * 3
    assert sum(isinstance(e, Launched) for e in events) == 4
