"""Which child of a grid runs, and what happens when it does not: no process, no clock, no file.

`Plan` takes facts with the time they were noticed (a child is ready, beat, exited; someone asked
to stop; time passed) and returns what is to be done. `grid.supervisor` does it.
"""

import math
import signal
from collections.abc import Sequence
from typing import Literal

import msgspec

from grid.errors import ProcessDied


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a grid.

    Attributes:
        name: unique in its grid.
        argv: a command line that a person could type; the supervisor adds `--lifeline FD`.
        essential: the grid ends when this process is given up; otherwise the rest goes on.
        completes: an exit with code 0 means that the grid's work is done.
        ready_timeout_s: from start to ready.
        beat_timeout_s: from one beat to the next; a silent process is killed.
    """

    name: str
    argv: tuple[str, ...]
    essential: bool = True
    completes: bool = False
    ready_timeout_s: float = 30.0
    beat_timeout_s: float = 10.0


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long children are waited for, and how often they are started again."""

    backoff_s: float = 0.2  # doubles with each restart
    backoff_max_s: float = 5.0
    healthy_s: float = 10.0  # ready for so long: earlier restarts no longer count
    restarts: int = 5  # more of them in a row, or in `window_s`, are too many
    window_s: float = 60.0
    grace_s: float = 5.0  # from SIGTERM to SIGKILL
    hurry_s: float = 1.0  # the same, once somebody has asked twice


class Start(msgspec.Struct, frozen=True):
    """Start this child."""

    name: str


class Signal(msgspec.Struct, frozen=True):
    """Send a signal to this child."""

    name: str
    signum: int


class Notice(msgspec.Struct, frozen=True):
    """Tell whoever watches; `log` holds the child's last lines where it went wrong."""

    kind: Literal["started", "ready", "died", "restarted", "failed", "completed", "stopped"]
    name: str
    detail: str = ""
    log: str = ""


type Command = Start | Signal | Notice
type Phase = Literal[
    "waiting", "starting", "ready", "killed", "backoff", "stopping", "stopped", "failed", "done"
]

ALIVE: frozenset[Phase] = frozenset({"starting", "ready", "killed", "stopping"})
HOPELESS = {2: "its input is at fault", 127: "its command cannot be run"}


