"""The feed as a process, with a broker, and a node's socket in the test."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from grid import wire
from grid.bus import Addresses, Subscriber, new_socket
from grid.dataset import Dataset
from grid.tape import Tape
from grid.venue import Venue
from tests.support import feeder
from tests.support.feeder import MINUTE_NS, START_NS, write_dataset
from tests.support.procs import Proc, Procs, until

type Context = zmq.Context[zmq.Socket[bytes]]

WAIT_MS = 10_000


class Node:
    """The node's end."""

    def __init__(self, context: Context, address: str, epoch: int) -> None:
        self.epoch = epoch
        self.socket = new_socket(context, zmq.DEALER)
        self.socket.connect(address)

    def subscribe(self, warmup: int = 0, after_ns: int = 0) -> None:
        self.socket.send(wire.encode(wire.Subscribe(self.epoch, warmup, after_ns)))

    def credit(self, upto: int) -> None:
        self.socket.send(wire.encode(wire.Credit(self.epoch, upto)))

    def recv(self) -> wire.FeedReply:
        if not self.socket.poll(WAIT_MS):
            pytest.fail("the feed sent nothing")
        return wire.feed_reply(self.socket.recv())

    def events(self, n: int) -> list[wire.Bar | wire.Quote]:
        events = []
        for _ in range(n):
            item = self.recv()
            assert isinstance(item, wire.FeedItem)
            events.append(item.event)
        return events

    def has_more(self) -> bool:
        return bool(self.socket.poll(0))


class Stage:
    """A broker, a dataset, and feeds that play it."""

    def __init__(self, procs: Procs, addresses: Addresses, context: Context, folder: Path) -> None:
        self.procs = procs
        self.addresses = addresses
        self.context = context
        self.folder = folder
        self.dataset: Dataset
        self.nodes: list[Node] = []
        self.epoch = 0
        procs.serve("broker", addresses, folder)
        self.beats = Subscriber(context, addresses.events_out, ["sys.feed"])

    def feed(self, *more: Path, **config: Any) -> Proc:
        """Start a feed and wait until it is ready."""
        self.epoch += 1
        proc = self.procs.python(
            feeder.__file__,
            self.dataset.path,
            msgspec.json.encode(self.addresses).decode(),
            str(self.epoch),
            msgspec.json.encode(config).decode(),
            *more,
            lifeline=True,
        )
        proc.ready()
        return proc

    def node(self, epoch: int) -> Node:
        self.nodes.append(Node(self.context, self.addresses.feed, epoch))
        return self.nodes[-1]

    def beat(self, fact: Callable[[wire.Heartbeat], bool]) -> wire.Heartbeat:
        """Wait for a heartbeat of the feed of which `fact` is true."""

        def seen() -> wire.Heartbeat | None:
            while (event := self.beats.recv()) is not None:
                beat = wire.event(event[1])
                if isinstance(beat, wire.Heartbeat) and beat.state != "starting" and fact(beat):
                    return beat
            return None

        return until(seen, "a heartbeat of the feed")


