"""A grid's journal: one JSON line an event, appended and on the disk before it counts."""

import os
from pathlib import Path
from typing import Final

import msgspec

from agents.trials.events import VERSION, Event, Planned
from grid.errors import TrialsError

NAME: Final = "events.jsonl"


def read(file: Path) -> list[Event]:
    """Return the events of a journal; half a line at its end was never whole, and is none.

    Raises:
        TrialsError: a line before the last cannot be read, or the journal has another version.
    """
    raw = file.read_bytes() if file.exists() else b""
    lines = raw.split(b"\n")[:-1]
    events: list[Event] = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise TrialsError(f"{file}: line {number}: damaged: {e}") from e
    if events and not isinstance(events[0], Planned):
        raise TrialsError(f"{file}: line 1: expected the event planned, found another")
    if events and isinstance(events[0], Planned) and events[0].version != VERSION:
        raise TrialsError(f"{file}: journal version {VERSION} expected, found {events[0].version}")
    return events


class Journal:
    """The end of a journal, to write at; open it when it has been read.

    Args:
        file: made if there is none; half a line at its end is cut off.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        raw = file.read_bytes()
        self._end = raw.rfind(b"\n") + 1
        os.ftruncate(self._fd, self._end)

    def append(self, event: Event) -> None:
        """Write an event, and return when the disk has it.

        Raises:
            OSError: the disk is full or broken; the journal is as it was.
        """
        line = msgspec.json.encode(event) + b"\n"
        try:
            at = self._end
            while line:
                written = os.pwrite(self._fd, line, at)
                line, at = line[written:], at + written
            os.fdatasync(self._fd)
        except OSError as e:
            os.ftruncate(self._fd, self._end)
            raise OSError(e.errno, e.strerror, str(self._file)) from e
        self._end = at

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
