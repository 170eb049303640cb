"""The process that runs a grid: facts in, commands out, everything written down in between."""

import contextlib
import getpass
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import msgspec

from agents import provenance
from agents.trials import data, planning
from agents.trials.config import TrainingGrid
from agents.trials.events import Event, Launched, Planned
from agents.trials.executor import Executor
from agents.trials.folder import Folder
from agents.trials.journal import Journal
from agents.trials.messages import Beat, Order
from agents.trials.schedule import Cancel, Command, Record, Schedule, Start
from agents.trials.trial import run_config, trial_id
from grid.config import dump
from grid.errors import ProcessDied, TrialsError
from grid.home import Home

log = logging.getLogger(__name__)

INTERRUPTED: Final = "interrupted"
_POLL_S: Final = 0.2
_SHOW_S: Final = 0.5

type Build = Callable[[TrainingGrid, Home], Executor]
type Tell = Callable[[Schedule, dict[str, Beat], list[Event]], None]


def run(
    grid: TrainingGrid,
    home: Home,
    build: Build,
    tell: Tell,
    *,
    resume: bool = False,
    replace: bool = False,
) -> Schedule:
    """Run a grid until it is complete, its budget is used up, or somebody stops it.

    Args:
        grid: its config.
        home: where datasets are and the grid goes.
        build: makes the executor, given the grid and its own home.
        tell: called now and then with the state, the last beats, and the events since.
        resume: go on with a grid of the same name and config.
        replace: remove a grid of the same name first.

    Raises:
        ConfigError: the grid is not what can be run, or has another config than before.
        TrialsError: it exists and neither was asked for, or another process runs it.
        ProcessDied: the executor is gone, or a disk is full; the grid can be resumed.
    """
    folder = Folder(home, grid.name)
    folder.lock()
    try:
        if replace or not folder.exists:
            folder.clear()
        elif not resume:
            raise TrialsError(
                f"grid {grid.name!r} exists in {folder.path}: go on with `grid resume`, begin anew "
                "with --replace, or choose another name"
            )
        return _run(grid, home, folder, build, tell)
    finally:
        folder.unlock()


def _run(grid: TrainingGrid, home: Home, folder: Folder, build: Build, tell: Tell) -> Schedule:
    events = folder.events() if folder.exists else []
    planned = events[0] if events else None
    known = (list(planned.folds), planned.holdout) if isinstance(planned, Planned) else None
    plan = planning.make(grid, home, known)
    schedule = Schedule(grid, plan.proposer)
    for event in events:
        schedule.apply(event)
    if schedule.finalized is not None:
        raise TrialsError(f"grid {grid.name!r} was finalized: its holdout has been seen")
    folder.keep(grid)
    sealed = {n: data.seal(d, folder.home, plan.holdout) for n, d in plan.datasets.items()}
    if schedule.planned is not None and sealed != schedule.planned.datasets:
        raise TrialsError(
            f"{folder.home.datasets}: expected fingerprints {schedule.planned.datasets}, "
            f"found {sealed}"
        )
    with contextlib.closing(Journal(folder.journal)) as journal, _ears() as ears:
        launcher = Launcher(folder, schedule, journal, tell)
        if schedule.planned is None:
            launcher.record(first_event(plan, sealed))
        launcher.run(build, ears)
    if schedule.stopped not in ("complete", "budget", INTERRUPTED):
        raise ProcessDied(
            f"grid {grid.name!r} stopped: {schedule.stopped}; go on with `grid resume`"
        )
    return schedule


def first_event(plan: planning.Plan, sealed: dict[str, str]) -> Planned:
    """Return the first line of a grid's journal."""
    return Planned(
        name=plan.grid.name,
        folds=tuple(plan.folds),
        holdout=plan.holdout,
        seeds=tuple(plan.grid.all_seeds),
        datasets=sealed,
        sources={n: d.manifest.fingerprint for n, d in plan.datasets.items()},
        by=whoami(),
    )


