import logging
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grid.errors import ProcessDied
from grid.process import Lifeline, log_to


def test_lifeline_says_ready_and_beats_in_single_bytes() -> None:
    out, fd = os.pipe()
    life = Lifeline(fd)
    life.ready()
    life.beat()
    life.beat()
    assert os.read(out, 10) == b"R.."
    life.close()
    os.close(out)


def test_lifeline_without_a_supervisor_says_nothing() -> None:
    life = Lifeline(None)
    life.ready()
    life.beat()
    assert not life.stopping
    life.close()


def test_lifeline_whose_supervisor_is_gone_stops_and_wakes_its_loops() -> None:
    out, fd = os.pipe()
    life = Lifeline(fd)
    os.close(out)
    life.beat()
    assert life.stopping
    assert os.eventfd_read(life.wake_fd) == 1
    life.close()


def test_lifeline_of_a_supervisor_that_does_not_read_never_blocks() -> None:
    out, fd = os.pipe()
    life = Lifeline(fd)
    for _ in range(70_000):  # a pipe holds 65,536 bytes
        life.beat()
    assert not life.stopping
    life.close()
    os.close(out)


def test_lifeline_that_is_no_open_descriptor_is_refused() -> None:
    out, fd = os.pipe()
    os.close(out)
    os.close(fd)
    with pytest.raises(ProcessDied, match=f"lifeline {fd}"):
        Lifeline(fd)


def test_log_writes_one_line_a_record_with_the_process_in_it(tmp_path: Path) -> None:
    before = logging.root.handlers[:]
    file = tmp_path / "logs" / "x.log"
    try:
        log_to("odd%name", file)
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logging.getLogger("grid.x").exception("it %s", "failed")
        (line,) = file.read_text().splitlines()
    finally:
        for handler in set(logging.root.handlers) - set(before):
            handler.close()
        logging.root.handlers[:] = before
    stamp, level, process, logger, message = line.split(" ", 4)
    assert (stamp[10], stamp[-1]) == ("T", "Z")
    assert (level, process, logger) == ("ERROR", "odd%name", "grid.x")
    assert message.startswith("it failed | Traceback")
    assert message.endswith("first | second")


CHILD = """
import select, signal, sys
from grid import process
life = process.start("a-child", int(sys.argv[1]))
life.ready()
print(open("/proc/self/comm").read().strip(), flush=True)
sys.exit(0 if select.select([life.wake_fd], [], [], 60)[0] else 9)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_names_the_process_and_stops_it_on_a_signal(number: int) -> None:
    out, fd = os.pipe()
    command = [sys.executable, "-c", CHILD, str(fd)]
    child = subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE, text=True)
    os.close(fd)
    assert child.stdout is not None
    assert child.stdout.readline() == "a-child\n"
    child.send_signal(number)
    assert child.wait(10) == 0
    assert b"R" in os.read(out, 10)
    os.close(out)
    child.stdout.close()


PARENT = f"""
import os, subprocess, sys
out, fd = os.pipe()
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(fd)], pass_fds=[fd])
print(child.pid, flush=True)
child.wait()
"""


def test_start_lets_no_child_outlive_a_supervisor_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "a-child\n"
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSTOP)  # not even one that is stopped
    parent.kill()
    parent.wait(10)
    # readable when it has ended
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)
    parent.stdout.close()
