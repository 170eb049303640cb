"""A grid on the terminal: a table that moves, or plain lines where there is no terminal."""

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self, TextIO

from agents.trials.events import Event, Reported, Saved, Started
from agents.trials.messages import Beat
from agents.trials.schedule import Schedule
from agents.trials.table import line, live, summary

_PLAIN_S: Final = 30.0


class Screen:
    """Shows what `tell` is given.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._height = 0
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()
        self._out.flush()

    def tell(self, schedule: Schedule, beats: Mapping[str, Beat], events: Sequence[Event]) -> None:
        """Show a state and the events since the last one."""
        self._erase()
        for event in events:
            quiet = (Started, Saved, Reported) if self._terminal else (Saved,)
            if not isinstance(event, quiet):
                self._out.write(f"{line(event)}\n")
        if self._terminal:
            self._draw(live(schedule, beats))
        elif time.monotonic() - self._said_at >= _PLAIN_S:
            self._said_at = time.monotonic()
            self._out.write(f"{summary(schedule, beats)}\n")
        self._out.flush()

    def _draw(self, text: str) -> None:
        size = shutil.get_terminal_size()
        lines = [row[: size.columns - 1] for row in text.splitlines()]
        if len(lines) > size.lines - 1:
            hidden = len(lines) - size.lines + 2
            lines = [*lines[: size.lines - 2], f"and {hidden} more"]
        self._out.write("".join(f"{row}\n" for row in lines))
        self._height = len(lines)

    def _erase(self) -> None:
        if self._height:
            self._out.write(f"\x1b[{self._height}F\x1b[J")
            self._height = 0
