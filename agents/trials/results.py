"""What a grid has found, for whoever judges it: made of the journal and the trials' files alone.

results = load(Path(".argonaut/grids/eurusd"))
results.count                                # configurations really tried, N of the statistics
results.trials[0].tracks()["test"].equity    # float64 [n + 1]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.config import RunConfig, Span
from agents.metrics import Track
from agents.trials import judging
from agents.trials.config import TrainingGrid
from agents.trials.events import Event, Finalized, Planned
from agents.trials.folder import Folder
from agents.trials.schedule import Phase, Schedule
from agents.trials.trial import Configuration, Dates, Outcome, Refusal, Trial, run_config
from agents.trials.work import TRACKS
from grid.config import dump
from grid.errors import CheckpointError
from grid.home import Home


@dataclass(frozen=True)
class TrialResult:
    """A trial, whatever became of it.

    Attributes:
        trial: configuration, fold and seed.
        params: point of the axes.
        config: its run, complete.
        dates: its spans.
        status: `done`, `pruned`, `failed`; `waiting` or `running` in a grid that is not complete.
        steps: decisions in training.
        attempts: how often it was begun.
        why: it was pruned or failed, or waits to be tried again.
        log: last lines of its last death, if it has not outlived it.
        rungs: steps of each rung reached -> validation score there.
        outcome: digest and figures, of one that is done.
        folder: of its run.
    """

    trial: Trial
    params: dict[str, Any]
    config: RunConfig
    dates: Dates
    status: Phase
    steps: int
    attempts: int
    why: str
    log: str
    rungs: dict[int, float | None]
    outcome: Outcome | None
    folder: Path

    def tracks(self) -> dict[str, Track]:
        """Return the tracks of the final checkpoint on `validation` and `test`.

        Raises:
            CheckpointError: it is not done, or its file is damaged.
        """
        file = self.folder / TRACKS
        if self.outcome is None or not file.is_file():
            raise CheckpointError(f"trial {self.trial.id}: no tracks, it is {self.status}")
        return judging.from_bytes(file.read_bytes(), file)


@dataclass(frozen=True)
class GridResults:
    """A whole grid.

    Attributes:
        grid: its config.
        planned: folds, holdout, fingerprints, who.
        configurations: proposed, in order.
        scores: key of a configuration -> its validation score, the mean over folds and seeds.
        trials: all, in the order in which they start.
        excluded: points that came up and that the grid excludes.
        invalid: points that came up and make no valid run.
        spent: trials, steps, hours.
        stopped: `complete`, `budget`, `interrupted`, another reason, or empty while it runs.
        finalized: the opening of the holdout, if it was opened.
        events: all.
        home: of the grid, for `agents.evaluation` and others that take one.
    """

    grid: TrainingGrid
    planned: Planned
    configurations: tuple[Configuration, ...]
    scores: dict[str, float | None]
    trials: tuple[TrialResult, ...]
    excluded: int
    invalid: tuple[Refusal, ...]
    spent: dict[str, float]
    stopped: str
    finalized: Finalized | None
    events: tuple[Event, ...]
    home: Home

    @property
    def holdout(self) -> Span | None:
        """The span that no trial has seen."""
        return self.planned.holdout

    @property
    def count(self) -> int:
        """Configurations really tried: with a trial begun, however it ended."""
        return len({t.trial.configuration for t in self.trials if t.attempts})

    def best(self) -> Configuration | None:
        """Return the configuration with the highest validation score, the first of equals.

        Only those count whose trials are all done: a mean over the folds that went well is none.
        """
        bad = {t.trial.configuration for t in self.trials if t.status != "done"}
        found: Configuration | None = None
        high = -float("inf")
        for c in self.configurations:
            score = self.scores[c.key]
            if c.key not in bad and score is not None and score > high:
                found, high = c, score
        return found


def load(folder: Path) -> GridResults:
    """Read a grid's folder, of a grid that runs, too.

    Raises:
        TrialsError: there is no grid there, or its journal is damaged.
    """
    place = Folder(Home(folder.parent.parent), folder.name)
    events, grid = place.events(), place.grid()
    schedule = Schedule(grid)
    for event in events:
        schedule.apply(event)
    planned = schedule.planned
    assert planned is not None  # `events` has seen to it
    base = dump(grid.base)

    def result(name: str) -> TrialResult:
        state = schedule.trials[name]
        chosen = schedule.configurations[state.trial.configuration]
        dates = planned.folds[state.trial.fold]
        return TrialResult(
            trial=state.trial,
            params=chosen.params,
            config=run_config(base, chosen, state.trial, dates, gpu=grid.workers.gpu_memory_mb > 0),
            dates=dates,
            status=state.phase,
            steps=state.steps,
            attempts=state.attempts,
            why=state.why,
            log=state.log,
            rungs=state.rungs,
            outcome=state.outcome,
            folder=place.home.runs / name,
        )

    return GridResults(
        grid=grid,
        planned=planned,
        configurations=tuple(schedule.configurations.values()),
        scores={key: schedule.score_of(key) for key in schedule.configurations},
        trials=tuple(result(name) for name in schedule.trials),
        excluded=schedule.excluded,
        invalid=tuple(schedule.invalid),
        spent=schedule.spent(),
        stopped=schedule.stopped,
        finalized=schedule.finalized,
        events=tuple(events),
        home=place.home,
    )
