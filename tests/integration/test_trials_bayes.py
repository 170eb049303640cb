"""Bayesian search from the first proposal to the report, its launcher killed on the way."""

import contextlib
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents.gridreport.report import write
from agents.trials import events
from agents.trials.folder import Folder
from agents.trials.journal import read
from agents.trials.results import load
from agents.trials.search import Settled, proposer
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.support import runs
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)  # a twentieth of it on two cores of one's own

COUNT, BATCH = 6, 2


def tree() -> dict[str, Any]:
    """Six configurations by Optuna, two at a time, the last four by what the first came to."""
    return grids.grid_tree(
        "bayes",
        axes={
            "algo.learning_rate": {"log_uniform": [1e-4, 1e-2]},
            "env.reward": ["log_equity", grids.BROKEN],
        },
        search={
            "kind": "bayes", "configurations": COUNT, "batch": BATCH, "startup": BATCH, "seed": 1,
        },
        workers={"processes": 2, "retries": 0},
    )  # fmt: skip


@contextlib.contextmanager
def running(home: Home, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    child = grids.launch(home, tree(), log)
    family: list[psutil.Process] = []
    try:
        yield child
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(child.pid).children(recursive=True)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(10)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f"outlived the launcher: {alive}"


def test_bayesian_search_killed_in_the_middle_proposes_nothing_twice_and_counts_what_it_tried(
    tmp_path: Path,
) -> None:
    pytest.importorskip("optuna")
    home, log = runs.home_with_data(tmp_path / "home"), tmp_path / "log"
    journal = Folder(home, "bayes").journal

    def in_the_middle() -> bool:
        """A trial of the second batch, which depends on the first, has begun."""
        batches = [e for e in read(journal) if isinstance(e, events.Proposed)]
        if len(batches) < 2:
            return False
        own = {c.key for c in batches[1].configurations}
        begun = [e.trial for e in read(journal) if isinstance(e, events.Started)]
        return any(name.partition("-")[0] in own for name in begun)

    with running(home, log) as child:
        until(lambda: child.poll() is not None or in_the_middle(), 100, "the second batch")
        assert child.poll() is None, log.read_text()
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    assert not load(home.root / "grids" / "bayes").stopped
    before = read(journal)
    with running(home, log) as child:
        assert child.wait(100) == 0, log.read_text()

    results = load(home.root / "grids" / "bayes")
    assert results.stopped == "complete"
    assert list(results.events[: len(before)]) == before, "what was known is kept"
    proposed = [e for e in results.events if isinstance(e, events.Proposed)]
    keys = [c.key for e in proposed for c in e.configurations]
    assert [e.batch for e in proposed] == [0, 1, 2]
    assert len(set(keys)) == len(keys) == COUNT, "proposed twice"
    ended = Counter(e.trial for e in results.events if isinstance(e, events.Done | events.Failed))
    assert dict(ended) == {f"{key}-f0-s0": 1 for key in keys}, "a trial ends once"

    # each batch is what the scores before it say, whoever was killed
    settled: list[list[Settled]] = []
    for said in proposed:
        anew = proposer(results.grid).next(settled).configurations
        assert anew == said.configurations
        settled.append([Settled(c, results.scores[c.key]) for c in anew])

    # what failed was tried, too, and the verdict is held against all of it
    statuses = Counter(t.status for t in results.trials)
    assert 1 <= statuses["failed"] < COUNT
    _, report = write(home, "bayes", play=False)
    verdict = report.findings.verdict
    assert verdict is not None
    assert report.findings.tried == verdict.tried == COUNT
    assert verdict.records == statuses["done"] == COUNT - statuses["failed"]
    assert verdict.line.startswith(f"After {COUNT} trials, ")
    assert report.circumstances.launches == 2
