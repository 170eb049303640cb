"""What a person sees of a grid, and what statistics are handed."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.metrics import Track
from agents.trials import judging, messages, table
from agents.trials.events import Failed, Planned, Pruned
from agents.trials.results import GridResults, TrialResult
from agents.trials.returns import returns
from agents.trials.screen import Screen
from agents.trials.trial import Configuration, Dates, Trial, run_config
from agents.trials.work import TRACKS
from grid.config import dump
from grid.errors import DataError
from grid.home import Home
from tests.support import grids_of_trials as grids
from tests.unit.test_trials_schedule import FOLD, Play

FOLDS = (
    FOLD,
    Dates(("2020-01-01", "2020-01-02"), ("2020-01-06", "2020-01-07"), ("2020-01-08", "2020-01-09")),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_table_shows_what_runs_and_how_far_it_is() -> None:
    play = Play(folds=2)
    play.go(free=2)
    first, second = play.schedule.running
    play.finish(first)
    play.go(free=2)
    beat = messages.Beat(
        trial=second, attempt=1, doing="training", steps=56, steps_per_s=100.0, reward=0.5,
        memory_mb=42.0,
    )  # fmt: skip
    text = table.live(play.schedule, {second: beat}, now_ns=90 * 10**9)
    lines = text.splitlines()
    assert lines[0] == (
        "grid tiny-grid: 4 trials of 2 configurations, 1 done, 2 running, 1 waiting; 100 steps/s, "
        "about 7.1 s for those proposed; 1 min 30 s so far"
    )
    assert lines[1].split() == [
        "trial", "configuration", "fold", "seed", "doing", "steps", "steps/s", "reward", "score",
        "memory", "GPU", "ETA",
    ]  # fmt: skip
    assert lines[2].split() == [
        second, "learning_rate=0.001", "1", "0", "training", "56", "of", "256", "100", "0.5", "-",
        "42", "MB", "-", "2.0", "s",
    ]  # fmt: skip
    assert "starting" in lines[3]


def test_screen_moves_its_table_on_a_terminal_and_writes_plain_lines_elsewhere() -> None:
    play = Play()
    play.go()
    (first, second) = play.started
    failed = Failed(trial=first, attempt=1, why="was killed", log="", again=True)
    terminal, plain = Terminal(), io.StringIO()
    for out in (terminal, plain):
        with Screen(out) as screen:
            screen.tell(play.schedule, {}, play.journal)
            screen.tell(play.schedule, {}, [failed])
    shown = terminal.getvalue()
    assert shown.count("\x1b[4F\x1b[J") == 2, "the table is drawn over, and taken away at the end"
    assert f"failed: {first}, attempt 1: was killed; tried again\n" in shown
    assert f"started: {first}\n" not in shown
    lines = plain.getvalue().splitlines()
    assert "\x1b" not in plain.getvalue()
    assert lines[0] == "planned: 1 folds, 1 seeds, by me"
    assert f"started: {second}" in lines
    assert lines[-1].startswith("failed: ")


def test_table_short_forms() -> None:
    params = {"algo": {"name": "ppo", "n_steps": 64}, "env.features": ["a", "b"], "algo.gamma": 0.5}
    assert table.point(params) == "algo=ppo, features=a+b, gamma=0.5"
    assert table.point({}) == "base"
    assert table.duration(3.24) == "3.2 s"
    assert table.duration(200) == "3 min 20 s"
    assert table.duration(3600 * 4 + 300) == "4 h 05 min"
    pruned = Pruned(trial="t", steps=5, why="too bad")
    assert table.line(pruned) == "pruned: t: too bad"


def track(ts: list[int], equity: list[float], *, ruined: bool = False) -> Track:
    n = len(ts)
    zeros = np.zeros(n)
    return Track(
        ts_ns=np.array(ts), price=np.ones(n), equity=np.array(equity), position_qty=zeros,
        fees=zeros, traded=zeros, fills=np.zeros((0, 5)), ruined=ruined,
    )  # fmt: skip


def results(tmp_path: Path, tracks: dict[tuple[str, int, int], Track | None]) -> GridResults:
    """A grid of hand-made tracks: (configuration, fold, seed) -> its test track, None if failed."""
    grid = grids.grid(seeds=2)
    configurations = {key: Configuration(key, {}) for key, _, _ in tracks}
    trials = []
    for (key, fold, seed), made in tracks.items():
        trial = Trial(key, fold, seed)
        folder = tmp_path / trial.id
        folder.mkdir()
        if made is not None:
            (folder / TRACKS).write_bytes(judging.to_bytes({"test": made}))
        config = run_config(dump(grid.base), configurations[key], trial, FOLDS[fold], gpu=False)
        trials.append(
            TrialResult(
                trial=trial, params={}, config=config, dates=FOLDS[fold],
                status="done" if made else "failed", steps=1, attempts=1,
                why="" if made else "no mind to", log="last words", rungs={},
                outcome=grids.outcome(1.0) if made else None, folder=folder,
            )
        )  # fmt: skip
    more: dict[str, Any] = {"excluded": 3, "invalid": (), "stopped": "complete"}
    planned = Planned(
        name="g", folds=FOLDS, holdout=None, seeds=(0, 1), datasets={}, sources={}, by="me"
    )
    return GridResults(
        grid=grid, planned=planned, configurations=tuple(configurations.values()),
        scores=dict.fromkeys(configurations, 1.0), trials=tuple(trials),
        spent={"trials": 1, "steps": 8, "hours": 0.5}, finalized=None, events=(),
        home=Home(tmp_path), **more,
    )  # fmt: skip


def test_returns_join_folds_and_average_seeds(tmp_path: Path) -> None:
    day = 86_400 * 10**9
    early, late = [0, day, 2 * day], [10 * day, 11 * day, 12 * day]
    found = returns(
        results(
            tmp_path,
            {
                ("aa", 0, 0): track(early, [100, 110, 110]),
                ("aa", 0, 1): track(early, [100, 130, 130]),
                ("aa", 1, 0): track(late, [100, 100, 50]),
                ("aa", 1, 1): track(late[:2], [100, 100], ruined=True),
                # decides twice as often
                ("bb", 0, 0): track([0, day // 2, day, 2 * day], [100, 1, 200, 200]),
                ("bb", 0, 1): track(early, [100, 100, 100]),
                ("bb", 1, 0): track(late, [100, 100, 100]),
                ("bb", 1, 1): track(late, [100, 100, 100]),
                ("cc", 0, 0): None,
                ("cc", 0, 1): track(early, [100, 100, 100]),
            },
        )
    )
    assert found.keys == ("aa", "bb")
    np.testing.assert_allclose(
        found.returns, [[0.2, 0.5], [0.0, 0.0], [0.0, 0.0], [-0.25, 0.0]], atol=1e-12
    )
    assert found.ts_ns.tolist() == [day, 2 * day, 11 * day, 12 * day]
    assert found.fold.tolist() == [0, 0, 1, 1]
    assert found.per_year == pytest.approx(365.25)


def test_returns_of_no_configuration_that_is_done_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no configuration is done"):
        returns(results(tmp_path, {("aa", 0, 0): None}))


def test_report_tells_of_failures_with_their_last_lines(tmp_path: Path) -> None:
    made = track([0, 1, 2], [1, 1, 1])
    text = table.report(results(tmp_path, {("aa", 0, 0): made, ("bb", 0, 0): None}))
    assert text.startswith("grid tiny-grid: 2 configurations tried, 2 trials, 8 steps, 30 min 00 s")
    assert "failed: bb-f0-s0, base: no mind to\n    last words" in text
    assert "3 points excluded" in text
