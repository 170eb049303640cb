"""What a trial says to its launcher, whatever carries it, and what it is told at first."""

from typing import Any, Final, Literal

import msgspec

from agents.config import Span
from agents.trials.trial import Outcome

NO_GPU: Final = -1
ASSIGNED: Final = -2  # a GPU, which the executor has chosen for the process already


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """All that a process needs to carry out a trial.

    Attributes:
        trial: its id.
        attempt: which one.
        config: the run, complete.
        validation: span to choose by.
        objective: the figure of it that counts.
        rungs: steps at which to report it.
        reported: rungs that were reported before.
        parent: id of the trial whose final checkpoint this one begins from, if any.
        params: point of the axes, for TensorBoard.
        commit: of the source.
        cores: threads of the network.
        gpu: index of the GPU to use, or one of the two above.
        gpu_share: of its memory, at most.
    """

    trial: str
    attempt: int
    config: dict[str, Any]
    validation: Span
    objective: str
    rungs: tuple[int, ...]
    reported: tuple[int, ...]
    parent: str
    params: dict[str, Any]
    commit: str
    cores: int
    gpu: int = NO_GPU
    gpu_share: float = 1.0


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag=str.lower):
    """What all messages have."""

    trial: str
    attempt: int


class Beat(_Message, frozen=True):
    """It lives.

    Attributes:
        doing: `starting`, `training` or `judging`.
        steps: decisions so far.
        steps_per_s: lately.
        reward: mean of the last episodes.
        memory_mb: its own, and its share of what processes share; with its envs.
        gpu_mb: allocated by torch.
    """

    doing: Literal["starting", "training", "judging"]
    steps: int = 0
    steps_per_s: float = 0.0
    reward: float | None = None
    memory_mb: float = 0.0
    gpu_mb: float = 0.0


class Saved(_Message, frozen=True):
    """It has written a checkpoint."""

    steps: int
    reward: float | None = None


class Rung(_Message, frozen=True):
    """It has reached a rung, and has this score on the validation span."""

    rung: int
    steps: int
    score: float | None


class Finished(_Message, frozen=True):
    """It is done, and its results are on the disk."""

    outcome: Outcome


class Died(_Message, frozen=True):
    """It ended before it was done.

    Attributes:
        why: in one sentence.
        kind: `input` will fail again, `disk` is full, `crash` may succeed the next time.
        log: last lines.
    """

    why: str
    kind: Literal["input", "disk", "crash"] = "crash"
    log: str = ""


type Message = Beat | Saved | Rung | Finished | Died
