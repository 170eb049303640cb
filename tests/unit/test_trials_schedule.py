"""The schedule of a grid, driven by events and messages: no process, no clock."""

from typing import Any

import msgspec
import numpy as np
import pytest

from agents.trials import messages
from agents.trials.events import Event, Launched, Planned, Started, Stopped
from agents.trials.schedule import Cancel, Command, Record, Schedule, Start
from agents.trials.search import proposer
from agents.trials.trial import Dates
from tests.support import grids_of_trials as grids

S_NS = 1_000_000_000
FOLD = Dates(
    ("2020-01-01", "2020-01-02"), ("2020-01-03", "2020-01-04"), ("2020-01-05", "2020-01-06")
)


class Play:
    """A schedule with a hand-made executor: trials run until they are told of."""

    def __init__(self, folds: int = 1, seeds: int = 1, **more: Any) -> None:
        self.grid = grids.grid(seeds=seeds, **more)
        self.schedule = Schedule(self.grid, proposer(self.grid))
        self.now_ns = 0
        self.journal: list[Event] = []
        self.started: list[str] = []
        self.cancelled: list[str] = []
        planned = Planned(
            name="g", folds=(FOLD,) * folds, holdout=None, seeds=tuple(range(seeds)),
            datasets={}, sources={}, by="me",
        )  # fmt: skip
        self.do([Record(planned), Record(Launched(commit="", by="me", pid=1))])

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Record():
                    event = msgspec.structs.replace(command.event, at_ns=self.now_ns)
                    self.journal.append(event)
                    self.schedule.apply(event)
                case Start():
                    self.started.append(command.trial)
                case Cancel():
                    self.cancelled.append(command.trial)

    def go(self, free: int = 100) -> None:
        while commands := self.schedule.decide(self.now_ns, free - len(self.schedule.running)):
            self.do(commands)

    def say(self, message: type[Any], trial: str, **more: Any) -> None:
        attempt = self.schedule.trials[trial].attempts
        self.do(self.schedule.heard(message(trial=trial, attempt=attempt, **more), self.now_ns))

    def finish(self, trial: str, score: float = 1.0, steps: int = 256) -> None:
        self.say(messages.Finished, trial, outcome=grids.outcome(score, steps))

    def phases(self) -> dict[str, str]:
        return {name: s.phase for name, s in self.schedule.trials.items()}


def test_schedule_runs_every_trial_once_within_its_slots() -> None:
    play = Play(folds=2, seeds=2)
    play.go(free=3)
    assert len(play.schedule.trials) == 2 * 2 * 2
    assert len(play.started) == 3
    while play.schedule.running:
        play.finish(play.schedule.running[0])
        play.go(free=3)
        assert len(play.schedule.running) <= 3
    assert sorted(play.started) == sorted(play.schedule.trials)
    assert play.schedule.stopped == "complete"


def test_schedule_folded_from_its_journal_is_the_same_at_every_point() -> None:
    play = Play(folds=2, prune={"min_steps": 64, "reduction": 2}, workers={"retries": 1})
    play.go(free=2)
    rng = np.random.default_rng(0)
    while play.schedule.running:
        trial = play.schedule.running[int(rng.integers(len(play.schedule.running)))]
        turn = rng.integers(4)
        if turn == 0:
            play.say(messages.Died, trial, why="was killed")
        elif turn == 1:
            play.say(messages.Rung, trial, rung=0, steps=64, score=float(rng.normal()))
        else:
            play.finish(trial, float(rng.normal()))
        play.now_ns += S_NS
        play.go(free=2)
        again = Schedule(play.grid)
        for event in play.journal:
            again.apply(event)
        assert {n: (s.phase, s.attempts, s.failures, s.rungs) for n, s in again.trials.items()} == {
            n: (s.phase, s.attempts, s.failures, s.rungs) for n, s in play.schedule.trials.items()
        }
        assert again.spent() == play.schedule.spent()
    assert play.schedule.stopped == "complete"


def test_schedule_dead_trial_is_tried_again_after_a_while_and_then_given_up() -> None:
    play = Play(axes={}, workers={"retries": 2})
    play.go()
    (trial,) = play.schedule.trials
    for attempt in (1, 2):
        play.say(messages.Died, trial, why="was killed by SIGKILL", log="last words")
        play.go()
        assert len(play.started) == attempt, "no time has passed"
        play.now_ns += 60 * S_NS
        play.go()
        assert len(play.started) == attempt + 1
    play.say(messages.Died, trial, why="was killed by SIGKILL", log="last words")
    play.go()
    state = play.schedule.trials[trial]
    assert (state.phase, state.failures, state.log) == ("failed", 3, "last words")
    assert play.schedule.stopped == "complete"