class Child:
    """State of one child; `due` is when its phase has lasted too long, or backoff ends."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.phase: Phase = "waiting"
        self.since = 0.0
        self.due = math.inf
        self.proven = False  # was ready once
        self.restarts: list[float] = []
        self.in_a_row = 0
        self.total_restarts = 0
        self.verdict = ""  # why we killed it
        self.hopeless = False

    def enter(self, phase: Phase, now: float, lasts_s: float = math.inf) -> None:
        """Begin `phase` at `now`; it is due to end after `lasts_s`."""
        self.phase, self.since, self.due = phase, now, now + lasts_s


class Plan:
    """The life of all children: started in order, stopped in reverse.

    Every method takes `now`, seconds on a monotonic clock, and returns commands in order.

    Attributes:
        failure: what brought the grid down, if something did.
    """

    def __init__(self, specs: Sequence[ProcessSpec], patience: Patience | None = None) -> None:
        self.children = {spec.name: Child(spec) for spec in specs}
        self.patience = patience or Patience()
        self.failure: ProcessDied | None = None
        self._asked = 0  # to stop: 1 in order, 2 and more all at once

    @property
    def over(self) -> bool:
        """Whether the grid was stopped and nothing of it lives."""
        return self._asked > 0 and not any(c.phase in ALIVE for c in self.children.values())

    def wait_s(self, now: float) -> float:
        """Return the time until `tick` has something to do; may be infinite."""
        return max(0.0, min((c.due for c in self.children.values()), default=math.inf) - now)

    def start(self, now: float) -> list[Command]:
        """Start the next child whose turn has come: all before it were ready once, or failed."""
        if self._asked:
            return []
        for child in self.children.values():
            if child.phase == "waiting":
                return self._start(child, now)
            if not child.proven and child.phase != "failed":
                break
        return []

    def ready(self, name: str, now: float) -> list[Command]:
        """A child says that it is ready."""
        child = self.children[name]
        if child.phase != "starting":
            return []
        after_s = now - child.since
        child.proven = True
        child.enter("ready", now, child.spec.beat_timeout_s)
        return [Notice("ready", name, f"after {after_s:.1f} s"), *self.start(now)]

    def beat(self, name: str, now: float) -> list[Command]:
        """A child beat."""
        child = self.children[name]
        if child.phase == "ready":
            child.due = now + child.spec.beat_timeout_s
        return []

    def exited(self, name: str, code: int, now: float) -> list[Command]:
        """A child ended, with an exit code, or minus the signal that killed it."""
        child = self.children[name]
        how = child.verdict or _how(code)
        if self._asked:
            child.enter("stopped", now)
            return [Notice("stopped", name, how), *self._stop_next(now)]
        if child.spec.completes and code == 0:
            child.enter("done", now)
            return [Notice("completed", name), *self.stop(now)]
        return self._again(child, how, code, now)

    def stop(self, now: float) -> list[Command]:
        """Stop everything, last child first; asked again, all at once and with less patience."""
        self._asked += 1
        for child in self.children.values():
            if child.phase in ("waiting", "backoff"):
                child.enter("stopped", now)
        return self._stop_next(now) if self._asked == 1 else self._stop_all(now)

    def tick(self, now: float) -> list[Command]:
        """Time has passed."""
        commands: list[Command] = []
        for child in self.children.values():
            if child.due <= now:
                commands += self._overdue(child, now)
        return commands

    def _overdue(self, child: Child, now: float) -> list[Command]:
        match child.phase:
            case "backoff":
                return self._start(child, now)
            case "starting":
                child.verdict = f"was not ready within {child.spec.ready_timeout_s:g} s"
                child.hopeless = not child.proven
            case "ready":
                child.verdict = f"did not beat for {child.spec.beat_timeout_s:g} s"
            case "stopping":
                child.verdict = f"did not stop within {now - child.since:.0f} s and was killed"
            case _:
                pass  # killed, and not dead yet: once more
        child.enter("killed", now, self.patience.grace_s)
        return [Signal(child.spec.name, signal.SIGKILL)]

    def _start(self, child: Child, now: float) -> list[Command]:
        again = child.phase == "backoff"
        child.verdict = ""
        child.total_restarts += again
        child.enter("starting", now, child.spec.ready_timeout_s)
        name = child.spec.name
        return [Start(name), Notice("restarted" if again else "started", name)]

    def _again(self, child: Child, how: str, code: int, now: float) -> list[Command]:
        p = self.patience
        if child.phase == "ready" and now - child.since >= p.healthy_s:
            child.in_a_row = 0
        child.restarts = [t for t in child.restarts if now - t < p.window_s]
        if code in HOPELESS and not child.verdict:
            return self._give_up(child, f"{how}: {HOPELESS[code]}", now)
        if child.hopeless:
            return self._give_up(child, how, now)
        if max(child.in_a_row, len(child.restarts)) >= p.restarts:
            return self._give_up(child, f"{how}, after {p.restarts} restarts", now)
        delay_s = min(p.backoff_s * 2**child.in_a_row, p.backoff_max_s)
        child.in_a_row += 1
        child.restarts.append(now)
        child.enter("backoff", now, delay_s)
        return [Notice("died", child.spec.name, f"{how}; starts again in {delay_s:g} s")]

    def _give_up(self, child: Child, why: str, now: float) -> list[Command]:
        child.enter("failed", now)
        notice = Notice("failed", child.spec.name, why)
        if not child.spec.essential:
            return [notice, *self.start(now)]
        self.failure = ProcessDied(f"{child.spec.name} {why}")
        return [notice, *self.stop(now)]

    def _stop_next(self, now: float) -> list[Command]:
        alive = [c for c in self.children.values() if c.phase in ALIVE]
        if not alive or alive[-1].phase in ("stopping", "killed"):
            return []
        return self._terminate(alive[-1], now, self.patience.grace_s)

    def _stop_all(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for child in reversed(self.children.values()):
            if child.phase in ("starting", "ready"):
                commands += self._terminate(child, now, self.patience.hurry_s)
            elif child.phase == "stopping":
                child.due = min(child.due, now + self.patience.hurry_s)
        return commands

    def _terminate(self, child: Child, now: float, grace_s: float) -> list[Command]:
        child.enter("stopping", now, grace_s)
        return [Signal(child.spec.name, signal.SIGTERM)]


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
