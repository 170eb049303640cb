"""The model server: receive, put in a queue, run a batch, reply. One thread does all of it.

HTTP and gRPC are askers like any other, in a thread of their own: see `agents.serving.front`.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from agents.registry.history import PREFIX
from agents.registry.registry import Registry
from agents.serving.lane import Asked
from agents.serving.loader import Job, Loaded, Loader
from agents.serving.shelf import Refused, Shelf, Version
from agents.serving.sources import Source
from grid.errors import CheckpointError
from grid.process import Lifeline
from grid.serving import wire
from grid.serving.config import ServingConfig
from grid.serving.ends import Answerer

log = logging.getLogger(__name__)

_IDLE_S: Final = 0.1
_BEAT_NS: Final = 500_000_000
_END_NS: Final = 8_000_000_000
_BURST: Final = 4_096  # requests taken before the next batch
_NEVER_NS: Final = 1 << 62


class Server:
    """Models behind one socket.

    Args:
        config: of the server.
        registry: of names and digests.
        end: the socket.

    Raises:
        CheckpointError: a model of the config cannot be loaded.
    """

    def __init__(self, config: ServingConfig, registry: Registry, end: Answerer) -> None:
        self._config = config
        self._end = end
        self._shelf = Shelf(config)
        self._counts: Counter[str] = Counter()  # what no version counts
        self._loader = Loader(registry, config.device, config.max_batch)
        try:
            for each in config.models:
                source = Source.read(each.checkpoint)
                self._place(self._loader.load(Job(each.name or source.name, source)))
        except Refused as e:
            self._loader.close()
            raise CheckpointError(str(e)) from e
        except BaseException:
            self._loader.close()
            raise

    def run(self, life: Lifeline, has_ended: Callable[[], bool]) -> None:
        """Answer until told to stop; what waits by then is refused as UNAVAILABLE.

        Args:
            life: of the process.
            has_ended: asked when told to stop, again and again for some seconds: whether those who
                ask within this process need no more answers.
        """
        beat_ns = 0
        last_ns = _NEVER_NS
        while not life.stopping or (time.monotonic_ns() < last_ns and not has_ended()):
            if life.stopping:
                last_ns = min(last_ns, time.monotonic_ns() + _END_NS)
                self._end.wait(min(0.01, self._left_s()))
            else:
                self._end.wait(self._left_s(), life.wake_fd, self._loader.fd)
            self._turn()
            if (now_ns := time.monotonic_ns()) >= beat_ns:
                beat_ns = now_ns + _BEAT_NS
                life.beat()
        for version in self._shelf.versions():
            while len(version.lane):
                batch, expired = version.lane.take(0)
                for asked in (*batch, *expired):
                    self._refuse(asked.route, asked.id, "UNAVAILABLE", "the server is stopping")

    def close(self) -> None:
        """End what loads."""
        self._loader.close()

    def _turn(self) -> None:
        for _ in range(_BURST):
            received = self._end.recv()
            if received is None:
                break
            self._receive(*received)
        now_ns = time.monotonic_ns()
        due = [(v.lane.due_ns, v) for v in self._shelf.versions() if len(v.lane)]
        for due_ns, version in sorted(due, key=lambda each: each[0] or 0):
            if due_ns is not None and due_ns <= now_ns:
                self._run(version)
        while (loaded := self._loader.poll()) is not None:
            self._settle(loaded)
        self._loader.follow(
            [(m.name, m.source) for m in self._shelf.models.values()], time.monotonic_ns()
        )
        for name, gone in self._shelf.sweep():
            log.info("model %s version %s (%s) has left", name, gone.number, gone.network.digest)

    def _left_s(self) -> float:
        due = [ns for v in self._shelf.versions() if (ns := v.lane.due_ns) is not None]
        return min(_IDLE_S, (min(due) - time.monotonic_ns()) / 1e9) if due else _IDLE_S

    # -- predictions ----------------------------------------------------------------------------

    def _receive(self, route: list[bytes], request: wire.Request) -> None:
        try:
            if isinstance(request, wire.Predict):
                self._predict(route, request)
            else:
                self._manage(route, request)
        except Refused as e:
            self._counts[f"refused_{e.code.lower()}"] += 1
            self._refuse(route, request.id, e.code, e.reason)

    def _predict(self, route: list[bytes], request: wire.Predict) -> None:
        version = self._shelf.find(request.model, request.version)
        now_ns = time.monotonic_ns()
        due_ns = _NEVER_NS
        if request.deadline_ns:
            due_ns = now_ns + request.deadline_ns - time.time_ns()
        try:
            obs = _rows(request.obs, version.network.size, self._config.max_batch)
            if not version.lane.offer(Asked(route, request.id, obs, now_ns, due_ns)):
                raise Refused("OVERLOADED", f"{self._config.queue} requests wait already")
        except Refused as e:
            version.tally.refused(e.code)
            self._refuse(route, request.id, e.code, e.reason)

    def _run(self, version: Version) -> None:
        """Run one batch and reply to all of it."""
        began_ns = time.monotonic_ns()
        batch, expired = version.lane.take(began_ns)
        for asked in expired:
            version.tally.refused("EXPIRED")
            self._refuse(asked.route, asked.id, "EXPIRED", "the deadline passed in the queue")
        if not batch:
            return
        obs = batch[0].obs if len(batch) == 1 else np.concatenate([a.obs for a in batch])
        try:
            outputs = version.network.run(obs)
        except Exception as e:  # the runtime has no base class for its errors
            log.exception("a batch of %d rows failed", len(obs))
            for asked in batch:
                version.tally.refused("FAILED")
                self._refuse(asked.route, asked.id, "FAILED", f"the network failed: {e}")
            return
        ran_ns = time.monotonic_ns()
        version.tally.ran(len(obs), ran_ns - began_ns)
        first = 0
        for asked in batch:
            rows = outputs[first : first + len(asked.obs)]
            first += len(asked.obs)
            queue_ns = began_ns - asked.came_ns
            self._end.reply(
                asked.route,
                wire.Prediction(
                    asked.id,
                    rows.tobytes(),
                    version.number,
                    version.network.digest,
                    len(obs),
                    queue_ns / 1e3,
                    (ran_ns - began_ns) / 1e3,
                ),
            )
            version.tally.answered(queue_ns, time.monotonic_ns() - asked.came_ns)

    def _refuse(self, route: list[bytes], number: int, code: wire.Code, reason: str) -> None:
        self._end.reply(route, wire.Refusal(number, code, reason))

    # -- management -----------------------------------------------------------------------------

    def _manage(self, route: list[bytes], request: wire.Request) -> None:
        shelf, done = self._shelf, ""
        match request:
            case wire.Models():
                counts = {
                    "bad": self._end.bad,
                    "undelivered": self._end.dropped,
                    **self._counts,
                }
                listing = wire.Listing(request.id, shelf.told(), self._config.device, counts)
                self._end.reply(route, listing)
                return
            case wire.Register():
                self._register(route, request)
                return
            case wire.Unregister():
                done = shelf.remove(request.model, request.version)
            case wire.SetDefault():
                model = shelf.model(request.model)
                done = model.default = model.version(request.version).number
            case wire.Scale():
                if request.workers not in (0, 1):
                    raise Refused("REFUSED", f"expected 0 or 1 workers, found {request.workers}")
                shelf.model(request.model).workers = request.workers
            case wire.Predict():
                raise AssertionError("handled before")
        self._end.reply(route, wire.Done(request.id, getattr(request, "model", ""), done))

    def _register(self, route: list[bytes], request: wire.Register) -> None:
        source = Source.read(request.source)
        if not request.source.startswith(PREFIX):
            raise Refused(
                "REFUSED",
                f"expected {PREFIX}NAME or {PREFIX}DIGEST of the registry, found {request.source!r}"
                ": no other place is loaded from",
            )
        job = Job(request.model or source.name, source, (route, request.id))
        if not self._loader.submit(job):
            raise Refused("OVERLOADED", "too many checkpoints wait to be loaded")

    def _settle(self, loaded: Loaded) -> None:
        job = loaded.job
        try:
            version = self._place(loaded)
        except Refused as e:
            if job.asked is not None:
                route, number = job.asked
                self._refuse(route, number, e.code, e.reason)
            else:
                self._counts["swaps_refused"] += 1
                log.warning("%s points at what cannot be served: %s", job.source.text, e)
            return
        if job.asked is not None:
            route, number = job.asked
            self._end.reply(route, wire.Done(number, job.model, version.number))
        else:
            self._counts["swaps"] += 1

    def _place(self, loaded: Loaded) -> Version:
        """Put what was loaded on the shelf; `Refused` with the reason why it cannot be."""
        job, network = loaded.job, loaded.network
        if network is None:
            raise Refused("FAILED", loaded.why)
        version = self._shelf.add(job.model, job.source, loaded.number, network, time.time_ns())
        how = "batched" if network.batched else "row by row"
        log.info("model %s version %s is %s, %s", job.model, version.number, network.digest, how)
        return version


def _rows(raw: bytes, size: int, most: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return float32 [rows, size]; `Refused` if the bytes are none."""
    rows, rest = divmod(len(raw), 4 * size)
    if rest or not 0 < rows <= most:
        raise Refused(
            "BAD_INPUT",
            f"expected 1 to {most} rows of {size} numbers of 4 bytes, found {len(raw)} bytes",
        )
    obs = np.frombuffer(raw, dtype="<f4").reshape(rows, size)
    if not np.isfinite(obs).all():
        raise Refused("BAD_INPUT", "expected finite numbers, found others")
    return obs
