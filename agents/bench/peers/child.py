"""A peer's process, from this side: it is there within a time, or it is said why not."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from grid.errors import ProcessDied

START_S: Final = 900.0  # uv may have to download a gigabyte first
ANSWER_S: Final = 60.0
_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parents[2]


class Peer(NamedTuple):
    """Whom to measure.

    Attributes:
        name: in the rows.
        script: beside this file, without its suffix.
        module: what it imports; where it is not installed, uv makes an environment with it.
        arguments: of the script, after the bars.
    """

    name: str
    script: str
    module: str
    arguments: tuple[str, ...] = ()


class Child:
    """A running peer.

    Args:
        peer: which.
        bars: CSV file.

    Attributes:
        version: of its package.

    Raises:
        ProcessDied: it ended or is not ready within `START_S`; the message ends with its last line.
    """

    def __init__(self, peer: Peer, bars: Path) -> None:
        self._name = peer.name
        command = [*_interpreter(peer), str(_HERE / f"{peer.script}.py"), str(bars)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the child
        self._rest = b""
        try:
            self._process = subprocess.Popen(
                [*command, *peer.arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=_environment(),
                start_new_session=True,  # uv runs it as a child of its own
            )
        except OSError as e:
            self._log.close()
            raise ProcessDied(f"{peer.name}: cannot be started: {e}") from e
        try:
            self.version: str = self._answer(START_S)
        except BaseException:
            self.close()
            raise

    def rate(self, which: str, seconds: float) -> float:
        """Return steps per second of a round, `hold` or `act10`.

        Raises:
            ProcessDied: it ended, or did not answer within `ANSWER_S` beyond the round.
        """
        assert self._process.stdin is not None
        with suppress(OSError):  # it ended; reading says why
            self._process.stdin.write(json.dumps([which, seconds]).encode() + b"\n")
            self._process.stdin.flush()
        found: float = self._answer(seconds + ANSWER_S)
        return found

    def close(self) -> None:
        """End it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            assert pipe is not None
            with suppress(OSError):  # of a request that it did not read
                pipe.close()

    def _answer(self, timeout_s: float) -> Any:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
                raise ProcessDied(f"{self._name}: no answer within {timeout_s:g} s{self._last()}")
            piece = os.read(pipe, 4096)
            if not piece:
                code = self._process.wait()
                raise ProcessDied(f"{self._name}: ended with code {code}{self._last()}")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def _last(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {said}" if said else ""


def _interpreter(peer: Peer) -> Sequence[str]:
    if find_spec(peer.module) is not None:
        return [sys.executable]
    uv = shutil.which("uv")
    if uv is None:
        raise ProcessDied(f"{peer.name}: not installed, and no uv to make an environment with it")
    python: str = getattr(sys, "_base_executable", sys.executable)
    return [uv, "run", "--quiet", "--python", python, "--script"]


def _environment() -> dict[str, str]:
    # its own folder must not come first: a script would hide the package of its name
    return {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"}