def test_schedule_input_at_fault_is_not_tried_again_and_the_others_finish() -> None:
    play = Play()
    play.go()
    bad, good = play.schedule.trials
    play.say(messages.Died, bad, why="no dataset", kind="input")
    play.finish(good)
    play.go()
    assert play.phases() == {bad: "failed", good: "done"}
    assert play.started == [bad, good]


def test_schedule_full_disk_stops_the_grid_and_counts_against_no_trial() -> None:
    play = Play()
    play.go()
    first, second = play.schedule.trials
    play.say(messages.Died, first, why="/x: No space left on device", kind="disk")
    assert set(play.cancelled) == {first, second}
    assert play.schedule.stopped == "/x: No space left on device"
    assert play.phases() == {first: "waiting", second: "waiting"}
    assert play.schedule.trials[first].failures == 0
    assert play.schedule.decide(play.now_ns, 9) == []


def test_schedule_silent_trial_is_killed_and_tried_again() -> None:
    play = Play(axes={}, workers={"silence_s": 10.0})
    play.go()
    (trial,) = play.schedule.trials
    for _ in range(3):
        play.now_ns += 9 * S_NS
        play.say(messages.Beat, trial, doing="training", steps=5)
        play.go()
    assert play.cancelled == []
    play.now_ns += 11 * S_NS
    play.go()
    assert play.cancelled == [trial]
    assert "no sign of life for 10 s" in play.schedule.trials[trial].why
    play.now_ns += S_NS
    play.go()
    assert play.started == [trial, trial]


def test_schedule_word_of_an_earlier_attempt_changes_nothing() -> None:
    play = Play(axes={})
    play.go()
    (trial,) = play.schedule.trials
    play.say(messages.Died, trial, why="was killed")
    play.now_ns += S_NS
    play.go()
    assert play.schedule.trials[trial].why == "was killed"
    late = messages.Finished(trial=trial, attempt=1, outcome=grids.outcome(9.0))
    assert play.schedule.heard(late, play.now_ns) == []
    assert play.phases() == {trial: "running"}
    play.finish(trial)
    assert play.phases() == {trial: "done"}
    assert play.schedule.trials[trial].why == "", "it has outlived that"


def test_schedule_after_a_launcher_died_repeats_nothing_and_blames_no_trial() -> None:
    play = Play(folds=2, workers={"retries": 0})
    play.go(free=2)
    first, second, *_ = play.schedule.trials
    play.finish(first)
    play.go(free=2)
    play.do([Record(Launched(commit="", by="me", pid=2))])  # no Stopped before it
    assert "running" not in play.phases().values()
    play.go()
    assert play.started.count(first) == 1
    assert play.started.count(second) == 2
    while play.schedule.running:
        play.finish(play.schedule.running[0])
    play.go()
    assert set(play.phases().values()) == {"done"}


def test_schedule_interrupted_stops_at_once_and_goes_on_later() -> None:
    play = Play()
    play.go()
    play.do(play.schedule.stop("interrupted"))
    assert set(play.cancelled) == set(play.schedule.trials)
    assert set(play.phases().values()) == {"waiting"}
    play.do([Record(Launched(commit="", by="me", pid=2))])
    play.go()
    assert len(play.started) == 4


@pytest.mark.parametrize(
    ("budget", "started"), [({"trials": 3}, 3), ({"steps": 512}, 2), ({"hours": 1.5}, 2)]
)
def test_schedule_budget_used_up_starts_no_more(budget: dict[str, Any], started: int) -> None:
    play = Play(folds=3, budget=budget)
    play.go(free=1)
    while play.schedule.running:
        play.now_ns += 3600 * S_NS
        play.finish(play.schedule.running[0], steps=256)
        play.go(free=1)
    assert len(play.started) == started
    assert play.schedule.stopped == "budget"


def test_schedule_trial_within_the_budget_may_still_be_tried_again() -> None:
    play = Play(budget={"trials": 1})
    play.go()
    (trial,) = play.started
    play.say(messages.Died, trial, why="was killed")
    play.now_ns += S_NS
    play.go()
    assert play.started == [trial, trial]


