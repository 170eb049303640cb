"""The supervisor with real children: see `tests/support/child.py` for what they do wrong."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from grid import gridstate
from grid.children import Children
from grid.errors import BusError
from grid.home import Home
from grid.lifecycle import Notice, Patience, ProcessSpec

UP = Path(__file__).parents[1] / "support" / "up.py"
WAIT_S = 30.0


class Grid:
    """A supervisor process and the notices that it has told."""

    def __init__(self, folder: Path, *children: str, **patience: float) -> None:
        self.folder = folder
        self.notices: list[Notice] = []
        asked = msgspec.json.encode(Patience(**{"backoff_s": 0.05, **patience})).decode()  # type: ignore[arg-type]
        self.popen = subprocess.Popen(
            [sys.executable, str(UP), str(folder), asked, *children],
            bufsize=0,  # a line in a buffer would be invisible to the selector
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def expect(self, kind: str, name: str) -> Notice:
        """Wait for the next notice of that kind about that child."""
        while True:
            notice = self._next()
            if notice is None:
                assert self.popen.stderr is not None
                said = self.popen.stderr.read().decode()
                pytest.fail(f"{name} {kind}: not told; told were {self.notices}; {said}")
            if (notice.kind, notice.name) == (kind, name):
                return notice

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return exit code and stderr."""
        while self._next():
            pass
        assert self.popen.stderr is not None
        said = self.popen.stderr.read().decode()
        return self.popen.wait(WAIT_S), said

    def lives(self, name: str) -> list[int]:
        """Process ids of all lives of a child."""
        return [int(p) for p in (self.folder / f"{name}.lives").read_text().split()]

    def stops(self) -> list[str]:
        """Names of children that stopped in good order, in that order."""
        return (self.folder / "stops").read_text().split()

    def _next(self) -> Notice | None:
        assert self.popen.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.popen.stdout, selectors.EVENT_READ)
            if not selector.select(WAIT_S):
                pytest.fail(f"nothing told for {WAIT_S} s; told were {self.notices}")
        line = self.popen.stdout.readline()
        if not line:
            return None
        self.notices.append(msgspec.json.decode(line, type=Notice))
        return self.notices[-1]


def alive_in(folder: Path) -> list[str]:
    """Command lines of living processes that name `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (line := file.read_bytes()):
                found.append(line.replace(b"\0", b" ").decode())
    return found


def wait_for(fact: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


type Launch = Callable[..., Grid]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a grid; afterwards, nothing of it may live."""
    grids: list[Grid] = []

    def up(*children: str, **patience: float) -> Grid:
        grids.append(Grid(tmp_path, *children, **patience))
        return grids[-1]

    yield up
    left = [g.popen for g in grids if g.popen.poll() is None]
    for popen in left:
        popen.terminate()
        try:
            popen.wait(10)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait(10)
    for grid in grids:
        for pipe in (grid.popen.stdout, grid.popen.stderr):
            assert pipe is not None
            pipe.close()
    wait_for(lambda: not alive_in(tmp_path), f"orphans: {alive_in(tmp_path)}", 5)
    assert not left, "the test left its supervisor running"


def test_supervisor_starts_in_order_and_stops_backwards_on_sigterm(launch: Launch) -> None:
    grid = launch("broker:steady", "node:steady", "agent:steady")
    grid.expect("ready", "agent")
    assert [(n.kind, n.name) for n in grid.notices] == [
        (kind, name) for name in ("broker", "node", "agent") for kind in ("started", "ready")
    ]
    grid.popen.terminate()
    assert grid.finish() == (0, "")
    assert grid.stops() == ["agent", "node", "broker"]


def test_supervisor_sigint_to_its_group_stops_in_order(launch: Launch) -> None:
    grid = launch("broker:steady", "node:steady")
    grid.expect("ready", "node")
    os.killpg(grid.popen.pid, signal.SIGINT)
    assert grid.finish() == (0, "")
    assert grid.stops() == ["node", "broker"]


def test_supervisor_completed_child_ends_the_grid_with_success(launch: Launch) -> None:
    grid = launch("broker:steady", "node:finish", "agent:steady")
    grid.expect("ready", "agent")
    (grid.folder / "finish").touch()
    assert grid.finish()[0] == 0
    assert grid.stops() == ["agent", "broker"]


def test_supervisor_killed_child_is_started_again(launch: Launch) -> None:
    grid = launch("broker:steady", "node:steady")
    grid.expect("ready", "node")
    os.kill(grid.lives("node")[0], signal.SIGKILL)
    assert grid.expect("died", "node").detail == "was killed by SIGKILL; starts again in 0.05 s"
    grid.expect("restarted", "node")
    grid.expect("ready", "node")
    [state] = gridstate.running(Home(grid.folder / "home"))
    assert [(c.pid, c.phase, c.restarts) for c in state.children] == [
        (grid.lives("broker")[0], "ready", 0),
        (grid.lives("node")[1], "ready", 1),
    ]
    grid.popen.terminate()
    assert grid.finish()[0] == 0


def test_supervisor_hanging_child_is_killed_and_started_again(launch: Launch) -> None:
    grid = launch("node:hang-once")
    assert "did not beat for 1 s" in grid.expect("died", "node").detail
    grid.expect("ready", "node")
    assert len(grid.lives("node")) == 2
    grid.popen.terminate()
    assert grid.finish()[0] == 0


