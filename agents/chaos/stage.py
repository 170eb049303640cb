"""A real grid that can be broken: brought up, watched from outside, stopped, and its remains."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from agents.chaos import ground
from agents.chaos.clock import Clock
from agents.chaos.frames import EventFrames, Mischief, RequestFrames
from agents.chaos.links import Links
from agents.tied import tied
from grid import wire
from grid.bus import Subscriber, new_context
from grid.errors import ProcessDied, ProtocolError
from grid.gridstate import running
from grid.home import Home
from grid.paper import log as paper_log
from grid.proof.evidence import Evidence, read
from grid.sockets import Addresses

START_S: Final = 90.0
STOP_S: Final = 40.0


class Stage:
    """One grid, from start to end.

    Args:
        home: of data and checkpoint; the grid's own traces go there, too.
        checkpoint: that the node trades.
        command: argv of the command line.
        seed: of all mischief.
        framed: put relays of frames into the way of events and requests.
        lasting_s: the longest that a fault may last.
        clock: that the grid's processes go by; None for the machine's.

    Attributes:
        links: relays in the way of all ends.
        mischief: of frames; empty unless `framed`.
        beats: name -> the last heartbeat of each process.
        addresses: the true ends, behind all relays.

    Raises:
        ProcessDied: it did not come up.
    """

    def __init__(
        self,
        home: Home,
        checkpoint: Path,
        command: Sequence[str],
        *,
        seed: int,
        framed: bool = False,
        lasting_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        self.home = home
        self.lasting_s = lasting_s
        self.clock = clock
        self.beats: dict[str, wire.Heartbeat] = {}
        self._stack = contextlib.ExitStack()
        try:
            self._come_up(checkpoint, command, seed, framed)
        except BaseException:
            self.close()
            raise

    def _come_up(self, checkpoint: Path, command: Sequence[str], seed: int, framed: bool) -> None:
        short = Path(self._stack.enter_context(TemporaryDirectory(prefix="argonaut-")))
        self.addresses = Addresses.ipc(short / "bus")
        targets = {f: str(getattr(self.addresses, f)) for f in Addresses.__struct_fields__}
        self.mischief: list[Mischief] = []
        if framed:
            for name, kind in (("events_in", EventFrames), ("requests", RequestFrames)):
                here = f"ipc://{short}/{name}.frames"
                self.mischief.append(Mischief(seed))
                relay = kind(here, targets[name], self.mischief[-1])
                self._stack.callback(relay.close)
                targets[name] = here
        self.links = Links(targets)
        self._stack.callback(self.links.close)
        config = self.home.root / "grid.toml"
        bus = Addresses(**self.links.addresses)
        ground.write_config(config, self.home, checkpoint, bus, self.addresses)
        self.context = new_context()
        self._stack.callback(self.context.destroy, linger=0)
        self._subscriber = Subscriber(self.context, self.addresses.events_out, [""])
        self._stack.callback(self._subscriber.close)
        self.output = self.home.root / "up.log"
        argv = [*command, "up", str(config), "--home", str(self.home.root)]
        with self.output.open("wb") as out:
            self._up = subprocess.Popen(
                tied(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(self.clock.env if self.clock else {})},
            )
        self._stack.callback(self._kill)
        for name in (ground.CHAMPION, ground.STANDBY, ground.SHADOW):
            self.pid_of(f"agent-{name}", START_S)
        if not self.trades(10, START_S):
            raise ProcessDied(f"the grid does not trade; {self._last_words()}")

    @property
    def processes(self) -> list[str]:
        """Names of the processes."""
        return [child.name for state in running(self.home) for child in state.children]

    def pid_of(self, name: str, timeout_s: float = 30.0) -> int:
        """Wait until a process is ready, and return its id.

        Raises:
            ProcessDied: it is not in time, or the grid has ended.
        """
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s and self._up.poll() is None:
            for state in running(self.home):
                for child in state.children:
                    if (child.name, child.phase) == (name, "ready") and child.pid:
                        return child.pid
            self.wait(lambda event: False, 0.05)
        raise ProcessDied(f"{name} was not ready within {timeout_s:g} s; {self._last_words()}")

    def wait(self, fact: Callable[[wire.Event], bool], timeout_s: float) -> wire.Event | None:
        """Follow the grid until an event of which `fact` holds, and return that; None in vain."""
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            received = self._subscriber.recv(left_s)
            if received is None:
                break
            try:
                event = wire.event(received[1])
            except ProtocolError:
                continue
            if isinstance(event, wire.Heartbeat):
                self.beats[event.name] = event
            if fact(event):
                return event
        return None

    def skip(self) -> None:
        """Forget what has come up to now."""
        while self._subscriber.drain(1_000):
            pass

    def trades(self, n: int, within_s: float) -> bool:
        """Say whether `n` decisions from now on are ended by an action in time."""
        self.skip()
        seen = 0

        def enough(event: wire.Event) -> bool:
            nonlocal seen
            seen += isinstance(event, wire.Outcome) and event.how == "action"
            return seen >= n

        return self.wait(enough, within_s) is not None

    def counter(self, process: str, name: str) -> float:
        """Return a counter of a process, as of its last heartbeat."""
        beat = self.beats.get(process)
        return beat.counters.get(name, 0.0) if beat else 0.0

    def heal(self) -> None:
        """End all faults that last."""
        self.links.heal()
        for mischief in self.mischief:
            mischief.heal()

    def end(self) -> int:
        """Stop the grid as a person would, once the recorder has mended; return its exit code.

        Raises:
            ProcessDied: it did not stop in time.
        """
        self.skip()
        self.wait(_recorder_is_whole, 10.0)
        self._up.terminate()
        try:
            return self._up.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise ProcessDied(f"the grid did not stop within {STOP_S:g} s") from None

    def evidence(self) -> Evidence:
        """Return what there is to judge it by."""
        folders = sorted(path for path in self.home.sessions.iterdir() if path.is_dir())
        venue = paper_log.read(self.home.venues / f"{ground.NAME}.sqlite", "main")
        return read(folders, venue)

    def close(self) -> None:
        """End whatever of it is still there."""
        self._stack.close()

    def _kill(self) -> None:
        if self._up.poll() is None:
            os.kill(self._up.pid, signal.SIGKILL)
            self._up.wait(STOP_S)

    def _last_words(self) -> str:
        lines = self.output.read_text(errors="replace").splitlines()
        return f"{self.output} ends with: {' | '.join(lines[-3:])}"


def _recorder_is_whole(event: wire.Event) -> bool:
    return (
        isinstance(event, wire.Heartbeat)
        and event.role == "recorder"
        and not event.counters.get("mending")
    )
