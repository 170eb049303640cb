"""A grid's journal, followed from outside: what is new is folded into what was known."""

from agents.trials import journal
from agents.trials.events import Done, Event, Failed, Planned, Reported, Saved
from agents.trials.folder import Folder
from agents.trials.messages import Beat
from agents.trials.schedule import Schedule
from grid.errors import TrialsError


class Watched:
    """A grid's journal, folded as far as it goes.

    Args:
        folder: of the grid.

    Attributes:
        schedule: the state of the grid.
        rewards: trial -> steps -> mean reward of the last episodes.
        scores: trial -> steps -> objective on the validation span.
        deaths: of trials, oldest first.
        beats: of the running trials.
        running: whether a process runs it.

    Raises:
        TrialsError: it is damaged.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._seen: tuple[int, int, int] | None = None
        self._events: list[Event] = []
        self._begin()

    def _begin(self) -> None:
        self.schedule = Schedule(self.folder.grid())
        self.rewards: dict[str, dict[int, float]] = {}
        self.scores: dict[str, dict[int, float]] = {}
        self.deaths: list[Failed] = []
        self.beats: dict[str, Beat] = {}
        self.running = False

    def refresh(self) -> None:
        """Take in what was written since; a grid that was begun anew is read anew."""
        self.running = bool(self.folder.launcher)
        self.beats = self.folder.shown() if self.running else {}
        found = self.folder.journal.stat()
        seen = (found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return
        events = journal.read(self.folder.journal)
        if events[: len(self._events)][-1:] != self._events[-1:]:
            self._events = []
            self._begin()
            return self.refresh()
        for event in events[len(self._events) :]:
            self._take(event)
        self._events, self._seen = events, seen
        return None

    @property
    def planned(self) -> Planned:
        """The first event."""
        if self.schedule.planned is None:
            raise TrialsError(f"{self.folder.journal}: expected the event planned, found none yet")
        return self.schedule.planned

    @property
    def changed_ns(self) -> int:
        """When something happened last."""
        return self._events[-1].at_ns if self._events else 0

    @property
    def revision(self) -> str:
        """Another word when anything has changed."""
        beats = f"{len(self.beats)}-{sum(b.steps for b in self.beats.values())}"
        return f"{len(self._events)}-{self.changed_ns}-{int(self.running)}-{beats}"

    def _take(self, event: Event) -> None:
        self.schedule.apply(event)
        match event:
            case Saved() if event.reward is not None:
                self.rewards.setdefault(event.trial, {})[event.steps] = event.reward
            case Reported() if event.score is not None:
                self.scores.setdefault(event.trial, {})[event.steps] = event.score
            case Done():
                score = event.outcome.validation.get(self.schedule.grid.objective)
                if score is not None:
                    self.scores.setdefault(event.trial, {})[event.outcome.steps] = score
            case Failed():
                self.deaths.append(event)
            case _:
                pass