@pytest.fixture
def stage(procs: Procs, addresses: Addresses, context: Context, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(procs, addresses, context, tmp_path)
    yield made
    for node in made.nodes:
        node.socket.close()
    made.beats.close()


def test_feed_plays_history_then_quote_and_bar_then_the_end(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "bars", 8)
    stage.feed(start="2020-01-01T00:04", end="2020-01-01T00:07")
    node = stage.node(1)
    node.subscribe(warmup=2)
    node.credit(99)
    messages = [node.recv() for _ in range(9)]
    assert [m.seq for m in messages] == list(range(1, 10))
    events = [m.event for m in messages if isinstance(m, wire.FeedItem)]
    tape = Tape(stage.dataset, Venue(), 3, 6)
    assert events == [*tape.history(0, 2), *(tape.event(i) for i in range(6))]
    assert isinstance(messages[-1], wire.FeedEnd)
    ended = stage.beat(lambda b: b.state == "ended")
    assert ended.counters | {"sent": 6, "position": 3, "remaining": 0} == ended.counters
    assert not node.has_more()


def test_feed_sends_no_further_than_its_credit(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 50)
    stage.feed()
    node = stage.node(1)
    node.subscribe()
    stage.beat(lambda b: b.state == "waiting for credit")
    assert not node.has_more()
    node.credit(3)
    node.events(3)
    stage.beat(lambda b: b.counters["sent"] == 3 and b.counters["waiting_for_credit"] == 1)
    assert not node.has_more()
    for done in range(1, 48):
        node.credit(done + 3)
    assert len(node.events(47)) == 47
    assert isinstance(node.recv(), wire.FeedEnd)


def test_feed_goes_on_with_a_new_node_and_fences_the_old(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 20)
    stage.feed()
    old = stage.node(1)
    old.subscribe()
    old.credit(5)
    old.events(5)
    old.credit(8)  # three are done
    old.events(3)
    new = stage.node(2)
    new.subscribe(warmup=2)
    new.credit(1)
    times = [(e.ts_event_ns - START_NS) // MINUTE_NS for e in new.events(3)]
    assert times == [2, 3, 4]  # two rows of history, then the first that was not done
    old.credit(20)
    old.subscribe()
    stage.beat(lambda b: b.counters["strangers"] == 2)
    assert not old.has_more()
    assert not new.has_more()


def test_feed_killed_goes_on_where_it_was(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 20)
    bookmark = stage.folder / "feed.position"
    first = stage.feed(bookmark)
    node = stage.node(1)
    node.subscribe()
    node.credit(2)
    node.events(2)
    node.credit(4)
    last = node.events(2)[-1]
    first.kill()

    second = stage.feed(bookmark)
    node.subscribe(after_ns=last.ts_event_ns)  # the node lives: nothing twice
    node.credit(2)
    assert [e.ts_event_ns - last.ts_event_ns for e in node.events(2)] == [MINUTE_NS, 2 * MINUTE_NS]
    node.credit(4)  # six received, of these six done
    node.events(2)
    second.kill()

    stage.feed(bookmark)
    new = stage.node(2)
    new.subscribe()
    new.credit(1)
    [event] = new.events(1)
    assert (event.ts_event_ns - START_NS) // MINUTE_NS == 7


def test_feed_asked_again_before_any_credit_repeats_no_history(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 20)
    stage.feed(start="2020-01-01T00:10")
    node = stage.node(1)
    node.subscribe(warmup=4)
    node.subscribe(warmup=4)
    node.credit(1)
    events = node.events(5)
    assert [e.history for e in events] == [True] * 4 + [False]
    assert not node.has_more()


def test_feed_at_a_speed_takes_its_time(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 11)
    stage.feed(speed=50)
    node = stage.node(1)
    node.subscribe()
    node.credit(99)
    node.events(1)
    began = time.monotonic()
    node.events(10)
    assert time.monotonic() - began >= 10 / 50 - 0.03


def test_feed_counts_what_is_not_of_the_protocol_and_lives(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 3)
    feed = stage.feed()
    node = stage.node(1)
    node.socket.send(b"\xc1")
    node.socket.send_multipart([b"", wire.encode(wire.Subscribe(1, 0))])
    node.socket.send(wire.encode(wire.FeedEnd(1)))
    stage.beat(lambda b: b.counters["bad"] == 3)
    node.subscribe()
    node.credit(3)
    assert len(node.events(3)) == 3
    feed.beats()
    until(feed.beats, "a beat on the lifeline")
    assert feed.stop() == 0


def test_feed_second_on_the_same_address_is_refused(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 3)
    stage.feed()
    second = stage.procs.python(
        feeder.__file__,
        stage.dataset.path,
        msgspec.json.encode(stage.addresses).decode(),
        "9",
        "{}",
    )
    assert second.wait() == 1
    assert "another feed is running here" in second.text


def test_feed_without_rows_ends_with_a_sentence(stage: Stage) -> None:
    stage.dataset = write_dataset(stage.folder / "data", "quotes", 3)
    proc = stage.procs.python(
        feeder.__file__,
        stage.dataset.path,
        msgspec.json.encode(stage.addresses).decode(),
        "1",
        '{"start": "2030-01-01"}',
    )
    assert proc.wait() == 2
    assert "no rows from 2030-01-01 to its end" in proc.text
