"""Ctrl-C at a place of one's choice: a Ctrl-C elsewhere waits until that place is reached."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """Holds Ctrl-C back, except between `arm` and the first one that comes.

    Around code that must not be left half-way, sockets just opened for example; in threads other
    than the main one it does nothing, for no signal comes there.

    Attributes:
        asked: whether a Ctrl-C has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._armed = False
        self._before: Any = None
        self._holds = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "Interrupts":
        if self._holds:
            self._before = signal.signal(signal.SIGINT, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, self._before)

    def arm(self) -> None:
        """Let the next Ctrl-C raise KeyboardInterrupt, and one that has come already."""
        self._armed = True
        if self.asked:
            self._raise()

    def disarm(self) -> None:
        """Hold it back again."""
        self._armed = False

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._armed:
            self._raise()

    def _raise(self) -> None:
        self._armed = False
        raise KeyboardInterrupt
