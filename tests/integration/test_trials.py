"""Training grids for real: forks that train, are killed, fail, and are judged."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from agents import provenance
from agents.checkpoint import Checkpoint
from agents.config import RunConfig
from agents.training import train
from agents.trials import config, estimate, events, launcher, table
from agents.trials.config import TrainingGrid, Workers
from agents.trials.data import cut_to
from agents.trials.events import Event
from agents.trials.folder import Folder
from agents.trials.holdout import finalize
from agents.trials.journal import Journal
from agents.trials.local import Local
from agents.trials.messages import Died, Finished, Message, Order, Rung, Saved
from agents.trials.results import GridResults, load
from agents.trials.schedule import Schedule
from agents.trials.work import work
from grid.config import convert, dump
from grid.dataset import Dataset, to_ns
from grid.errors import ArgonautError, ConfigError, DataError, ProcessDied, TrialsError
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.support import runs
from tests.support.disks import small_disk
from tests.support.wait import until

__all__ = ["small_disk"]

pytestmark = pytest.mark.timeout(300)  # a tenth of it on two cores of one's own

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(provenance, "commit", lambda: "test")  # it is in every checkpoint
    return runs.home_with_data(tmp_path / "home")


class Running:
    """A grid that runs in this process; `news` is called with each event and the nursery's pid."""

    def __init__(self, news: Any = lambda event, nursery: None) -> None:
        self.events: list[Event] = []
        self.pool: Local | None = None
        self._news = news

    def run(self, grid: TrainingGrid, home: Home, **how: Any) -> Schedule:
        return launcher.run(grid, home, self._build, self._tell, **how)

    def _build(self, grid: TrainingGrid, home: Home) -> Local:
        self.pool = Local(home, grid.workers)
        return self.pool

    def _tell(self, schedule: Schedule, beats: Any, events: list[Event]) -> None:
        for event in events:
            self.events.append(event)
            self._news(event, self.pool.pid if self.pool else 0)


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "launch.py", "grid", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_grid_in_another_order_on_other_workers_makes_the_same_checkpoints(home: Home) -> None:
    first = grids.grid("first", seeds=2, workers={"processes": 1})
    axis = {"algo.learning_rate": [1e-2, 1e-3]}
    second = grids.grid("second", axes=axis, seeds=[1, 0], workers={"processes": 3})
    orders = []
    for grid in (first, second):
        running = Running()
        assert running.run(grid, home).stopped == "complete"
        orders.append([e.trial for e in running.events if isinstance(e, events.Started)])
        assert not psutil.Process().children(), "the nursery or a trial has outlived the launcher"
    assert orders[0] != orders[1]
    made = grids.made(home, "first")
    assert len(made) == 4
    assert made == grids.made(home, "second")
    # and no trial is like another
    assert len({m[1][0] for m in made.values()}) == 4

    pace = estimate.earlier(home, "ppo")
    assert pace is not None
    assert "of grid second" in pace.source
    assert pace.steps_per_s > 0
    assert 1_000 < pace.checkpoint_bytes < 200_000
    assert estimate.earlier(home, "sac") is None

    again = Running()
    assert again.run(first, home, resume=True).stopped == "complete"
    assert again.pool is None, "a grid that is complete needs no process"
    with pytest.raises(TrialsError, match="go on with `grid resume`, begin anew with --replace"):
        Running().run(first, home)
    changed = grids.grid("first", seeds=3)
    with pytest.raises(ConfigError, match=r"cannot go on with another config: seeds was 2, is 3"):
        Running().run(changed, home, resume=True)


def test_grid_survives_a_killed_trial_and_one_that_cannot_be(home: Home) -> None:
    grid = grids.grid(
        base=grids.base_tree(total_steps=640),
        axes={"env.reward": ["log_equity", grids.BROKEN], "env.window": [2, 3]},
        workers={"processes": 2, "retries": 1},
    )
    killed: list[str] = []

    def kill_once(event: Event, nursery: int) -> None:
        if isinstance(event, events.Saved) and not killed:
            pid = grids.pids_of_trials(nursery).get(event.trial)
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed.append(event.trial)

    running = Running(kill_once)
    schedule = running.run(grid, home)

    assert schedule.stopped == "complete"
    results = load(home.root / "grids" / grid.name)
    good = [t for t in results.trials if t.params["env.reward"] == "log_equity"]
    bad = [t for t in results.trials if t.params["env.reward"] != "log_equity"]
    assert [t.status for t in good] == ["done", "done"]
    assert [t.status for t in bad] == ["failed", "failed"]
    assert all("RuntimeError: this reward is broken" in t.log for t in bad)
    assert all(t.attempts == 2 for t in bad)
    assert results.count == 4, "a failed configuration was tried, too"
    assert "RuntimeError: this reward is broken" in table.report(results)
    died = [e for e in running.events if isinstance(e, events.Failed) and e.trial == killed[0]]
    assert [(e.why, e.again) for e in died] == [("was killed by SIGKILL", True)]
    saved = [
        e.steps for e in running.events if isinstance(e, events.Saved) and e.trial == killed[0]
    ]
    assert saved == sorted(set(saved)), "it went on from its checkpoint"

    # a killed trial ends as a training that nobody touched, and that is no trial at all
    (trial,) = (t for t in good if t.trial.id == killed[0])
    alone = train(trial.config, home, progress=False, threads=1, commit="test")
    assert trial.outcome is not None
    assert alone.name == trial.outcome.digest


