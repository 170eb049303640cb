"""Make the bundles of this folder anew, by the product: `python -m tests.bundles.make [NAME...]`.

Each is a short session of a real grid in which one mechanism did its work, packed by
`sessions pack`. To be run when the wire gets a new version, or a new mechanism its scenario; a
bundle that an altered rule makes unequal is a finding, and no reason to make it anew.
"""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from grid import wire
from grid.bus import Addresses, new_context
from grid.venue import Venue
from tests.support import markets
from tests.support.grids import LAUNCH, Grid, Watch, alive, kill
from tests.support.procs import Proc, Procs, until

FOLDER: Final = Path(__file__).parent
SHADOW: Final = '\n[[agents]]\nid = "beta"\ncheckpoint = "baseline:momentum"\n'
STANDBY: Final = SHADOW + 'role = "standby"\n'

type Act = Callable[[Grid, Watch], None]


def _nothing(grid: Grid, seen: Watch) -> None:
    """Let it run to its end."""


def _stop_the_champion(grid: Grid, seen: Watch) -> None:
    pid = grid.pid_of("agent-alpha")
    seen.outcomes(5)
    kill(pid, signal.SIGSTOP)
    seen.until(lambda e: isinstance(e, wire.Outcome) and e.how == "fallback", "a fallback")
    kill(pid, signal.SIGCONT)
    seen.outcomes(10)


def _kill_the_champion(grid: Grid, seen: Watch) -> None:
    pid = grid.pid_of("agent-alpha")
    grid.pid_of("agent-beta")
    seen.outcomes(5)
    kill(pid, signal.SIGKILL)
    seen.until(lambda e: isinstance(e, wire.TookOver), "the standby to take over")
    seen.outcomes(10)


def _kill(name: str, outcomes: int = 10) -> Act:
    def act(grid: Grid, seen: Watch) -> None:
        pid = grid.pid_of(name)
        seen.outcomes(5)
        kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), f"{name} to be dead")
        until(lambda: grid.pid_of(name) != pid, f"{name} to be back")
        seen.outcomes(outcomes, timeout_s=40)

    return act


def _halt_and_resume(grid: Grid, seen: Watch) -> None:
    seen.outcomes(10)
    person = Procs(Path(tempfile.mkdtemp(prefix="argonaut-person-")))
    for verb, told in (("flatten", wire.Flattened), ("resume", wire.Resumed)):
        assert grid.control(person, verb).wait() == 0
        seen.until(lambda e, told=told: isinstance(e, told), verb)  # type: ignore[misc]
    person.close()
    seen.outcomes(10)


SCENARIOS: Final[dict[str, tuple[dict[str, Any], Act]]] = {
    "accepted": ({"agents": SHADOW}, _nothing),
    "quotes-slippage": (
        {"columns": markets.quote_columns(220), "spec": {"every": 3},
         "venue": Venue(slippage_prob=0.5, fill_seed=7)},
        _nothing,
    ),
    "continuous": ({"spec": {"kind": "continuous", "min_trade_qty": 200.0}}, _nothing),
    "hold-at-deadline": (
        {"rows": 220, "feed": {"speed": 30}, "node": {"ttl_ms": 300}}, _stop_the_champion,
    ),
    "standby-takes-over": (
        {"rows": 220, "agents": STANDBY, "feed": {"speed": 20},
         "node": {"ttl_ms": 300, "lease_ttl_ms": 600}},
        _kill_the_champion,
    ),
    "limit-refuses": ({"limits": {"max_notional": 11_014.0}}, _nothing),  # 10,000 at 1.1014
    "loss-halts": (
        {"limits": {"max_daily_loss": 15.0, "on_halt": '"flatten"'}}, _nothing,
    ),
    "person-flattens": ({"rows": 300, "feed": {"speed": 40}}, _halt_and_resume),
    "paper": ({"node": {"venue": '"paper"'}}, _nothing),
    "venue-restarts": (
        {"rows": 260, "feed": {"speed": 30}, "node": {"venue": '"paper"', "ttl_ms": 2000}},
        _kill("venue"),
    ),
    "node-restarts": (
        {"rows": 300, "feed": {"speed": 30}, "node": {"venue": '"paper"', "ttl_ms": 2000}},
        _kill("node"),
    ),
    "gap-is-fetched": (
        {"rows": 260, "feed": {"speed": 30}, "node": {"ttl_ms": 1500}}, _kill("broker", 25),
    ),
}  # fmt: skip


def make(name: str, out: Path) -> Path:
    """Run a scenario and pack its session; return the bundle."""
    options, act = SCENARIOS[name]
    options = dict(options)
    rows = options.pop("rows", 140)
    columns = options.pop("columns", None)
    columns = markets.bar_columns(rows) if columns is None else columns
    folder = Path(tempfile.mkdtemp(prefix="argonaut-bundle-"))
    context = new_context()
    procs = Procs(folder)
    try:
        grid = Grid(folder, Addresses.ipc(folder), columns, **options)
        up = grid.up(procs)
        if act is not _nothing:
            seen = Watch(context, grid)
            act(grid, seen)
            seen.close()
            up.popen.terminate()
        assert up.wait(60) == 0, up.text
        file = out / f"{name}.argonaut"
        file.unlink(missing_ok=True)
        _command(procs, grid, "verify", "latest")
        _command(procs, grid, "cut", "latest", "--label", "all")  # in larger chunks, so smaller
        _command(procs, grid, "pack", _newest(grid), "--out", str(file))
        _command(procs, grid, "validate", str(file))
    finally:
        wrong = procs.close()
        context.destroy(linger=0)
        shutil.rmtree(folder, ignore_errors=True)
    assert not wrong, wrong
    return file


def _newest(grid: Grid) -> str:
    (found,) = grid.home.sessions.glob("*-all")
    return found.name


def _command(procs: Procs, grid: Grid, verb: str, *more: str) -> Proc:
    done = procs.python(LAUNCH, "sessions", verb, *more, "--home", grid.home.root)
    assert done.wait(60) == 0, done.text
    return done


def main(names: list[str]) -> None:
    """Make the bundles of these names, or all."""
    for name in names or SCENARIOS:
        file = make(name, FOLDER)
        sys.stdout.write(f"{file.stat().st_size:>8,}  {file.name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
