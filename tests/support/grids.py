"""A small grid on disk: dataset, untrained checkpoint, config; brought up by `launch.py up`."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from grid import wire
from grid.bus import Addresses, Subscriber
from grid.dataset import Columns, Dataset, to_iso
from grid.gridstate import GridState, running
from grid.home import Home
from grid.session import Session, find
from grid.transcript import Transcript, read
from tests.support import markets, runs
from tests.support.procs import WAIT_S, Proc, Procs, until

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch.py"
FIRST_LIVE = 100  # row of the dataset that the feed begins with


class Grid:
    """One grid of a test: its home, its config, its processes."""

    def __init__(
        self,
        folder: Path,
        addresses: Addresses,
        columns: Columns | None = None,
        agents: str = "",
        champion: str = "",
        **options: Any,
    ) -> None:
        self.addresses = addresses
        columns = markets.bar_columns(400) if columns is None else columns
        self.home: Home = runs.home_with_data(folder / "home", columns)
        self.dataset = Dataset.find(self.home.datasets, runs.NAME)
        self.spec = markets.spec_for(self.dataset, **options.pop("spec", {}))
        self.checkpoint = runs.checkpoint(
            self.home.runs / "tiny" / "checkpoints",
            self.spec,
            said=runs.manifest(self.spec, options.pop("venue", None)),
        )
        self.config = folder / "grid.toml"
        first = to_iso(int(self.dataset.columns["ts_event"][FIRST_LIVE]))
        bus = "\n".join(f'{f} = "{getattr(addresses, f)}"' for f in addresses.__struct_fields__)
        feed = {"speed": 0, "lockstep": "true", **options.pop("feed", {})}
        node = {"ttl_ms": 5000, "wait_for_agents_s": 30, **options.pop("node", {})}
        limits = options.pop("limits", {})
        security = options.pop("security", {})
        assert not options, options
        lines = [f"{k} = {v}" for k, v in feed.items()]
        self.config.write_text(
            f'name = "test"\n[bus]\n{bus}\n[feed]\ndataset = "{runs.NAME}"\nstart = "{first}"\n'
            + "\n".join(lines)
            + f'\n[node]\nstrategy_id = "S-1"\ncheckpoint = "{self.checkpoint.path}"\n'
            + "\n".join(f"{k} = {v}" for k, v in node.items())
            + "\n[limits]\n"
            + "\n".join(f"{k} = {v}" for k, v in limits.items())
            + "\n[security]\n"
            + "\n".join(f"{k} = {v}" for k, v in security.items())
            + f'\n[[agents]]\nid = "alpha"\nrole = "champion"\ncheckpoint = '
            f'"{champion or self.checkpoint.path}"\n' + agents
        )

    @property
    def live_rows(self) -> int:
        """Rows that the feed plays."""
        return self.dataset.manifest.rows - FIRST_LIVE

    def up(self, procs: Procs, *more: str) -> Proc:
        """Bring it up with a supervisor."""
        return procs.python(LAUNCH, "up", self.config, "--home", self.home.root, *more)

    def child(self, procs: Procs, command: str, *more: str) -> Proc:
        """Start one of its processes alone, as a person would."""
        argv = ("--config", self.config, "--home", self.home.root)
        return procs.python(LAUNCH, command, *argv, *more, lifeline=True)

    def control(self, procs: Procs, verb: str, *more: str) -> Proc:
        """Say `halt`, `resume` or `flatten` to it, as a person would, by its name."""
        return procs.python(LAUNCH, verb, "test", "--home", self.home.root, *more)

    def pid_of(self, name: str) -> int:
        """The process id of a child of the running grid, once it is ready."""

        def ready() -> int | None:
            for state in running(self.home):
                for child in state.children:
                    if child.name == name and child.phase == "ready" and child.pid:
                        return child.pid
            return None

        return until(ready, f"{name} to be ready")

    def state(self) -> GridState:
        """The state file of the running grid."""
        return running(self.home)[0]

    def runs(self) -> list[Transcript]:
        """What the newest session says."""
        return read(Session.open(find(self.home.sessions, "latest")))


class Watch:
    """Follows a grid's events from outside."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", grid: Grid) -> None:
        self._subscriber = Subscriber(context, grid.addresses.events_out, [""])
        self.events: list[tuple[wire.Envelope, wire.Event]] = []

    def until(
        self, fact: Callable[[wire.Event], bool], what: str, timeout_s: float = WAIT_S
    ) -> wire.Event:
        """Wait for an event of which `fact` holds, and return it."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            received = self._subscriber.recv(left)
            if received is None:
                break
            event = wire.event(received[1])
            self.events.append((received[1], event))
            if fact(event):
                return event
        raise AssertionError(f"waited {timeout_s} s in vain for {what}")

    def outcomes(self, n: int, epoch: int | None = None, timeout_s: float = WAIT_S) -> None:
        """Wait until `n` more decisions have ended by an action."""
        seen = 0

        def enough(event: wire.Event) -> bool:
            nonlocal seen
            if isinstance(event, wire.Outcome) and event.how == "action":
                seen += epoch is None or event.epoch == epoch
            return seen >= n

        self.until(enough, f"{n} actions", timeout_s)

    def close(self) -> None:
        """Close the socket."""
        self._subscriber.close()


def alive(pid: int) -> bool:
    """Whether a process lives, zombies apart."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def kill(pid: int, number: int) -> None:
    """Send a signal."""
    os.kill(pid, number)


def encode(event: Any) -> bytes:
    """Return plain MessagePack of a struct."""
    return msgspec.msgpack.encode(event)
