"""What the gateway tells of training grids, by their journals alone."""

import shutil

import msgspec
import pytest

from agents.trials.events import (
    Done,
    Failed,
    Launched,
    Planned,
    Proposed,
    Reported,
    Saved,
    Started,
    Stopped,
)  # fmt: skip
from agents.trials.folder import Folder
from agents.trials.messages import Beat
from agents.trials.onlooker import Onlooker
from agents.trials.trial import Configuration, Dates
from agents.trials.verdicts import reported
from grid.errors import TrialsError
from grid.home import Home
from tests.support import grids_of_trials as grids

SPANS = Dates(
    ("2020-01-01", "2020-01-02"), ("2020-01-02", "2020-01-03"), ("2020-01-03", "2020-01-04")
)
KEYS = ("aaaaaaaa", "bbbbbbbb")


class Told:
    """A grid of two configurations, one fold, one seed; and its journal to write in."""

    def __init__(self, root):
        self.folder = Folder(Home(root), "g")
        self.folder.path.mkdir(parents=True)
        self.folder.keep(grids.grid("g"))
        self.at_ns = 1_000
        self(
            Planned(
                name="g", folds=(SPANS,), holdout=None, seeds=(0,), datasets={}, sources={}, by="me"
            ),
            Launched(commit="c", by="ann", pid=1),
            Proposed(batch=0, configurations=tuple(
                Configuration(key, {"algo.learning_rate": n + 1.0}) for n, key in enumerate(KEYS)
            )),
        )  # fmt: skip

    def __call__(self, *events):
        with self.folder.journal.open("ab") as journal:
            for event in events:
                self.at_ns += 1_000
                stamped = msgspec.structs.replace(event, at_ns=self.at_ns)
                journal.write(msgspec.json.encode(stamped) + b"\n")


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path)


@pytest.fixture
def onlooker(tmp_path):
    made = Onlooker(Home(tmp_path))
    yield made
    made.close()


A, B = (f"{key}-f0-s0" for key in KEYS)


def test_running_grid_is_told_with_what_its_trials_do_now(told, onlooker):
    told(Started(trial=A, attempt=1), Saved(trial=A, steps=64, reward=-1.5))
    told.folder.lock()
    try:
        told.folder.show({
            A: Beat(trial=A, attempt=1, doing="training", steps=128, steps_per_s=64.0, reward=2.0),
        })  # fmt: skip
        grid = onlooker.grid("g")
        assert (grid.state, grid.steps, grid.total_steps) == ("running", 128, 512)
        assert (grid.steps_per_s, grid.eta_s) == (64.0, 6.0)
        first, second = onlooker.trials("g")
        assert (first.phase, first.doing, first.steps, first.reward, first.eta_s) == (
            "running", "training", 128, 2.0, 2.0,
        )  # fmt: skip
        assert (second.phase, second.reward, second.eta_s) == ("waiting", None, None)
        assert onlooker.curves("g")[0].reward == [(64, -1.5), (128, 2.0)]
        assert onlooker.detail("g").verdict.state == "running"
    finally:
        told.folder.unlock()
    assert onlooker.grid("g").state == "abandoned"


def test_grid_that_goes_on_is_told_on_and_one_begun_anew_is_told_anew(told, onlooker, tmp_path):
    before = onlooker.grid("g")
    told(Started(trial=A, attempt=1))
    after = onlooker.grid("g")
    assert (before.phases, after.phases) == ({"waiting": 2}, {"running": 1, "waiting": 1})
    assert before.revision != after.revision
    assert onlooker.grid("g") == after
    shutil.rmtree(told.folder.path)
    Told(tmp_path)
    assert onlooker.grid("g").phases == {"waiting": 2}


def test_death_is_told_with_its_log_and_pruned_steps_are_not_waited_for(told, onlooker):
    died = Failed(trial=A, attempt=1, why="it fell", log="last words", again=True)
    told(
        Started(trial=A, attempt=1), died, Started(trial=A, attempt=2),
        Reported(trial=A, rung=0, steps=64, score=0.5),
        Done(trial=A, outcome=grids.outcome(0.75)),
        Started(trial=B, attempt=1), msgspec.structs.replace(died, trial=B, again=False),
        Stopped(why="complete"),
    )  # fmt: skip
    first, second = onlooker.trials("g")
    assert (first.phase, first.retries, first.score, first.why) == ("done", 1, 0.75, None)
    assert (second.phase, second.retries, second.why) == ("failed", 0, "it fell")
    assert [(f.trial, f.again, f.log) for f in onlooker.failures("g")] == [
        (A, True, "last words"), (B, False, "last words"),
    ]  # fmt: skip
    assert onlooker.curves("g")[0].score == [(64, 0.5), (256, 0.75)]
    grid, best = onlooker.grid("g"), onlooker.detail("g").best
    assert (grid.state, grid.total_steps, grid.failures) == ("complete", grid.steps, 2)
    assert (best.configuration, best.params, best.score) == (KEYS[0], "learning_rate=1", 0.75)


def test_long_curve_is_thinned_and_keeps_its_ends(told, onlooker):
    told(*(Saved(trial=A, steps=n, reward=float(n)) for n in range(1, 502)))
    curve = onlooker.curves("g")[0]
    assert (len(curve.reward), curve.left_out) == (200, 301)
    assert (curve.reward[0], curve.reward[-1]) == ((1, 1.0), (501, 501.0))


def test_damaged_grid_is_named_and_does_not_hide_the_others(told, onlooker, tmp_path):
    other = tmp_path / "grids" / "h"
    shutil.copytree(told.folder.path, other)
    (other / "events.jsonl").write_text("{}\n")
    assert set(onlooker.names()) == {"g", "h"}
    with pytest.raises(TrialsError, match="line 1: damaged"):
        onlooker.grid("h")
    assert onlooker.grid("g").state == "abandoned"


def test_report_older_than_the_grid_does_not_count(told):
    file = told.folder.path / "reports" / "report.json"
    file.parent.mkdir()
    said = {"verdict": {"line": "Nothing.", "grade": "nothing found", "reasons": ["r"]}}
    file.write_bytes(msgspec.json.encode({"findings": said}))
    made_ns = file.stat().st_mtime_ns
    found = reported(told.folder.path, made_ns)
    assert found is not None
    assert (found.line, found.grade, found.source) == ("Nothing.", "nothing found", "report")
    assert reported(told.folder.path, made_ns + 1) is None
    file.write_text("half a")
    assert reported(told.folder.path, 0) is None
