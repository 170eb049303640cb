"""Where the trials of one machine come from: `python -m agents.trials.nursery HOME SOCKET`.

A process that imports what trials need and forks one for each order, in 20 ms in place of the
seconds that the imports take. It never has an engine or CUDA itself. It kills a trial when it is
told to, says how each ended, and goes with its launcher; the trials go with it.
"""

import contextlib
import ctypes
import faulthandler
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from agents.trials.messages import Message, Order
from agents.trials.work import work
from grid.home import Home
from grid.process import log_to

MESSAGE_BYTES: Final = 1 << 17
PRELOADED: Final = (
    "agents.training",
    "agents.evaluation",
    "agents.progress",
    "envs.trading",
    # what those import only when it is used; a second of each trial
    "torch._dynamo",
    "torch.onnx",
    "pandas",
)
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc: Final = ctypes.CDLL(None)


class Fork(msgspec.Struct, frozen=True, tag="fork", tag_field="do"):
    """Carry out an order, with everything written going to file `log`."""

    order: Order
    log: str


class Kill(msgspec.Struct, frozen=True, tag="kill", tag_field="do"):
    """End a trial's process, and all of its session."""

    trial: str


class Ended(msgspec.Struct, frozen=True, tag="ended", tag_field="say"):
    """A trial's process has ended: exit code, or minus the signal."""

    trial: str
    attempt: int
    code: int


type Ask = Fork | Kill
type Told = Message | Ended


class Nursery:
    """Children by the pidfd that is readable when they have ended."""

    def __init__(self, home: Home, link: socket.socket) -> None:
        self._home, self._link = home, link
        self._selector = selectors.DefaultSelector()
        self._selector.register(link, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, Order]] = {}  # pidfd -> pid, order

    def serve(self) -> None:
        """Do what is asked until the launcher is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._link:
                    self._reap(key.fd)
                elif not self._heed():
                    return

    def _heed(self) -> bool:
        raw = self._link.recv(MESSAGE_BYTES)
        if not raw:
            return False
        ask: Ask = msgspec.json.decode(raw, type=Ask)
        match ask:
            case Fork():
                self._fork(ask)
            case Kill():
                for pid, order in self._children.values():
                    if order.trial == ask.trial:
                        _kill(pid)
        return True

    def _fork(self, ask: Fork) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            fd = os.pidfd_open(pid)
            self._children[fd] = (pid, ask.order)
            self._selector.register(fd, selectors.EVENT_READ)
            return
        code = 1
        try:
            os.setsid()
            if go_with(parent, ask.order.trial):
                self._child(ask)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _child(self, ask: Fork) -> None:
        out = os.open(ask.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        faulthandler.enable()
        log_to(ask.order.trial)
        work(ask.order, self._home, self._tell)

    def _tell(self, message: Told) -> None:
        self._link.send(msgspec.json.encode(message))

    def _reap(self, fd: int) -> None:
        self._selector.unregister(fd)
        pid, order = self._children.pop(fd)
        os.close(fd)
        _kill(pid)  # what it has left in its session
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._tell(Ended(order.trial, order.attempt, code))


def _kill(pid: int) -> None:
    # a child; its pid is its own until `_reap` has waited for it
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # it may have no session yet


def go_with(parent: int, name: str) -> bool:
    """Die when the parent dies, even while stopped; say whether it still lives."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def main(home: str, fd: str, launcher: str) -> None:
    """Serve the launcher at the other end of a socket."""
    if not go_with(int(launcher), "trials"):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the launcher
    for name in PRELOADED:
        import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a trial would copy the pages that all share
    with socket.socket(fileno=int(fd)) as link:
        link.set_inheritable(False)
        Nursery(Home(Path(home)), link).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
