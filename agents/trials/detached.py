"""A launcher that outlives the terminal it was started from."""

import os
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from agents.trials.folder import Folder
from grid.errors import TrialsError
from grid.home import Home

LOG: Final = "launcher.log"
_START_S: Final = 120.0


def detach(argv: Sequence[str], home: Home, name: str) -> int:
    """Start a launcher in a session of its own; return its process id once it runs the grid.

    Raises:
        TrialsError: it ended before, or did not come so far in time.
    """
    folder = Folder(home, name)
    if folder.launcher:
        raise TrialsError(f"grid {name!r} runs already, as process {folder.launcher}")
    home.logs.mkdir(parents=True, exist_ok=True)
    log = home.logs / f"grid-{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            last = (log.read_text(errors="replace").splitlines() or ["no output"])[-1]
            if code == 0:  # it was complete
                return process.pid
            raise TrialsError(f"grid {name!r} did not start: {last}")
        if folder.launcher == process.pid and folder.exists:
            return process.pid
        time.sleep(0.05)
    process.kill()
    process.wait(10.0)
    raise TrialsError(f"grid {name!r} did not start within {_START_S:g} s; its log is {log}")
