"""What happens in a grid: one struct a kind, one line of the journal each.

Facts in the past tense. A grid's whole state is the fold of its events, see
`agents.trials.schedule`; fields are only added, last, with a default.
"""

import msgspec

from agents.config import Span
from agents.trials.trial import Configuration, Dates, Outcome, Refusal

VERSION = 1


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """What all events have: when, in UNIX ns."""

    at_ns: int = 0


class Planned(_Event, frozen=True):
    """The first line: what the grid is.

    Attributes:
        name: of the grid.
        folds: of every configuration, the oldest first.
        holdout: span that no trial sees, if any.
        seeds: of every configuration.
        datasets: name -> fingerprint of what the trials read, the holdout cut off.
        sources: name -> fingerprint of the whole dataset.
        by: who, as USER@HOST.
        version: of the journal.
    """

    name: str
    folds: tuple[Dates, ...]
    holdout: Span | None
    seeds: tuple[int, ...]
    datasets: dict[str, str]
    sources: dict[str, str]
    by: str
    version: int = VERSION


class Launched(_Event, frozen=True):
    """A launcher began; what ran under another before runs no more.

    Attributes:
        commit: of the source, which the trials' manifests name.
        by: who.
        pid: of the launcher.
    """

    commit: str
    by: str
    pid: int


class Proposed(_Event, frozen=True):
    """A batch of configurations will be tried.

    Attributes:
        batch: index.
        configurations: each on all folds with all seeds.
        excluded: points that came up and that the grid excludes.
        invalid: points that came up and make no valid run: parameters, and why.
    """

    batch: int
    configurations: tuple[Configuration, ...]
    excluded: int = 0
    invalid: tuple[Refusal, ...] = ()


class Started(_Event, frozen=True):
    """A trial began, or began again from its last checkpoint."""

    trial: str
    attempt: int


class Saved(_Event, frozen=True):
    """A trial has written a checkpoint: decisions so far, mean reward of the last episodes."""

    trial: str
    steps: int
    reward: float | None


class Reported(_Event, frozen=True):
    """A trial has reached a rung.

    Attributes:
        trial: its id.
        rung: index.
        steps: decisions so far.
        score: the objective on the validation span, None if there is none.
    """

    trial: str
    rung: int
    steps: int
    score: float | None


class Pruned(_Event, frozen=True):
    """A trial was stopped as hopeless."""

    trial: str
    steps: int
    why: str


class Failed(_Event, frozen=True):
    """A trial died.

    Attributes:
        trial: its id.
        attempt: which one.
        why: in one sentence.
        log: its last lines.
        again: it will be tried again, from its last checkpoint.
    """

    trial: str
    attempt: int
    why: str
    log: str
    again: bool


class Done(_Event, frozen=True):
    """A trial has come to its end."""

    trial: str
    outcome: Outcome


class Stopped(_Event, frozen=True):
    """The launcher ended.

    Attributes:
        why: `complete`, `budget`, or what happened.
    """

    why: str


class Finalized(_Event, frozen=True):
    """The holdout was opened, once.

    Attributes:
        configuration: key of the chosen one.
        by: who.
        scores: trial -> figures on the holdout.
    """

    configuration: str
    by: str
    scores: dict[str, dict[str, float | None]] = {}


type Event = (
    Planned | Launched | Proposed | Started | Saved | Reported | Pruned | Failed | Done | Stopped
    | Finalized
)  # fmt: skip