def test_schedule_prunes_who_is_not_among_the_best_of_its_fold() -> None:
    axis = {"algo.learning_rate": [0.1 * i for i in range(1, 7)]}
    play = Play(axes=axis, prune={"min_steps": 64, "reduction": 3})
    play.go()
    trials = list(play.schedule.trials)
    for trial, score in zip(trials[:2], (0.5, 0.1), strict=True):
        play.say(messages.Rung, trial, rung=0, steps=64, score=score)
    assert play.cancelled == [], "two of three tell nothing"
    play.say(messages.Rung, trials[2], rung=0, steps=64, score=0.4)
    assert play.cancelled == [trials[2]]
    play.say(messages.Rung, trials[3], rung=0, steps=64, score=0.9)
    play.say(messages.Rung, trials[4], rung=0, steps=64, score=None)
    assert play.cancelled == [trials[2], trials[4]]
    play.say(messages.Rung, trials[5], rung=0, steps=64, score=0.6)
    assert play.cancelled == [trials[2], trials[4]], "second best of six, and two go on"
    state = play.schedule.trials[trials[2]]
    assert state.phase == "pruned"
    assert "not among the best 1 of 3" in state.why
    assert state.score("sharpe") == 0.4
    assert play.schedule.trials[trials[4]].score("sharpe") is None


def test_schedule_rungs_of_other_folds_are_no_rivals() -> None:
    play = Play(folds=2, prune={"min_steps": 64, "reduction": 2})
    play.go()
    by_fold = sorted(play.schedule.trials, key=lambda name: name.split("-f")[1])
    play.say(messages.Rung, by_fold[0], rung=0, steps=64, score=5.0)
    play.say(messages.Rung, by_fold[2], rung=0, steps=64, score=1.0)
    assert play.cancelled == []
    play.say(messages.Rung, by_fold[1], rung=0, steps=64, score=1.0)
    assert play.cancelled == [by_fold[1]]


def test_schedule_score_is_the_mean_over_folds_of_the_mean_over_seeds() -> None:
    play = Play(folds=2, seeds=2, axes={})
    play.go()
    scores = {"f0-s0": 1.0, "f0-s1": 3.0, "f1-s0": 10.0}
    for trial in list(play.schedule.trials):
        key = trial.split("-", 1)[1]
        if key in scores:
            play.finish(trial, scores[key])
        else:
            play.say(messages.Died, trial, why="no", kind="input")
    (configuration,) = play.schedule.configurations
    assert play.schedule.score_of(configuration) == 6.0


def test_schedule_population_begins_from_parents_and_not_from_failed_ones() -> None:
    play = Play(search={"kind": "pbt", "population": 2, "generations": 2, "quantile": 0.5})
    play.go()
    one, two = play.schedule.trials
    play.finish(one, 1.0)
    play.say(messages.Died, two, why="no", kind="input")
    play.go()
    children = [c for c in play.schedule.configurations.values() if c.generation == 1]
    assert len(children) == 2
    assert {c.parent for c in children} == {one.split("-")[0]}
    assert all(c.params["run.total_steps"] == 256 for c in children)


def test_schedule_parent_that_is_not_done_fails_the_trial_in_a_sentence() -> None:
    play = Play(folds=2, search={"kind": "pbt", "population": 2, "generations": 2, "quantile": 0.5})
    play.go()
    for trial in list(play.schedule.trials):
        if trial.endswith("f1-s0"):
            play.say(messages.Died, trial, why="no", kind="input")
        else:
            play.finish(trial)
    play.go()
    failed = [s for n, s in play.schedule.trials.items() if s.batch == 1 and s.phase == "failed"]
    assert len(failed) == 2
    assert all("which is failed" in s.why for s in failed)


def test_schedule_time_between_launches_is_not_counted() -> None:
    play = Play(axes={})
    play.go()
    play.now_ns += 3600 * S_NS
    play.do(play.schedule.stop("interrupted"))
    play.now_ns += 100 * 3600 * S_NS
    play.do([Record(Launched(commit="", by="me", pid=2))])
    play.now_ns += 3600 * S_NS
    assert play.schedule.spent(play.now_ns)["hours"] == pytest.approx(2.0)
    assert isinstance(play.journal[-1], Launched)
    assert any(isinstance(e, Stopped) for e in play.journal)
    assert any(isinstance(e, Started) for e in play.journal)
