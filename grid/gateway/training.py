"""Training grids as the gateway tells of them: rows, and what it asks for them.

What a grid is, is known further up (`agents.trials`): whoever starts the gateway brings it along.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

type State = Literal[
    "running", "complete", "budget", "interrupted", "stopped", "abandoned", "damaged"
]
type Phase = Literal["waiting", "running", "done", "pruned", "failed"]


@dataclass(slots=True)
class TrainingGrid:
    """A training grid in short.

    Attributes:
        name: of the grid.
        state: `abandoned` is one that no process runs and that never came to an end.
        why: of a state that one word does not tell.
        revision: another one when anything below has changed.
        trials: that were proposed.
        phases: phase -> how many of them.
        configurations: that were proposed.
        folds: of each configuration.
        seeds: of each configuration.
        steps: decisions taken.
        total_steps: these, and those that are ahead for trials that were proposed.
        steps_per_s: of the running ones together.
        eta_s: until those proposed have ended; None where nothing runs.
        hours: that launchers have run.
        failures: deaths of trials, those that were tried again included.
        objective: figure on the validation spans that chooses.
        began_ns: when it was planned, UNIX ns.
        changed_ns: when something happened last, UNIX ns.
    """

    name: str
    state: State
    why: str
    revision: str
    trials: int = 0
    phases: dict[str, int] | None = None
    configurations: int = 0
    folds: int = 0
    seeds: int = 0
    steps: int = 0
    total_steps: int = 0
    steps_per_s: float = 0.0
    eta_s: float | None = None
    hours: float = 0.0
    failures: int = 0
    objective: str = ""
    began_ns: int = 0
    changed_ns: int = 0


@dataclass(slots=True)
class Fold:
    """Spans of a fold, ISO times in UTC: what is learned from, what chooses, what judges."""

    train: tuple[str, str]
    validation: tuple[str, str]
    test: tuple[str, str]


@dataclass(slots=True)
class Best:
    """The configuration that is best on the validation spans, of those that are done."""

    configuration: str
    params: str
    score: float


@dataclass(slots=True)
class TrainingVerdict:
    """What a grid found.

    Attributes:
        state: `told`, or why there is none: `running`, `judging`, `none`.
        line: the verdict in one sentence, or why there is none.
        grade: of the verdict.
        reasons: what it rests on, a sentence each.
        source: `report` where `grid report` has made it; `quick` without baselines.
        made_ns: when the report was made, UNIX ns; 0 without one.
    """

    state: Literal["told", "running", "judging", "none"]
    line: str
    grade: str | None = None
    reasons: tuple[str, ...] = ()
    source: Literal["report", "quick"] | None = None
    made_ns: int = 0


@dataclass(slots=True)
class TrainingDetail:
    """A training grid, whole."""

    grid: TrainingGrid
    by: str
    axes: dict[str, str]
    spans: list[Fold]
    holdout: tuple[str, str] | None
    opened: str | None
    seed_values: list[int]
    best: Best | None
    verdict: TrainingVerdict


@dataclass(slots=True)
class TrainingTrial:
    """A trial.

    Attributes:
        n: place in the order in which trials start, from 1.
        id: of the trial.
        configuration: its key.
        params: its point of the axes, in short.
        fold: index.
        seed: of everything random in it.
        phase: what has become of it.
        doing: what a running one does.
        steps: decisions taken.
        total_steps: decisions that it is to take.
        steps_per_s: of a running one.
        reward: mean of the last episodes.
        score: the objective on the validation span, so far.
        attempts: begun.
        retries: of these, after a death.
        memory_mb: of a running one.
        gpu_mb: of a running one.
        eta_s: until it has trained.
        seconds: that the last attempt of a done one took.
        why: it was pruned or failed.
    """

    n: int
    id: str
    configuration: str
    params: str
    fold: int
    seed: int
    phase: Phase
    doing: str | None
    steps: int
    total_steps: int
    steps_per_s: float | None
    reward: float | None
    score: float | None
    attempts: int
    retries: int
    memory_mb: float | None
    gpu_mb: float | None
    eta_s: float | None
    seconds: float | None
    why: str | None


@dataclass(slots=True)
class Curve:
    """A trial's figures by steps.

    Attributes:
        trial: its id.
        configuration: its key.
        params: its point of the axes, in short.
        phase: what has become of it.
        reward: (steps, mean reward of the last episodes) at each checkpoint.
        score: (steps, objective on the validation span) at each rung, and at the end.
        left_out: points that were thinned away.
    """

    trial: str
    configuration: str
    params: str
    phase: Phase
    reward: list[tuple[int, float]]
    score: list[tuple[int, float]]
    left_out: int = 0


@dataclass(slots=True)
class Failure:
    """A death of a trial; `log` has its last lines."""

    n: int
    trial: str
    attempt: int
    why: str
    log: str
    again: bool
    at_ns: int


class Training(Protocol):
    """Tells of the training grids of a home folder.

    All but `names` raise `ArgonautError` where a grid is damaged.
    """

    def names(self) -> list[str]:
        """Return the grids, that in which something happened last first."""

    def grid(self, name: str) -> TrainingGrid:
        """Return one in short."""

    def detail(self, name: str) -> TrainingDetail:
        """Return one, whole."""

    def trials(self, name: str) -> list[TrainingTrial]:
        """Return its trials, in the order in which they start."""

    def curves(self, name: str) -> list[Curve]:
        """Return the curves of its trials, in the same order."""

    def failures(self, name: str) -> list[Failure]:
        """Return the deaths of its trials, oldest first."""

    def close(self) -> None:
        """End what is under way."""