def check_descent(results: GridResults) -> None:
    """Trials of the second generation began from checkpoints of the first."""
    for trial in results.trials:
        (c,) = (c for c in results.configurations if c.key == trial.trial.configuration)
        m = Checkpoint.open(trial.folder).manifest
        if c.generation == 0:
            assert (m.steps, m.parent) == (128, "")
            continue
        parent = Checkpoint.open(results.home.runs / f"{c.parent}-f{trial.trial.fold}-s0")
        assert (m.steps, m.parent) == (256, parent.digest)
        assert len(list((trial.folder / "checkpoints").iterdir())) == 1


def test_grid_keeps_the_holdout_shut_until_it_is_opened_once(home: Home) -> None:
    folds = {
        "kind": "anchored", "train": "240min", "validation": "120min", "test": "90min", "count": 2,
        "holdout": "150min",
    }  # fmt: skip
    grid = grids.grid(
        folds=folds,
        axes={"algo.learning_rate": {"log_uniform": [1e-4, 1e-2]}},
        search={"kind": "pbt", "population": 2, "generations": 2, "quantile": 0.5},
        workers={"processes": 2},
    )
    schedule = Running().run(grid, home)
    assert {s.phase for s in schedule.trials.values()} == {"done"}
    results = load(home.root / "grids" / grid.name)
    check_descent(results)
    assert results.holdout is not None
    start_ns = to_ns(results.holdout[0])
    seen = Dataset.find(results.home.datasets, "tiny")
    whole = Dataset.find(home.datasets, "tiny")
    assert seen.manifest.end_ns < start_ns < whole.manifest.end_ns
    assert seen.manifest.fingerprint == cut_to(whole, seen.manifest.rows).manifest.fingerprint
    for trial in results.trials:
        config = Checkpoint.open(trial.folder).manifest.data
        assert config.fingerprint == seen.manifest.fingerprint
        tracks = trial.tracks()
        assert tracks["validation"].ts_ns[-1] < tracks["test"].ts_ns[0]
        assert tracks["test"].ts_ns[-1] < start_ns
        assert trial.outcome is not None
        assert trial.outcome.test["steps"] == tracks["test"].steps
        assert list((trial.folder / "tb" / "hparams").iterdir())

    best = results.best()
    assert best is not None
    other = next(c.key for c in results.configurations if c.key != best.key)
    journal = Journal(Folder(home, grid.name).journal)
    journal.append(events.Finalized(configuration=best.key, by="one whose power failed"))
    journal.close()
    with pytest.raises(TrialsError, match="opened by one whose power failed"):
        finalize(home, grid.name, other)
    opened = command("finalize", grid.name, "--home", str(home.root))
    assert opened.returncode == 0, opened.stderr
    assert f"configuration {best.key}, once" in opened.stdout
    after = load(home.root / "grids" / grid.name)
    assert after.finalized is not None
    assert list(after.finalized.scores) == [f"{best.key}-f1-s0"], "of the newest fold"
    assert after.finalized.scores[f"{best.key}-f1-s0"]["steps"] > 100
    assert (after.home.reports / "holdout.json").is_file()
    with pytest.raises(TrialsError, match="worth nothing a second time"):
        finalize(home, grid.name)
    with pytest.raises(TrialsError, match="was finalized"):
        Running().run(grid, home, resume=True)


def test_grid_that_looks_at_the_holdout_is_refused_and_leaves_nothing(home: Home) -> None:
    grid = grids.grid(folds={"kind": "none", "holdout": "300min"})
    with pytest.raises(ConfigError, match="expected no trial to see rows"):
        Running().run(grid, home)
    assert not Folder(home, grid.name).exists
    missing = grids.grid(axes={"data.dataset": ["tiny", "nowhere"]})
    with pytest.raises(DataError, match="no dataset 'nowhere'"):
        Running().run(missing, home)


def order(home: Home, rungs: tuple[int, ...] = (), **more: Any) -> Order:
    tree = grids.base_tree(checkpoint_every_steps=64, **more)
    run = convert({**tree, "name": "t"}, RunConfig, "test")
    return Order(
        trial="t", attempt=1, config=dump(run),
        validation=("2020-01-01 10:10:00", "2020-01-01 13:00:00"), objective="sharpe",
        rungs=rungs, reported=(), parent="", params={}, commit="", cores=1,
    )  # fmt: skip


