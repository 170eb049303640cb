"""Command lines of processes that die with the one that started them, even one killed with -9."""

import sys
from collections.abc import Sequence
from typing import Final

# in the child, for a function of ours between fork and exec would run beside other threads' locks
_TIE: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def tied(argv: Sequence[str]) -> list[str]:
    """Return a command line that does what `argv` does, and is killed when its parent ends."""
    return [sys.executable, "-c", _TIE, *argv]
