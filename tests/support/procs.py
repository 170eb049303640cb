"""Real processes for tests: started from command lines, waited for by facts, never left behind.

A test asks for the fixture `procs`. At its end every process is stopped; one that does not stop on
SIGTERM, or that outlives the one that started it, fails the test and is killed. When the test run
itself is killed, its processes die with it, and the children of those with them.
"""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from grid.bus import Addresses, new_context

SERVE = Path(__file__).with_name("serve.py")
WAIT_S = 30.0
GRACE_S = 10.0
_MARK = "ARGONAUT_TEST_RUN"
# a preexec_fn would fork a process with threads; the signal outlives the exec
_TIED = ("setpriv", "--pdeathsig", "KILL", "--")


class Proc:
    """One child, its output in a file, its lifeline in a pipe."""

    def __init__(self, argv: list[str], output: Path, env: dict[str, str], lifeline: bool) -> None:
        self.argv = argv
        self.output = output
        self.popen: subprocess.Popen[bytes]
        self._life: int | None = None
        fds: list[int] = []
        if lifeline:
            self._life, child_end = os.pipe()
            os.set_blocking(self._life, False)
            fds, argv = [child_end], [*argv, "--lifeline", str(child_end)]
        try:
            with output.open("wb") as out:
                self.popen = subprocess.Popen(
                    [*_TIED, *argv],
                    stdout=out,
                    stderr=out,
                    env=env,
                    pass_fds=fds,
                    start_new_session=True,
                )
        finally:
            for fd in fds:
                os.close(fd)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def text(self) -> str:
        """What it has written so far, stdout and stderr together."""
        return self.output.read_text(errors="replace")

    def expect(self, text: str, timeout_s: float = WAIT_S) -> str:
        """Wait until it has written `text` and return the line that holds it."""

        def line() -> str | None:
            return next((each for each in self.text.splitlines() if text in each), None)

        return until(line, f"{text!r} from {self}", timeout_s, self._ended_without(line))

    def ready(self, timeout_s: float = WAIT_S) -> None:
        """Wait until it has said on its lifeline that it is ready."""
        assert self._life is not None, "start it with lifeline=True"
        said = b""
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._life, selectors.EVENT_READ)
            while b"R" not in said:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    pytest.fail(f"{self} was not ready within {timeout_s} s\n{self.text}")
                more = os.read(self._life, 4096)
                if not more:
                    pytest.fail(f"{self} ended before it was ready\n{self.text}")
                said += more

    def beats(self) -> int:
        """Return how many bytes of its lifeline have come since the last call."""
        assert self._life is not None, "start it with lifeline=True"
        n = 0
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self._life, 4096):
                n += len(more)
        return n

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self} did not end within {timeout_s} s\n{self.text}")

    def stop(self, timeout_s: float = GRACE_S) -> int:
        """Ask it to stop, wait for its end, return its exit code."""
        self.popen.terminate()
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill it with -9 and wait for its end."""
        self.popen.kill()
        self.wait()

    def close(self) -> None:
        if self._life is not None:
            os.close(self._life)
            self._life = None

    def __str__(self) -> str:
        return f"[{self.pid}] {' '.join(self.argv)[:200]}"

    def _ended_without(self, fact: Callable[[], object]) -> Callable[[], str | None]:
        def why() -> str | None:
            if self.popen.poll() is None or fact():
                return None
            return f"it ended with {self.popen.returncode}\n{self.text}"

        return why


class Procs:
    """Starts children and answers for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = uuid.uuid4().hex
        self._all: list[Proc] = []

    def start(self, *argv: str | Path, lifeline: bool = False) -> Proc:
        """Start a command line; with `lifeline`, hand it the pipe of a supervisor."""
        output = self._folder / f"{len(self._all)}.out"
        env = {**os.environ, _MARK: self._mark}
        self._all.append(Proc([str(a) for a in argv], output, env, lifeline))
        return self._all[-1]

    def python(self, *arguments: str | Path, lifeline: bool = False) -> Proc:
        """Start this Python with arguments."""
        return self.start(sys.executable, *arguments, lifeline=lifeline)

    def serve(self, what: str, addresses: Addresses, *arguments: str | Path) -> Proc:
        """Start `broker` or `record` from `serve.py`, and wait until it is ready."""
        where = msgspec.json.encode(addresses).decode()
        proc = self.python(SERVE, what, where, *arguments, lifeline=True)
        proc.ready()
        return proc

    def running(self) -> list[Proc]:
        """Return those that were started and have not ended, in that order."""
        return [proc for proc in self._all if proc.popen.poll() is None]

    def close(self) -> list[str]:
        """Stop all, the last one first; return what went wrong, a sentence each."""
        wrong = []
        for proc in reversed(self._all):
            if proc.popen.poll() is None:
                proc.popen.terminate()
                try:
                    proc.popen.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    wrong.append(f"{proc} did not stop on SIGTERM\n{proc.text}")
                    proc.popen.kill()
                    proc.popen.wait(GRACE_S)
            proc.close()
        for pid in self.survivors():
            wrong.append(f"process {pid} was left behind")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return wrong

    def survivors(self) -> list[int]:
        """Return the living among all that came from here, children's children included."""
        needle = f"{_MARK}={self._mark}".encode()
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if _has(p, needle)]


def _has(process: Path, needle: bytes) -> bool:
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and needle in (process / "environ").read_bytes()
    except OSError:
        return False


def until[T](
    fact: Callable[[], T | None],
    what: str,
    timeout_s: float = WAIT_S,
    hopeless: Callable[[], str | None] = lambda: None,
) -> T:
    """Wait until `fact` returns something true and return it; fail the test when it does not."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := fact():
            return found
        if why := hopeless():
            pytest.fail(f"waited for {what}, but {why}")
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s} s in vain for {what}")
        time.sleep(0.005)


@pytest.fixture
def procs(tmp_path: Path) -> Iterator[Procs]:
    """Children that do not outlive the test."""
    folder = tmp_path / "procs"
    folder.mkdir()
    started = Procs(folder)
    yield started
    if wrong := started.close():
        pytest.fail("\n".join(wrong))


@pytest.fixture
def addresses() -> Iterator[Addresses]:
    """Addresses of a grid of one's own, in a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="argonaut-"))
    yield Addresses.ipc(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    """A ZeroMQ context; a socket that the test left open fails it."""
    made = new_context()
    yield made
    left = [s for s in list(made._sockets) if not s.closed]  # weak references, kept by pyzmq
    made.destroy(linger=0)
    assert not left, f"sockets left open: {left}"
