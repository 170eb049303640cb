"""Where workers come from: `python -m envs.nursery PLACE`.

A process that imports what the envs need, and forks a worker for each. It never has an env or an
engine itself. Forks of one process have the same code at the same addresses, so that the processor
goes on predicting its branches when one takes over from another: on few cores that makes a step
two to three times as fast as in processes that were started one by one.

It stays as long as one of them, writes down how each ends, and goes with its trainer.
"""

import ctypes
import faulthandler
import gc
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Final

import msgspec
import numpy as np

from envs.block import Head
from envs.vector_worker import Place, Worker

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc: Final = ctypes.CDLL(None)


def main(argument: str) -> None:
    """Fork the workers of a place, given as JSON, and wait for their ends."""
    place = msgspec.json.decode(argument, type=Place)
    if not _go_with(place.trainer, "envs"):
        return
    for fd in (place.memory, place.wake, place.done, place.life, *place.logs):
        os.set_inheritable(fd, False)  # not to what an env may start
    head = Head(place.memory, place.n)
    for env in range(place.n):
        import_module(head.read(env)[0].partition(":")[0])
    gc.collect()
    gc.freeze()  # a collection in a worker would copy the pages that all share
    env_of = {_fork(place, env): env for env in range(place.n)}
    for pid, env in env_of.items():
        head.pids[env] = pid
    for _ in env_of:
        pid, status = os.wait()
        head.exits[env_of[pid]] = status + 1
        os.eventfd_write(place.done, 1)


def _fork(place: Place, env: int) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if _go_with(parent, f"env-{env}"):
            os.dup2(place.logs[env], 1)
            os.dup2(place.logs[env], 2)
            faulthandler.enable()
            np.random.seed()  # else all have the same numbers, should an env use these
            Worker(place, env).serve()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _go_with(parent: int, name: str) -> bool:
    """Die when the parent dies, even while stopped; say whether it still lives."""
    _libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


if __name__ == "__main__":
    main(sys.argv[1])
