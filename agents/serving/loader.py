"""Loads checkpoints beside the thread that predicts, and sees when a name has moved."""

import contextlib
import os
import queue
import threading
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from agents.registry.registry import Registry
from agents.serving.network import Network, load
from agents.serving.sources import Source, current
from grid.errors import ArgonautError

_LOOK_EVERY_NS: Final = 100_000_000
_WAITING: Final = 16


class Job(NamedTuple):
    """Something to load; `asked` is who wants to know, None for a name that has moved."""

    model: str
    source: Source
    asked: Any = None


class Loaded(NamedTuple):
    """What became of a job: a network with its version number, or why there is none."""

    job: Job
    network: Network | None
    number: str
    why: str = ""


class Loader:
    """One thread that loads, one job after the other.

    Attributes:
        fd: readable when something was loaded.

    Args:
        registry: of names.
        device: that networks are made for.
        max_batch: largest batch.
    """

    def __init__(self, registry: Registry, device: str, max_batch: int) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._registry = registry
        self._device = device
        self._max_batch = max_batch
        self._jobs: queue.Queue[Job | None] = queue.Queue(_WAITING)
        self._done: queue.SimpleQueue[Loaded] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._thread.start()
        self._seen: dict[str, str] = {}  # by followed name, the digest last tried
        self._next_ns = 0

    def load(self, job: Job) -> Loaded:
        """Load at once, in this thread; no exception of ours gets out."""
        source = job.source
        try:
            if source.followed:
                self._seen.setdefault(source.followed, current(self._registry, source.followed))
            checkpoint, number = source.open(self._registry)
            return Loaded(job, load(checkpoint, self._device, self._max_batch), number)
        except ArgonautError as e:
            return Loaded(job, None, "", str(e))

    def submit(self, job: Job) -> bool:
        """Load it beside; False if too much waits already."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def follow(self, models: Iterable[tuple[str, Source]], now_ns: int) -> None:
        """Load what the names of these models have come to point at; looks now and then."""
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + _LOOK_EVERY_NS
        for model, source in models:
            if not source.followed:
                continue
            at = current(self._registry, source.followed)
            if at and at != self._seen.get(source.followed) and self.submit(Job(model, source)):
                self._seen[source.followed] = at

    def poll(self) -> Loaded | None:
        """Return the next that was loaded, or None."""
        if self._done.empty():
            return None
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        return self._done.get_nowait()

    def close(self) -> None:
        """End the thread; a checkpoint that it is loading is waited for."""
        while not self.submit(None):  # type: ignore[arg-type]
            self._jobs.get_nowait()
        self._thread.join(30.0)
        os.close(self.fd)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._done.put(self.load(job))
            os.eventfd_write(self.fd, 1)