def test_trial_reports_each_rung_once_also_when_it_died_there(home: Home) -> None:
    said: list[Message] = []

    def die(message: Message) -> None:
        if isinstance(message, Rung) and message.rung == 1:
            raise KeyboardInterrupt
        said.append(message)

    whole = order(home, (64, 100))
    with pytest.raises(KeyboardInterrupt):
        work(whole, home, die)
    assert [(m.rung, m.steps) for m in said if isinstance(m, Rung)] == [(0, 64)]
    said.clear()
    work(msgspec.structs.replace(whole, attempt=2, reported=(0,)), home, said.append)
    rungs = [m for m in said if isinstance(m, Rung)]
    assert [(m.rung, m.steps) for m in rungs] == [(1, 128)]
    assert rungs[0].score is not None
    assert [m.steps for m in said if isinstance(m, Saved)] == [192, 256]
    assert isinstance(said[-1], Finished)


def test_pool_kills_a_trial_and_starts_it_again_when_it_is_gone(home: Home) -> None:
    pool = Local(home, Workers(processes=2))
    try:
        endless = order(home, total_steps=4_000_000)
        pool.submit(endless)
        heard: list[Message] = []

        def until_heard(kind: type[Any], attempt: int) -> Any:
            def found() -> list[Message]:
                heard.extend(pool.poll(0.1))
                return [m for m in heard if isinstance(m, kind) and m.attempt == attempt]

            until(found, 60, f"{kind.__name__} of attempt {attempt}")
            return found()[0]

        until_heard(Saved, 1)
        pool.submit(msgspec.structs.replace(endless, attempt=2))  # waits for the other to go
        assert pool.free == 1
        os.kill(grids.pids_of_trials(pool.pid)["t"], signal.SIGKILL)
        assert until_heard(Died, 1).why == "was killed by SIGKILL"
        until_heard(Saved, 2)
        pool.cancel("t")
        until_heard(Died, 2)
        assert pool.free == 2
        os.kill(pool.pid, signal.SIGKILL)
        with pytest.raises(ProcessDied, match="the process that starts the trials ended"):
            until_heard(Died, 3)
    finally:
        pool.close()
    assert not psutil.Process().children()


def test_grid_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    home: Home, small_disk: Path
) -> None:
    (home.root / "grids").symlink_to(small_disk)
    grid = grids.grid(seeds=4, workers={"processes": 2})
    with pytest.raises((ProcessDied, OSError), match="No space left on device") as error:
        Running().run(grid, home)
    assert "\n" not in str(error.value)
    assert not psutil.Process().children()
    grow = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(grow, timeout=10, check=True)
    schedule = Running().run(grid, home, resume=True)
    assert schedule.stopped == "complete"
    assert {s.phase for s in schedule.trials.values()} == {"done"}
    assert {s.failures for s in schedule.trials.values()} == {0}, "a full disk is no trial's fault"


def test_grid_runs_detached_is_watched_stopped_and_resumed(home: Home, tmp_path: Path) -> None:
    tree = grids.grid_tree("cli", base=grids.base_tree(total_steps=4_000_000))
    tree["workers"] = {"processes": 1}
    file = tmp_path / "cli.toml"
    file.write_text(_toml(tree))
    assert config.load(file) == grids.grid(**tree)
    where = ("--home", str(home.root))

    planned = command("plan", str(file), *where)
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"cost: about .* with 1 trials at once, \d+ MB of disk", planned.stdout)
    assert "from a short training of 2,048 steps just now" in planned.stdout
    assert "2 configurations x 1 folds x 1 seeds = 2 trials" in planned.stdout
    assert not (home.root / "grids").exists(), "a plan touches nothing"

    started = command("run", str(file), "--detach", *where)
    assert started.returncode == 0, started.stderr
    folder = Folder(home, "cli")
    pid = folder.launcher
    try:
        assert f"as process {pid}" in started.stdout
        second = command("run", str(file), *where)
        assert second.returncode == 2
        assert f"runs already, as process {pid}" in second.stderr
        until(lambda: any(b.steps for b in folder.shown().values()), 90, "a trial to train")
        looked = command("status", "cli", *where)
        assert "1 running, 1 waiting" in looked.stdout
        assert "training" in looked.stdout
        family = psutil.Process(pid).children(recursive=True)
        assert len(family) >= 2
        stopped = command("stop", "cli", *where)
        assert stopped.returncode == 0, stopped.stderr
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive
    finally:
        if folder.launcher:
            os.kill(folder.launcher, signal.SIGKILL)
    assert load(folder.path).stopped == "interrupted"
    report = command("report", str(file), *where)
    assert "interrupted" in report.stdout
    with pytest.raises(ArgonautError):
        load(home.root / "grids" / "none")


def _toml(tree: dict[str, Any]) -> str:
    """The tree as TOML, by its JSON: which is TOML but for braces, colons and null."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            inner = ", ".join(f'"{k}" = {text(v)}' for k, v in value.items())
            return f"{{ {inner} }}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(text, value)) + "]"
        return str(msgspec.json.encode(value).decode())

    return "\n".join(f"{key} = {text(value)}" for key, value in tree.items())
