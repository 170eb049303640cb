"""Brings a grid up, looks at its processes again and again, and stops it."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agents.soak.trend import HEAD, Bounds, Sample, Trend, judge, line, render
from agents.tied import tied
from grid import wire
from grid.bus import Subscriber, new_context
from grid.errors import InvariantError, ProcessDied, ProtocolError
from grid.gridstate import GridState, running
from grid.home import Home
from grid.sockets import Addresses
from grid.status import ProcessStatus, fold

START_S: Final = 120.0
STOP_S: Final = 40.0
SAMPLES: Final = 240  # of each process
LEAST_S: Final = 1.0  # between two samples
LINES: Final = 10  # of each process, in the table over time
_PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1024


def run(
    config: Path,
    home: Home,
    command: Sequence[str],
    *,
    minutes: float,
    bounds: Bounds,
    overrides: Sequence[str] = (),
    out: Path,
    tell: Callable[[str], None],
) -> list[Trend]:
    """Bring a grid up, watch it, and stop it.

    Args:
        config: of the grid.
        home: that it works in.
        command: argv of the command line.
        minutes: how long; less if the grid has completed before.
        bounds: of growth.
        overrides: of the config, each `section.key=value`.
        out: file of all samples, a JSON object a line.
        tell: called with a line of progress.

    Raises:
        InvariantError: something grew beyond its bound; all was told before.
        ProcessDied: the grid did not come up, or failed.
    """
    sets = [part for override in overrides for part in ("--set", override)]
    argv = [*command, "up", str(config), "--home", str(home.root), *sets]
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_suffix(".log")
    with log.open("wb") as output, out.open("wb") as file:
        up = subprocess.Popen(
            tied(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            samples = _watch(up, home, minutes * 60, file.write, tell)
        except ProcessDied as e:
            raise ProcessDied(f"{e}; {log} ends with: {_last(log)}") from None
        finally:
            if up.poll() is None:
                up.terminate()
            try:
                up.wait(STOP_S)
            except subprocess.TimeoutExpired:
                up.kill()
    if up.returncode:
        raise ProcessDied(
            f"the grid ended with code {up.returncode}; {log} ends with: {_last(log)}"
        )
    trends = judge(samples, bounds)
    tell(render(trends, samples[-1].at_s, bounds))
    if grown := [f"{t.process} grows: {t.grows}" for t in trends if t.grows]:
        raise InvariantError("; ".join(grown))
    return trends


def _watch(
    up: "subprocess.Popen[bytes]",
    home: Home,
    seconds: float,
    write: Callable[[bytes], object],
    tell: Callable[[str], None],
) -> list[Sample]:
    grid = _come_up(up, home)
    pulse = _Pulse(grid.addresses)
    samples: list[Sample] = []
    every_s = max(LEAST_S, seconds / SAMPLES)
    began_s = next_s = time.monotonic()
    told = 0
    tell(HEAD)
    try:
        while up.poll() is None and (now_s := time.monotonic()) - began_s < seconds:
            pulse.listen(min(next_s, began_s + seconds) - now_s)
            if time.monotonic() < next_s:
                continue
            next_s += every_s
            at_s = round(time.monotonic() - began_s, 3)
            new = _sample(home, pulse, at_s)
            samples += new
            for sample in new:
                write(msgspec.json.encode(sample) + b"\n")
            if at_s >= told * seconds / LINES:
                told += 1
                for s in new:
                    tell(line(s))
    finally:
        pulse.close()
    if not samples:
        raise ProcessDied("the grid ended before it could be looked at")
    return samples


def _come_up(up: "subprocess.Popen[bytes]", home: Home) -> GridState:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and up.poll() is None:
        for grid in running(home):
            if grid.children and all(child.phase == "ready" for child in grid.children):
                return grid
        time.sleep(0.1)
    raise ProcessDied(f"the grid was not up within {START_S:g} s")


class _Pulse:
    """The heartbeats of a grid."""

    def __init__(self, addresses: Addresses) -> None:
        self._context = new_context()
        self._subscriber = Subscriber(self._context, addresses.events_out, ["sys."])
        self.heard: dict[str, ProcessStatus] = {}

    def listen(self, seconds: float) -> None:
        """Take in heartbeats for so long."""
        deadline_s = time.monotonic() + seconds
        while (left_s := deadline_s - time.monotonic()) > 0:
            received = self._subscriber.recv(left_s)
            if received is None:
                return
            try:
                event = wire.event(received[1])
            except ProtocolError:
                continue
            if isinstance(event, wire.Heartbeat):
                self.heard = fold(self.heard, event, received[1].epoch)

    def renew(self) -> dict[str, ProcessStatus]:
        """Return what was heard, and begin anew from the last heartbeats."""
        heard = self.heard
        self.heard = {n: ProcessStatus(p.last, p.last, p.epoch) for n, p in heard.items()}
        return heard

    def close(self) -> None:
        """Close the socket."""
        self._subscriber.close()
        self._context.destroy(linger=0)


def _sample(home: Home, pulse: _Pulse, at_s: float) -> list[Sample]:
    heard = pulse.renew()
    found = []
    for grid in running(home):
        for name, pid in [("supervisor", grid.pid), *((c.name, c.pid) for c in grid.children)]:
            measured = _measure(pid)
            if measured is None:
                continue
            rss_kb, fds, cpu_s = measured
            status = heard.get(name)
            counters = status.last.counters if status else {}
            found.append(
                Sample(
                    at_s=at_s,
                    process=name,
                    pid=pid,
                    state=status.last.state if status else "",
                    rss_kb=rss_kb,
                    fds=fds,
                    cpu_s=cpu_s,
                    events_per_s=status.events_per_s if status else None,
                    gaps=counters.get("gaps", 0.0),
                    dropped=counters.get("dropped", 0.0),
                )
            )
    return found


def _measure(pid: int) -> tuple[int, int, float] | None:
    """Return resident memory in KB, descriptors and seconds of CPU; None without such a process."""
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        fds = len(os.listdir(folder / "fd"))
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_KB, fds, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _last(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-2:])
