"""Looking on at a grid from outside, by its journal."""

import time
from dataclasses import dataclass
from typing import Final

from agents.trials.events import Event
from agents.trials.folder import Folder
from agents.trials.launcher import Tell
from agents.trials.messages import Beat
from agents.trials.schedule import Schedule

_LOOK_S: Final = 0.5


@dataclass(frozen=True)
class Seen:
    """A grid at a moment.

    Attributes:
        schedule: its state.
        beats: of the running trials, none without a launcher.
        events: all so far.
        launcher: process id, 0 when there is none.
    """

    schedule: Schedule
    beats: dict[str, Beat]
    events: list[Event]
    launcher: int


def look(folder: Folder) -> Seen:
    """Return what there is to see now.

    Raises:
        TrialsError: there is no such grid, or its journal is damaged.
    """
    launcher = folder.launcher
    events = folder.events()
    schedule = Schedule(folder.grid())
    for event in events:
        schedule.apply(event)
    return Seen(schedule, folder.shown() if launcher else {}, events, launcher)


def follow(folder: Folder, tell: Tell) -> None:
    """Tell of a grid as its launcher would, until no process runs it.

    Raises:
        TrialsError: there is no such grid, or its journal is damaged.
    """
    known = 0
    while True:
        seen = look(folder)
        tell(seen.schedule, seen.beats, seen.events[known:])
        known = len(seen.events)
        if not seen.launcher:
            return
        time.sleep(_LOOK_S)
