"""Rounds of chaos: a grid comes up, faults strike it, it goes down, and its remains are judged."""

import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agents.chaos import clock, ground
from agents.chaos.faults import FAULTS, FRAMED, Skipped
from agents.chaos.stage import Stage
from grid.errors import ConfigError, InvariantError, ProcessDied
from grid.home import Home
from grid.proof.check import Checked, check

RECOVER_S: Final = 30.0  # after the end of a fault, ten decisions must be answered within it
DECISIONS: Final = 10


class Injected(msgspec.Struct, frozen=True):
    """A fault that struck.

    Attributes:
        fault: its name.
        what: it did, in words; or why it could not be done.
        recovered_s: until the grid had traded `DECISIONS` times again; None where it was not done.
    """

    fault: str
    what: str
    recovered_s: float | None


class Round(msgspec.Struct, frozen=True):
    """One grid, from start to end."""

    number: int
    faults: tuple[Injected, ...]
    checked: tuple[Checked, ...]
    seconds: float

    @property
    def violations(self) -> list[str]:
        """What must not be, and was."""
        return [violation for one in self.checked for violation in one.violations]


def schedule(names: Sequence[str], rounds: int, each: int, seed: int) -> Iterator[list[str]]:
    """Yield the faults of each round: all in turn, shuffled anew each time they begin again.

    Raises:
        ConfigError: one of the names is no fault.
    """
    for name in names:
        if name not in FAULTS:
            raise ConfigError(f"--fault: expected one of {', '.join(FAULTS)}, found {name!r}")
    dice = random.Random(seed)
    left: list[str] = []
    for _ in range(rounds):
        chosen: list[str] = []
        while len(chosen) < each:
            if not left:
                left = list(names or FAULTS)
                dice.shuffle(left)
            chosen.append(left.pop())
        yield chosen


def run(
    folder: Path,
    command: Sequence[str],
    *,
    rounds: int,
    seed: int,
    names: Sequence[str] = (),
    each: int = 3,
    lasting_s: float = 5.0,
    tell: Callable[[str], None],
) -> list[Round]:
    """Break grids until something breaks that must not, or `rounds` are over.

    Args:
        folder: for data, recordings and logs; of a round that held, nothing stays.
        command: argv of the command line.
        rounds: how many grids.
        seed: of faults, moments and policies; what the machine does between is its own.
        names: of the faults; all of them by default.
        each: faults a round.
        lasting_s: the longest that a fault may last.
        tell: called with a line of progress.

    Raises:
        ConfigError: one of the names is no fault.
        InvariantError: with seed and round, what must not be, and where the remains are.
    """
    plan = list(schedule(names, rounds, each, seed))
    template = Home(folder / "ground")
    checkpoint = ground.make(template, seed)
    done: list[Round] = []
    for number, chosen in enumerate(plan, 1):
        home = Home(folder / f"round-{number}")
        shutil.copytree(template.root, home.root)
        local = home.root / checkpoint.relative_to(template.root)
        try:
            found = _round(home, local, command, number, chosen, seed, lasting_s, tell)
        except ProcessDied as e:
            raise InvariantError(_where(seed, number, str(e), home)) from e
        done.append(found)
        if found.violations:
            raise InvariantError(_where(seed, number, found.violations[0], home))
        shutil.rmtree(home.root)
    return done


def _round(
    home: Home,
    checkpoint: Path,
    command: Sequence[str],
    number: int,
    chosen: Sequence[str],
    seed: int,
    lasting_s: float,
    tell: Callable[[str], None],
) -> Round:
    began_s = time.monotonic()
    dice = random.Random(f"{seed} {number}")
    library = clock.library() if "clock" in chosen else None
    stage = Stage(
        home,
        checkpoint,
        command,
        seed=dice.randrange(1 << 32),
        framed=any(name in FRAMED for name in chosen),
        lasting_s=lasting_s,
        clock=clock.Clock(home.root / "clock", library) if library else None,
    )
    try:
        tell(f"round {number}: the grid trades after {time.monotonic() - began_s:.1f} s")
        faults = tuple(_inject(stage, name, dice, tell) for name in chosen)
        code = stage.end()
        checked = tuple(check(stage.evidence(), clocks_hold=library is None))
    finally:
        stage.close()
    if code:
        raise ProcessDied(f"the grid ended with exit code {code}")
    for one in checked:
        tell(f"  {'BROKEN' if one.violations else 'holds '} {one.rule}: {one.looked_at:,} facts")
        for violation in one.violations:
            tell(f"         {violation}")
    return Round(number, faults, checked, time.monotonic() - began_s)


def _inject(stage: Stage, name: str, dice: random.Random, tell: Callable[[str], None]) -> Injected:
    try:
        what = FAULTS[name](stage, dice)
    except Skipped as e:
        tell(f"  {name}: skipped, {e}")
        return Injected(name, f"skipped, {e}", None)
    healed_s = time.monotonic()
    if not stage.trades(DECISIONS, RECOVER_S):
        raise ProcessDied(f"{name}: {what}; the grid did not trade again in {RECOVER_S:g} s")
    took_s = time.monotonic() - healed_s
    for process in stage.processes:  # each fault finds a whole grid
        stage.pid_of(process)
    tell(f"  {name}: {what}; trades again after {took_s:.1f} s")
    return Injected(name, what, round(took_s, 3))


def _where(seed: int, number: int, what: str, home: Home) -> str:
    return f"seed {seed}, round {number}: {what}; its remains are in {home.root}"