def test_supervisor_frozen_child_is_stopped_by_force_after_grace(launch: Launch) -> None:
    grid = launch("broker:steady", "node:steady", grace_s=0.3)
    grid.expect("ready", "node")
    os.kill(grid.lives("node")[0], signal.SIGSTOP)
    grid.popen.terminate()
    assert "was killed" in grid.expect("stopped", "node").detail
    assert grid.finish()[0] == 0
    assert grid.stops() == ["broker"]


def test_supervisor_asked_twice_does_not_wait_for_the_deaf(launch: Launch) -> None:
    grid = launch("broker:deaf", "node:deaf", grace_s=60, hurry_s=0.2)
    grid.expect("ready", "node")
    grid.popen.terminate()
    # the second must not arrive before the first was heeded
    [state] = gridstate.running(Home(grid.folder / "home"))

    def stopping() -> bool:
        states = gridstate.running(Home(grid.folder / "home"))
        return any(c.phase == "stopping" for s in states for c in s.children)

    assert state.pid == grid.popen.pid
    wait_for(stopping, "the first signal was not heeded")
    grid.popen.terminate()
    began = time.monotonic()
    assert grid.finish()[0] == 0
    assert time.monotonic() - began < 10


def test_supervisor_essential_child_crashing_takes_the_grid_down(launch: Launch) -> None:
    grid = launch("broker:steady", "node:crash", restarts=2)
    code, said = grid.finish()
    assert code == 1
    assert said.startswith("node exited with code 3, after 2 restarts; ")
    assert said.endswith("ends with:\nsomething broke in life 3\n")
    assert len(grid.lives("node")) == 3
    assert grid.stops() == ["broker"]


def test_supervisor_child_never_ready_takes_the_grid_down(launch: Launch) -> None:
    grid = launch("broker:steady", "node:never")
    code, said = grid.finish()
    assert code == 1
    assert "node was not ready within 2 s" in said
    assert grid.stops() == ["broker"]


def test_supervisor_agent_at_fault_is_given_up_and_the_rest_goes_on(launch: Launch) -> None:
    grid = launch("node:steady", "agent-a:input", "agent-b:steady")
    failed = grid.expect("failed", "agent-a")
    assert failed.detail == "exited with code 2: its input is at fault"
    assert failed.log == "config.toml: unknown key feed.sped"
    grid.expect("ready", "agent-b")
    assert len(grid.lives("agent-a")) == 1
    grid.popen.terminate()
    assert grid.finish()[0] == 0


def test_supervisor_crash_at_start_holds_up_the_next_child(launch: Launch) -> None:
    grid = launch("broker:crash-once", "node:steady")
    grid.expect("ready", "node")
    told = [(n.kind, n.name) for n in grid.notices]
    assert told.index(("ready", "broker")) < told.index(("started", "node"))
    assert ("died", "broker") in told
    grid.popen.terminate()
    assert grid.finish()[0] == 0


def test_supervisor_killed_leaves_no_orphan(launch: Launch) -> None:
    grid = launch("broker:steady", "node:deaf", "agent:steady")
    grid.expect("ready", "agent")
    os.kill(grid.lives("agent")[0], signal.SIGSTOP)  # can notice nothing by itself
    grid.popen.kill()
    grid.finish()
    wait_for(lambda: not alive_in(grid.folder), "orphans", 5)
    assert gridstate.running(Home(grid.folder / "home")) == []


def test_supervisor_child_killed_takes_its_own_children_along(launch: Launch) -> None:
    grid = launch("node:parent")
    grid.expect("ready", "node")
    grid.popen.terminate()
    assert grid.finish()[0] == 0
    wait_for(lambda: not alive_in(grid.folder), "grandchild lives", 2)


def test_supervisor_stopped_for_a_while_kills_nobody(launch: Launch) -> None:
    grid = launch("node:hang-once")  # silent for 1 s: killed
    grid.expect("restarted", "node")
    grid.expect("ready", "node")
    grid.popen.send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # longer than the beat's timeout, and the beats wait in the pipe
    grid.popen.send_signal(signal.SIGCONT)
    with pytest.raises(AssertionError, match="second life"):
        wait_for(lambda: len(grid.lives("node")) > 2, "still in its second life", 0.5)
    grid.popen.terminate()
    assert grid.finish()[0] == 0


def test_supervisor_whose_terminal_is_gone_still_stops_in_order(launch: Launch) -> None:
    grid = launch("broker:steady", "node:steady")
    grid.expect("ready", "node")
    assert grid.popen.stdout is not None
    grid.popen.stdout.close()
    grid.popen.send_signal(signal.SIGHUP)
    grid.popen.wait(WAIT_S)
    assert grid.stops() == ["node", "broker"]


def test_supervisor_second_grid_of_a_name_is_refused_while_the_first_lives(
    launch: Launch,
) -> None:
    grid = launch("node:steady")
    grid.expect("ready", "node")
    code, said = launch("node:steady").finish()
    assert code == BusError.exit_code
    assert f"grid 'test' runs already as process {grid.popen.pid}" in said
    grid.popen.terminate()
    assert grid.finish()[0] == 0
    again = launch("node:steady")
    again.expect("ready", "node")
    again.popen.terminate()
    assert again.finish()[0] == 0


def test_supervisor_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with contextlib.closing(Children(tmp_path / "logs")) as children:
        children.start(ProcessSpec(name="node", argv=("/no/such/command",)))
        assert children.ended() == ["node"]
        assert children.reap("node") == 127
        assert children.last_lines("node") == "/no/such/command: No such file or directory"
