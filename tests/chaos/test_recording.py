"""What a crash or a full disk can take from a recording, and that nothing else suffers from it."""

import random
import time

from grid import session, wire
from grid.bus import Publisher, Subscriber, wait_until_flowing
from grid.session import Session
from grid.writer import FSYNC_S
from tests.support import markets
from tests.support.disks import small_disk
from tests.support.grids import Grid, Watch
from tests.support.witness import stamps, starved_ns

__all__ = ["small_disk"]

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.0, 1.0, 1.0, 1.0, 0.0)
TOPIC = "md.X.SIM.bar"
RECORDERS = 4
PER_MS = 4  # events
SEED = 20_261_124


class Victim:
    """A recorder that is killed at a moment of its own."""

    def __init__(self, procs, addresses, folder, name, kill_s):
        self.sessions = folder / name / "sessions"
        self._stamps = folder / f"{name}.stamps"
        self.proc = procs.serve(
            "record", addresses, folder / name, "--name", name, "--witness", self._stamps
        )
        self.kill_s = kill_s
        self.killed_ns = 0
        self._starved = []  # (when, for how long so far)

    def look(self, elapsed_s):
        """Kill it if its time has come; note how long it has waited for a processor."""
        now_ns = time.time_ns()
        self._starved.append((now_ns, starved_ns(self.proc.pid)))
        if elapsed_s >= self.kill_s:
            self.killed_ns = time.time_ns()
            self.proc.kill()

    def promised(self):
        """How many events it had received longer ago than the bound when it was killed.

        What the machine did not let it run in that time is not held against it.
        """
        window_ns = self.killed_ns - 3 * round(FSYNC_S * 1e9)
        before = max((ns for at, ns in self._starved if at <= window_ns), default=0)
        idle_ns = self._starved[-1][1] - before
        limit_ns = self.killed_ns - round(FSYNC_S * 1e9) - idle_ns
        return sum(at < limit_ns for at in stamps(self._stamps))


def test_recorders_killed_under_load_lose_no_more_than_was_promised(
    procs, context, addresses, tmp_path
):
    procs.serve("broker", addresses, tmp_path)
    chance = random.Random(SEED)
    victims = [
        Victim(procs, addresses, tmp_path, f"recorder-{n}", chance.uniform(0.6, 2.0))
        for n in range(RECORDERS)
    ]
    witness = Subscriber(context, addresses.events_out, ["md."])
    publisher = Publisher(context, addresses.events_in, "node", 1, wait_s=10.0)
    wait_until_flowing(context, addresses, publisher, 10.0)
    seen = sent = 0
    began_s = time.monotonic()
    while alive := [v for v in victims if not v.killed_ns]:
        elapsed_s = time.monotonic() - began_s
        while sent < elapsed_s * 1_000 * PER_MS:
            publisher.publish(TOPIC, BAR)
            sent += 1
        seen += len(witness.frames(10_000, 0.002))
        for victim in alive:
            victim.look(elapsed_s)
    for victim in victims:
        (folder,) = victim.sessions.iterdir()
        found = Session.open(folder)
        kept = [envelope.seq for topic, envelope, _ in found if topic == TOPIC]
        assert kept == [*range(1, len(kept) + 1)]
        assert len(kept) >= victim.promised() > 0
        assert session.state(folder) == "interrupted"
        assert "not closed" in found.damage
    # the deaths of those who record are nothing to those who listen
    while seen < sent and (more := witness.frames(10_000, 5.0)):
        seen += len(more)
    assert seen == sent
    for end in (witness, publisher):
        end.close()


def test_grid_trades_on_when_the_disk_of_its_recordings_is_full(
    procs, context, addresses, tmp_path, small_disk
):
    grid = Grid(tmp_path, addresses, markets.bar_columns(4_000), feed={"speed": 400})
    grid.home.sessions.symlink_to(small_disk)
    up = grid.up(procs)
    seen = Watch(context, grid)
    seen.until(lambda e: isinstance(e, wire.Heartbeat) and e.state == "damaged: disk full",
               "the recorder to tell", 60)  # fmt: skip
    seen.outcomes(50)
    told = procs.python("launch.py", "status", "--home", grid.home.root, "--seconds", "1.2")
    assert told.wait() == 0
    (line,) = (each for each in told.text.splitlines() if each.startswith("recorder "))
    assert "damaged: disk full" in line
    seen.outcomes(50)
    seen.close()
    assert up.stop(30) == 0
    (run,) = grid.runs()
    assert len(run.decisions) > 20
    assert run.missing == 0
