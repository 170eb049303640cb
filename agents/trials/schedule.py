"""Which trial runs when: no process, no clock, no file.

`Schedule.apply` folds events into a state; `decide` and `heard` look at the state, the time and a
message and return commands. `agents.trials.launcher` carries them out, and writes every event down
before it is applied: so folding the journal gives the state back.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from agents.trials import messages
from agents.trials.config import TrainingGrid
from agents.trials.events import (
    Done,
    Event,
    Failed,
    Finalized,
    Launched,
    Planned,
    Proposed,
    Pruned,
    Reported,
    Saved,
    Started,
    Stopped,
)
from agents.trials.search import Proposer, Settled
from agents.trials.trial import Configuration, Outcome, Refusal, Trial, trial_id

type Phase = Literal["waiting", "running", "done", "pruned", "failed"]

SETTLED: Final = ("done", "pruned", "failed")
_S_NS: Final = 1_000_000_000
_BACKOFF_S: Final = 0.5  # doubles with each attempt
_BACKOFF_MAX_S: Final = 30.0


class Start(msgspec.Struct, frozen=True):
    """Start this trial; `Started` has been recorded."""

    trial: str


class Cancel(msgspec.Struct, frozen=True):
    """End this trial's process."""

    trial: str


class Record(msgspec.Struct, frozen=True):
    """Write this down and apply it."""

    event: Event


type Command = Start | Cancel | Record


class State:
    """What is known of a trial.

    Attributes:
        trial: which.
        batch: of its configuration.
        phase: `waiting` again after an attempt that failed or a launcher that died.
        attempts: begun by this grid; those that the launcher took down with it do not count.
        failures: attempts that died.
        not_before_ns: of the next attempt.
        heard_ns: last sign of life.
        steps: decisions, as last heard.
        rungs: index -> score.
        outcome: of one that is done.
        why: it failed or was pruned.
        log: last lines of its death; both are empty where it has outlived it.
    """

    def __init__(self, trial: Trial, batch: int) -> None:
        self.trial = trial
        self.batch = batch
        self.phase: Phase = "waiting"
        self.attempts = self.failures = 0
        self.not_before_ns = self.heard_ns = 0
        self.steps = 0
        self.rungs: dict[int, float | None] = {}
        self.outcome: Outcome | None = None
        self.why = self.log = ""

    def score(self, objective: str) -> float | None:
        """Return the objective on the validation span, of the last rung if it was pruned."""
        if self.outcome is not None:
            return self.outcome.validation.get(objective)
        return self.rungs[max(self.rungs)] if self.phase == "pruned" and self.rungs else None


