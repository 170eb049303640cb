"""The tests' own processes: they die with the test run, however it ends."""

import signal
import sys
from pathlib import Path

import pytest

from tests.support.grids import ROOT, alive
from tests.support.procs import Procs, until

RUN = """
import sys, time
from pathlib import Path
from tests.support.procs import Procs

folder = Path(sys.argv[1])
child = Procs(folder).python("-c", "import time; time.sleep(300)")
(folder / "pid").write_text(str(child.pid))
time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_child_of_a_test_run_that_is_killed_dies_with_it(tmp_path: Path, procs: Procs, number):
    run = procs.start("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", RUN, tmp_path)
    pid = int(until(lambda: (f := tmp_path / "pid").exists() and f.read_text(), "a child"))
    cmdline = Path(f"/proc/{pid}/cmdline")
    until(lambda: b"time.sleep" in cmdline.read_bytes().split(b"\0")[2], "it to be tied")
    assert alive(pid)
    run.popen.send_signal(number)
    run.wait()
    until(lambda: not alive(pid), "the child to be dead")