def whoami() -> str:
    """Return who acts, as USER@HOST."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class Launcher:
    """One launch of a grid.

    Args:
        folder: of the grid, locked.
        schedule: the state so far.
        journal: open for writing.
        tell: see `run`.
    """

    def __init__(self, folder: Folder, schedule: Schedule, journal: Journal, tell: Tell) -> None:
        self._folder, self._schedule, self._journal = folder, schedule, journal
        self._tell = tell
        self._base = dump(schedule.grid.base)
        self._commit = provenance.commit()
        self._beats: dict[str, Beat] = {}
        self._news: list[Event] = []
        self._shown_at = 0.0

    def record(self, event: Event) -> None:
        """Write an event down, then apply it."""
        event = msgspec.structs.replace(event, at_ns=time.time_ns())
        self._journal.append(event)
        self._schedule.apply(event)
        self._news.append(event)

    def run(self, build: Build, ears: "Ears") -> None:
        """Go on until nothing is left to do; the executor is built when there is work for it."""
        grid, schedule = self._schedule.grid, self._schedule
        self.record(Launched(commit=self._commit, by=whoami(), pid=os.getpid()))
        executor: Executor | None = None
        try:
            while not schedule.stopped:
                free = 1 if executor is None else executor.free
                commands = schedule.decide(time.time_ns(), free)
                if executor is None and any(isinstance(c, Start) for c in commands):
                    executor = build(grid, self._folder.home)
                for command in commands:
                    self._do(command, executor)
                if ears.why:
                    self._do_all(schedule.stop(ears.why), executor)
                elif not commands:
                    self._listen(executor)
                self._show()
        finally:
            if executor is not None:
                executor.close()
        self._show(last=True)

    def _listen(self, executor: Executor | None) -> None:
        if executor is None:
            time.sleep(_POLL_S)
            return
        for message in executor.poll(_POLL_S):
            if isinstance(message, Beat):
                self._beats[message.trial] = message
            self._do_all(self._schedule.heard(message, time.time_ns()), executor)

    def _do_all(self, commands: list[Command], executor: Executor | None) -> None:
        for command in commands:
            self._do(command, executor)

    def _do(self, command: Command, executor: Executor | None) -> None:
        match command:
            case Record():
                self.record(command.event)
            case Start() if executor is not None:
                executor.submit(self._order(command.trial))
            case Cancel() if executor is not None:
                executor.cancel(command.trial)
            case _:
                raise AssertionError(command)

    def _order(self, name: str) -> Order:
        schedule = self._schedule
        planned, grid, state = schedule.planned, schedule.grid, schedule.trials[name]
        assert planned is not None
        trial = state.trial
        chosen, dates = schedule.configurations[trial.configuration], planned.folds[trial.fold]
        gpu = grid.workers.gpu_memory_mb > 0
        config = run_config(self._base, chosen, trial, dates, gpu=gpu)
        parent = trial_id(chosen.parent, trial.fold, trial.seed) if chosen.parent else ""
        return Order(
            trial=name,
            attempt=state.attempts,
            config=dump(config),
            validation=dates.validation,
            objective=grid.objective,
            rungs=rungs(grid, config.run.total_steps),
            reported=tuple(state.rungs),
            parent=parent,
            params={**chosen.params, "fold": trial.fold, "seed": trial.seed},
            commit=self._commit,
            cores=grid.workers.cores,
        )

    def _show(self, *, last: bool = False) -> None:
        if not last and not self._news and time.monotonic() - self._shown_at < _SHOW_S:
            return
        self._shown_at = time.monotonic()
        running = set(self._schedule.running)
        self._beats = {name: beat for name, beat in self._beats.items() if name in running}
        self._folder.show(self._beats)
        news, self._news = self._news, []
        self._tell(self._schedule, self._beats, news)


def rungs(grid: TrainingGrid, total_steps: int) -> tuple[int, ...]:
    """Return the steps at which a trial has to show that it is worth going on."""
    found: list[int] = []
    if grid.prune is not None:
        rung = grid.prune.min_steps
        while rung < total_steps:
            found.append(rung)
            rung *= grid.prune.reduction
    return tuple(found)


class Ears:
    """Hears that somebody wants the launcher to stop.

    Attributes:
        why: empty until then.
    """

    def __init__(self) -> None:
        self.why = ""

    def heard(self, number: int, frame: FrameType | None) -> None:
        """Take a first signal as a wish, a second one as an order."""
        if self.why:
            raise KeyboardInterrupt
        self.why = INTERRUPTED


@contextlib.contextmanager
def _ears() -> Iterator[Ears]:
    ears = Ears()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, ears.heard) for number in numbers}
    try:
        yield ears
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