class Schedule:
    """The state of a grid, and what to do next.

    Attributes:
        planned: the first event, None before it.
        configurations: all that were proposed, by key.
        batches: their keys, batch by batch.
        trials: by id, in the order in which they start.
        excluded: points that came up and that the grid excludes.
        invalid: points that came up and make no valid run.
        stopped: why the last launcher ended, empty while one runs.
        finalized: the opening of the holdout, if it was opened.
        ran_ns: time that launchers have run.

    Args:
        grid: its config.
        proposer: None for those who only look.
    """

    def __init__(self, grid: TrainingGrid, proposer: Proposer | None = None) -> None:
        self.grid = grid
        self.planned: Planned | None = None
        self.configurations: dict[str, Configuration] = {}
        self.batches: list[list[str]] = []
        self.trials: dict[str, State] = {}
        self.excluded = 0
        self.invalid: list[Refusal] = []
        self.launched: Launched | None = None
        self.stopped = ""
        self.finalized: Finalized | None = None
        self.ran_ns = 0
        self._proposer = proposer
        self._last_ns = 0

    # -- events -> state ---------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take in what happened."""
        if self.launched is not None and not isinstance(event, Launched | Finalized):
            self.ran_ns += max(0, event.at_ns - self._last_ns)
        self._last_ns = event.at_ns
        match event:
            case Planned():
                self.planned = event
            case Launched():
                self.launched, self.stopped = event, ""
                for state in self.trials.values():
                    if state.phase == "running":
                        state.phase, state.not_before_ns = "waiting", 0
            case Proposed():
                self._propose(event)
            case Started():
                state = self.trials[event.trial]
                state.phase, state.attempts = "running", event.attempt
                state.heard_ns = event.at_ns
            case Saved():
                self.trials[event.trial].steps = event.steps
            case Reported():
                state = self.trials[event.trial]
                state.rungs[event.rung], state.steps = event.score, event.steps
            case Pruned():
                state = self.trials[event.trial]
                state.phase, state.steps, state.why = "pruned", event.steps, event.why
            case Failed():
                self._fail(event)
            case Done():
                state = self.trials[event.trial]
                state.phase, state.outcome = "done", event.outcome
                state.why = state.log = ""  # of a death that it has outlived
                state.steps = event.outcome.steps
            case Stopped():
                self.stopped = event.why
                for state in self.trials.values():
                    if state.phase == "running":
                        state.phase = "waiting"
            case Finalized():
                self.finalized = event

    def _propose(self, event: Proposed) -> None:
        assert self.planned is not None
        self.excluded += event.excluded
        self.invalid += event.invalid
        if event.configurations:
            self.batches.append([c.key for c in event.configurations])
        for c in event.configurations:
            self.configurations[c.key] = c
            for fold in range(len(self.planned.folds)):
                for seed in self.planned.seeds:
                    trial = Trial(c.key, fold, seed)
                    self.trials[trial.id] = State(trial, event.batch)

    def _fail(self, event: Failed) -> None:
        state = self.trials[event.trial]
        state.failures += 1
        state.why, state.log = event.why, event.log
        state.phase = "waiting" if event.again else "failed"
        wait_s = min(_BACKOFF_S * 2 ** (state.failures - 1), _BACKOFF_MAX_S)
        state.not_before_ns = event.at_ns + int(wait_s * _S_NS)

    # -- what there is -----------------------------------------------------------------------------

    @property
    def running(self) -> list[str]:
        """Ids of the trials that run."""
        return [name for name, state in self.trials.items() if state.phase == "running"]

    @property
    def settled(self) -> bool:
        """Whether every trial that was proposed has ended."""
        return all(state.phase in SETTLED for state in self.trials.values())

    def score_of(self, key: str) -> float | None:
        """Return a configuration's score: the mean over folds of the mean over seeds."""
        assert self.planned is not None
        means = []
        for fold in range(len(self.planned.folds)):
            ids = (trial_id(key, fold, seed) for seed in self.planned.seeds)
            scores = [self.trials[i].score(self.grid.objective) for i in ids]
            known = [s for s in scores if s is not None]
            if known:
                means.append(sum(known) / len(known))
        return sum(means) / len(means) if means else None

    def spent(self, now_ns: int | None = None) -> dict[str, float]:
        """Return what has been used of a budget: trials, steps, hours."""
        since_ns = 0 if now_ns is None or self.stopped else max(0, now_ns - self._last_ns)
        started = [s for s in self.trials.values() if s.attempts]
        return {
            "trials": len(started),
            "steps": sum(s.steps for s in started),
            "hours": (self.ran_ns + since_ns) / (3600 * _S_NS),
        }

    # -- what to do --------------------------------------------------------------------------------

    def stop(self, why: str) -> list[Command]:
        """Somebody wants an end: end what runs, start nothing more."""
        return [*(Cancel(name) for name in self.running), Record(Stopped(why=why))]

    def decide(self, now_ns: int, free: int) -> list[Command]:
        """Return what to do now, with room for `free` more trials; empty when nothing is."""
        if self.stopped:
            return []
        overdue = list(self._silent(now_ns))
        if overdue:
            return overdue
        if self.settled:
            return self._go_on(now_ns)
        spent = self.spent(now_ns)
        waiting = [state for state in self.trials.values() if state.phase == "waiting"]
        affordable = [state for state in waiting if self._affords(state, spent)]
        for state in affordable:
            if state.not_before_ns > now_ns:
                continue
            name = state.trial.id
            if lost := self._orphaned(state):
                return [Record(Failed(trial=name, attempt=0, why=lost, log="", again=False))]
            if free > 0:
                return [Record(Started(trial=name, attempt=state.attempts + 1)), Start(name)]
        return [] if affordable or self.running else [Record(Stopped(why="budget"))]

    def heard(self, message: messages.Message, now_ns: int) -> list[Command]:
        """Return what to do about a trial's message; those of an attempt that is over are none."""
        state = self.trials.get(message.trial)
        if state is None or state.phase != "running" or message.attempt != state.attempts:
            return []
        state.heard_ns = now_ns
        name = message.trial
        match message:
            case messages.Beat():
                state.steps = message.steps
                return []
            case messages.Saved():
                return [Record(Saved(trial=name, steps=message.steps, reward=message.reward))]
            case messages.Rung():
                said = Reported(
                    trial=name, rung=message.rung, steps=message.steps, score=message.score
                )
                return [Record(said), *self._prune(state, message)]
            case messages.Finished():
                return [Record(Done(trial=name, outcome=message.outcome))]
            case messages.Died(kind="disk"):
                return self.stop(message.why)
            case messages.Died():
                return [Record(self._failed(state, message.why, message.log, message.kind))]

    def _failed(self, state: State, why: str, log: str, kind: str = "crash") -> Failed:
        again = kind != "input" and state.failures < self.grid.workers.retries
        return Failed(trial=state.trial.id, attempt=state.attempts, why=why, log=log, again=again)

    def _silent(self, now_ns: int) -> Iterator[Command]:
        limit_s = self.grid.workers.silence_s
        for name in self.running:
            state = self.trials[name]
            if now_ns - state.heard_ns > limit_s * _S_NS:
                yield Cancel(name)
                yield Record(self._failed(state, f"gave no sign of life for {limit_s:g} s", ""))

    def _affords(self, state: State | None, spent: dict[str, float]) -> bool:
        limits = msgspec.structs.asdict(self.grid.budget)
        if state is not None and state.attempts:
            limits["trials"] = None  # it is counted already, and may go on
        return all(limit is None or spent[what] < limit for what, limit in limits.items())

    def _go_on(self, now_ns: int) -> list[Command]:
        assert self._proposer is not None
        if not self._affords(None, self.spent(now_ns)):
            return [Record(Stopped(why="budget"))]
        done = [
            [Settled(self.configurations[key], self.score_of(key)) for key in batch]
            for batch in self.batches
        ]
        found = self._proposer.next(done)
        if found.configurations:
            return [Record(found)]
        left = [Record(found)] if found.invalid or found.excluded else []
        return [*left, Record(Stopped(why="complete"))]

    def _orphaned(self, state: State) -> str:
        parent = self.configurations[state.trial.configuration].parent
        if not parent:
            return ""
        origin = self.trials[trial_id(parent, state.trial.fold, state.trial.seed)]
        if origin.phase == "done":
            return ""
        return f"begins from trial {origin.trial.id}, which is {origin.phase}"

    def _prune(self, state: State, report: messages.Rung) -> list[Command]:
        prune = self.grid.prune
        if prune is None:
            return []
        rivals = [
            -float("inf") if (s := other.rungs[report.rung]) is None else s
            for other in self.trials.values()
            if other.trial.fold == state.trial.fold
            and report.rung in other.rungs
            and other is not state
        ]
        own = -float("inf") if report.score is None else report.score
        n = len(rivals) + 1
        if n < prune.reduction:
            return []  # too few to tell
        kept = sorted([*rivals, own], reverse=True)[: n // prune.reduction]
        if own >= kept[-1]:
            return []
        why = (
            f"{self.grid.objective} {own:.3g} after {report.steps:,} steps is not among the best "
            f"{len(kept)} of {n}"
        )
        pruned = Pruned(trial=report.trial, steps=report.steps, why=why)
        return [Record(pruned), Cancel(report.trial)]
