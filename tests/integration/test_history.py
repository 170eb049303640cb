"""What was lost on the bus is fetched: by the recorder from the publisher, by others from it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from grid import wire
from grid.bus import Addresses, Publisher, Requester, Responder, Subscriber, wait_until_flowing
from grid.history import HISTORY, History, history_of
from grid.session import Session
from tests.support.procs import Procs, until

type Context = zmq.Context[zmq.Socket[bytes]]

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.0, 1.0, 1.0, 1.0, 0.0)
TOPIC = "md.X.SIM.bar"


class Source:
    """A publisher that answers for what it published, as a node does."""

    def __init__(self, context: Context, addresses: Addresses, ring_bytes: int = 1 << 22) -> None:
        self.publisher = Publisher(context, addresses.events_in, "node", 1, ring_bytes=ring_bytes)
        self.history = History(self.publisher.ring)
        self._responder = Responder(context, addresses.strategies)
        self._beat_s = 0.0

    def serve(self) -> None:
        now_s = time.monotonic()
        if now_s - self._beat_s > 0.2:
            self._beat_s = now_s
            self._responder.register(history_of("node"), 1)
            self.publisher.heartbeat("running")
        while (found := self._responder.recv()) is not None:
            corr, request = found
            assert isinstance(request, wire.Fetch | wire.Tail)
            self._responder.reply(corr, self.history.answer(request, now_s))

    def close(self) -> None:
        self.publisher.close()
        self._responder.close()


@pytest.fixture
def source(context: Context, addresses: Addresses) -> Iterator[Source]:
    made = Source(context, addresses)
    yield made
    made.close()


@pytest.fixture
def beats(context: Context, addresses: Addresses) -> Iterator[Subscriber]:
    made = Subscriber(context, addresses.events_out, ["sys.recorder"])
    yield made
    made.close()


def counter(beats: Subscriber, name: str) -> float | None:
    """The newest value of one of the recorder's counters, if a heartbeat is here."""
    value = None
    for _, envelope, _ in beats.drain(100):
        beat = wire.event(envelope)
        assert isinstance(beat, wire.Heartbeat)
        value = beat.counters.get(name)
    return value


def serve_until(source: Source, beats: Subscriber, name: str, least: float) -> None:
    def reached() -> bool:
        source.serve()
        return (counter(beats, name) or 0.0) >= least

    until(reached, f"{name} of {least:g}")


def recorded(folder: Path) -> tuple[list[int], Session]:
    (path,) = (folder / "sessions").iterdir()
    session = Session.open(path)
    return [e.seq for topic, e, _ in session if topic == TOPIC], session


def test_recorder_fetches_what_a_killed_broker_lost(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path, source: Source,
    beats: Subscriber,
) -> None:  # fmt: skip
    broker = procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    wait_until_flowing(context, addresses, source.publisher, 10.0)
    source.publisher.publish(TOPIC, BAR)
    serve_until(source, beats, "events", 1)
    broker.kill()
    for _ in range(2_000):
        source.publisher.publish(TOPIC, BAR)
    # what queues at the publisher may still arrive: none does when the recorder subscribes late
    recorder.popen.send_signal(signal.SIGSTOP)
    procs.serve("broker", addresses, tmp_path)
    wait_until_flowing(context, addresses, source.publisher, 10.0)
    recorder.popen.send_signal(signal.SIGCONT)
    source.publisher.publish(TOPIC, BAR)
    serve_until(source, beats, "mended", 2_000)
    until(lambda: source.serve() or counter(beats, "mending") == 0.0, "the end of the mending")
    assert recorder.stop() == 0
    seqs, session = recorded(tmp_path)
    assert seqs == [*range(1, 2_003)]
    assert [r for r in session.lost if not r.topic.startswith("sys.")] == []
    assert session.damage is None


def test_recorder_that_comes_late_has_the_beginning_too(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path, source: Source,
    beats: Subscriber,
) -> None:  # fmt: skip
    procs.serve("broker", addresses, tmp_path)
    wait_until_flowing(context, addresses, source.publisher, 10.0)
    for _ in range(500):
        source.publisher.publish(TOPIC, BAR)
    recorder = procs.serve("record", addresses, tmp_path)
    serve_until(source, beats, "mended", 500)
    assert recorder.stop() == 0
    assert recorded(tmp_path)[0] == [*range(1, 501)]


def test_recorder_answers_fetch_and_tail_and_nothing_else(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path, source: Source,
    beats: Subscriber,
) -> None:  # fmt: skip
    procs.serve("broker", addresses, tmp_path)
    procs.serve("record", addresses, tmp_path)
    wait_until_flowing(context, addresses, source.publisher, 10.0)
    for _ in range(50):
        source.publisher.publish(TOPIC, BAR)
    requester = Requester(context, addresses.requests)
    stream = ("node", 1, TOPIC)

    def ask(request: wire.Request) -> wire.Reply:
        return requester.ask(request, 10.0)

    def came() -> bool:
        source.serve()
        reply = ask(wire.Fetch(HISTORY, "me", *stream, 50, 50))
        return isinstance(reply, wire.Frames)

    until(came, "the last event")
    reply = ask(wire.Fetch(HISTORY, "me", *stream, 10, 19))
    assert isinstance(reply, wire.Frames)
    assert [wire.unpack(f)[1].seq for f in reply.frames] == [*range(10, 20)]
    assert wire.event(wire.unpack(reply.frames[0])[1]) == BAR
    tail = ask(wire.Tail(HISTORY, "me", TOPIC, 3))
    assert isinstance(tail, wire.Frames)
    assert (tail.source, tail.epoch, tail.topic, tail.first) == (*stream, 48)
    nobody = ask(wire.Fetch(HISTORY, "me", "nobody", 1, TOPIC, 1, 1))
    assert nobody == wire.Evicted("nobody", 1, TOPIC, 0, 0)
    asked = [ask(wire.Fetch(HISTORY, "greedy", *stream, 1, 1)) for _ in range(150)]
    assert any(isinstance(r, wire.Refused) and r.retry for r in asked)
    hello = ask(wire.Hello(HISTORY, "alpha", "champion", "digest"))
    assert isinstance(hello, wire.Refused)
    assert not hello.retry
    requester.close()
