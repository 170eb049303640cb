"""The ends of the bus with a real broker between them."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import zmq

from grid import status, wire
from grid.bus import (
    Addresses,
    Publisher,
    Requester,
    Responder,
    Subscriber,
    wait,
    wait_until_flowing,
)
from grid.errors import BusError, ProtocolError
from grid.streams import StreamTracker
from tests.support.procs import SERVE, Procs, until

type Context = zmq.Context[zmq.Socket[bytes]]

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.0, 1.0, 1.0, 1.0, 0.0)
TOPIC = "md.X.SIM.bar"
HELLO = wire.Hello("s1", "alpha", "shadow", "digest")


def action(seq: int, strategy_id: str = "s1") -> wire.Action:
    return wire.Action(strategy_id, 1, seq, "alpha", 1, seq, 0.5)


class Ends:
    """Makes ends of the bus and closes them."""

    def __init__(self, context: Context, addresses: Addresses, stack: ExitStack) -> None:
        self.context, self.addresses, self._stack = context, addresses, stack

    def _own[T: (Publisher, Subscriber, Requester, Responder)](self, end: T) -> T:
        self._stack.callback(end.close)
        return end

    def publisher(self, source: str = "node", epoch: int = 1, flowing: bool = True) -> Publisher:
        made = self._own(Publisher(self.context, self.addresses.events_in, source, epoch))
        if flowing:
            wait_until_flowing(self.context, self.addresses, made, 10.0)
        return made

    def subscriber(self, *prefixes: str) -> Subscriber:
        return self._own(Subscriber(self.context, self.addresses.events_out, prefixes))

    def requester(self) -> Requester:
        return self._own(Requester(self.context, self.addresses.requests))

    def responder(self) -> Responder:
        return self._own(Responder(self.context, self.addresses.strategies))


@pytest.fixture
def ends(context: Context, addresses: Addresses) -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(context, addresses, stack)


def answered(
    requester: Requester, responder: Responder, request: wire.Request, reply: wire.Reply
) -> wire.Reply:
    """Send a request, answer it as the strategy, and return what came back."""
    until(lambda: requester.send(request), "a broker")
    corr, received = until(responder.recv, "the request")
    assert received == request
    responder.reply(corr, reply)
    back = requester.recv(10.0)
    assert back is not None
    return back


def registered(requester: Requester, responder: Responder, epoch: int = 1) -> None:
    """Register strategy s1 until the broker sends its requests here."""

    def here() -> bool:
        responder.register("s1", epoch)
        requester.renew()
        until(lambda: requester.send(HELLO), "a broker")
        wait([requester, responder], 1.0)
        return responder.recv() is not None

    until(here, "the registration")
    requester.renew()


def test_events_reach_each_subscriber_of_their_topic_in_order(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    bars, others = (
        ends.subscriber("md.X.SIM.", "sys.node"),
        ends.subscriber("md.Y.SIM.", "sys.node"),
    )
    publisher = ends.publisher()
    until(lambda: bars.recv(0.1), "a heartbeat")
    until(lambda: others.recv(0.1), "a heartbeat")
    for seq in range(1, 101):
        assert publisher.publish(TOPIC, BAR) == seq
    publisher.publish("md.Y.SIM.bar", BAR)
    came = []
    while len(came) < 100:
        event = bars.recv(10.0)
        assert event is not None
        topic, envelope, frame = event
        if topic == TOPIC:
            assert wire.unpack(frame) == (topic, envelope)
            assert wire.event(envelope) == BAR
            came.append((envelope.source, envelope.epoch, envelope.seq))
    assert came == [("node", 1, seq) for seq in range(1, 101)]
    assert until(lambda: (e := others.recv(0.1)) and e[0].startswith("md.") and e, "it")[0] == (
        "md.Y.SIM.bar"
    )
    assert publisher.high[TOPIC] == 100
    assert publisher.dropped == 0


def test_events_of_one_topic_go_in_batches_and_arrive_in_order(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    one, many = ends.subscriber("md."), ends.subscriber("md.")
    publisher = ends.publisher()
    until(lambda: publisher.publish("md.start", BAR) and one.recv(0.1) and many.recv(0.1), "both")
    first = publisher.high["md.start"] + 1
    for _ in range(4):
        publisher.publish_all(TOPIC, [BAR] * 25)
    publisher.publish("md.other", BAR)
    last = publisher.publish_all(TOPIC, [BAR])
    publisher.publish("md.other", BAR)

    def seqs(topic: str, frames: list[bytes]) -> list[int]:
        found = [wire.unpack(frame) for frame in frames]
        return [envelope.seq for where, envelope in found if where == topic]

    got: list[bytes] = []
    while len(seqs("md.other", got)) < 2:
        received = one.recv(10.0)
        assert received is not None
        got.append(received[2])
    assert seqs(TOPIC, got) == list(range(1, last + 1))
    assert seqs("md.start", got) == list(range(first, publisher.high["md.start"] + 1))
    batches, stream = list[bytes](), many.stream(10.0)
    while sum(map(wire.events_in, batches)) < len(got):
        batches.append(next(stream))
    assert max(map(wire.events_in, batches)) == 16
    stream.close()
    publisher.publish_all("md.late", [BAR] * 3)
    opened = many.recv(10.0)
    assert opened is not None
    rest = many.stream(10.0)  # what the opened batch has left comes first
    assert seqs("md.late", [opened[2], next(rest), next(rest)]) == [1, 2, 3]
    assert one.bad == many.bad == 0


def test_frames_that_are_not_of_the_protocol_are_counted_and_passed_over(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    subscriber = ends.subscriber("md.", "sys.node")
    publisher = ends.publisher()
    until(lambda: subscriber.recv(0.1), "a heartbeat")
    publisher.send(b"md.no zero byte")
    publisher.send(b"md.x\0" + msgspec.msgpack.encode([99, "node", 1, 1, 1, None]))
    publisher.publish(TOPIC, BAR)
    assert until(lambda: (e := subscriber.recv(0.1)) and e[0] == TOPIC and e, "the bar")
    assert subscriber.bad == 2


def test_event_larger_than_a_frame_is_refused_and_takes_no_sequence(
    context: Context, addresses: Addresses, ends: Ends
) -> None:
    publisher = ends.publisher(flowing=False)
    huge = msgspec.structs.replace(BAR, bar="x" * wire.MAX_FRAME_BYTES)
    with pytest.raises(ProtocolError, match="expected at most 1048576 bytes"):
        publisher.publish(TOPIC, huge)
    assert publisher.publish(TOPIC, BAR) == 1
    with pytest.raises(ProtocolError, match="expected at most"):
        publisher.publish_all("md.many", [BAR, BAR, huge, BAR])
    assert publisher.high["md.many"] == 2, "those before it were sent"


def test_publisher_whose_queue_is_full_counts_what_it_drops(
    context: Context, addresses: Addresses
) -> None:
    with context.socket(zmq.SUB) as stopped:  # a broker that does not read
        stopped.set(zmq.RCVHWM, 1)
        stopped.subscribe("")
        stopped.bind(addresses.events_in)
        publisher = Publisher(context, addresses.events_in, "node", 1, hwm=10)
        until(lambda: publisher.publish(TOPIC, BAR) and stopped.poll(1), "the connection")
        big = msgspec.structs.replace(BAR, bar="x" * 100_000)
        for _ in range(200):
            publisher.publish(TOPIC, big)
        assert 100 < publisher.dropped < publisher.high[TOPIC]
        publisher.close()


def test_publisher_that_may_wait_drops_nothing(context: Context, addresses: Addresses) -> None:
    with context.socket(zmq.SUB) as slow:
        slow.set(zmq.RCVHWM, 1)
        slow.subscribe("")
        slow.bind(addresses.events_in)
        publisher = Publisher(context, addresses.events_in, "node", 1, hwm=10, wait_s=10.0)
        until(lambda: publisher.publish(TOPIC, BAR) and slow.poll(1), "the connection")
        big = msgspec.structs.replace(BAR, bar="x" * 100_000)

        def read() -> None:
            while wire.unpack(slow.recv())[1].seq < publisher.high[TOPIC] or not done.is_set():
                pass

        done = threading.Event()
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(200):
            publisher.publish(TOPIC, big)
        done.set()
        publisher.publish(TOPIC, BAR)
        reader.join(10.0)
        assert not reader.is_alive()
        assert publisher.dropped == 0
        publisher.close()


def test_waiting_for_a_broker_that_is_not_there_ends_with_a_sentence(ends: Ends) -> None:
    publisher = ends.publisher(flowing=False)
    with pytest.raises(BusError, match=r"no event came back through the broker within 0\.2 s"):
        wait_until_flowing(ends.context, ends.addresses, publisher, 0.2)


def test_request_is_answered_by_the_strategy_that_it_names(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester, responder = ends.requester(), ends.responder()
    registered(requester, responder)
    for seq in range(1, 20):
        reply = wire.Answer("accepted", seq, seq, client_order_ids=("o1",))
        assert answered(requester, responder, action(seq), reply) == reply


def test_plain_req_socket_of_any_language_gets_its_answer(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester, responder = ends.requester(), ends.responder()
    registered(requester, responder)
    plain = ends.context.socket(zmq.REQ)
    plain.connect(ends.addresses.requests)
    # MessagePack written by hand: ["action", "s1", 1, 1, "beta", 1, 1, 0.0]
    plain.send(b"\x98\xa6action\xa2s1\x01\x01\xa4beta\x01\x01\xcb" + bytes(8))
    corr, request = until(responder.recv, "the request")
    assert request == wire.Action("s1", 1, 1, "beta", 1, 1, 0.0)
    responder.reply(corr, wire.Answer("shadow", 1, 1))
    assert plain.poll(10_000)
    assert plain.recv_multipart() == [b"\x97\xa6answer\xa6shadow\x01\x01\xa0\x90\xc2"]
    plain.close(linger=0)


def test_request_for_an_unknown_strategy_is_refused_by_the_broker(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester = ends.requester()
    reply = requester.ask(action(1, "nobody"), 10.0)
    assert isinstance(reply, wire.Answer)
    assert (reply.status, reply.decision_seq) == ("rejected", 1)
    refused = requester.ask(HELLO, 10.0)
    assert isinstance(refused, wire.Refused)
    assert refused.retry


def test_request_for_a_strategy_that_has_left_is_rejected(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester, responder = ends.requester(), ends.responder()
    registered(requester, responder)
    responder.socket.close(linger=0)

    def rejected() -> bool:
        reply = requester.send(action(1)) and requester.recv(0.2)
        return isinstance(reply, wire.Answer) and reply.status == "rejected"

    until(rejected, "the broker's own answer", 10.0)


def test_lost_reply_does_not_lock_the_requester(procs: Procs, ends: Ends, tmp_path: Path) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester, responder = ends.requester(), ends.responder()
    registered(requester, responder)
    with pytest.raises(BusError, match=r"no reply to Action for strategy 's1' in 2 x 0\.05 s"):
        requester.ask(action(1), 0.05, retries=1)
    late = [until(responder.recv, "the request")[0] for _ in range(2)]
    for corr in late:
        responder.reply(corr, wire.Answer("late", 1, 1))
    # no late reply is ever taken for the answer to what comes next
    reply = wire.Answer("accepted", 2, 2)
    assert answered(requester, responder, action(2), reply) == reply


def test_newer_epoch_takes_over_and_the_older_one_is_ignored(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester, old, new = ends.requester(), ends.responder(), ends.responder()
    registered(requester, old, epoch=1)
    registered(requester, new, epoch=2)
    old.register("s1", 1)
    reply = wire.Answer("accepted", 1, 1)
    assert answered(requester, new, action(1), reply) == reply
    assert old.recv() is None


def test_second_broker_at_the_same_addresses_is_refused(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    where = msgspec.json.encode(addresses).decode()
    second = procs.python(SERVE, "broker", where, tmp_path)
    assert second.wait() == BusError.exit_code
    assert "another broker is running here" in second.text


def test_second_broker_at_the_same_ports_is_refused(procs: Procs, tmp_path: Path) -> None:
    with zmq.Context() as free, free.socket(zmq.PAIR) as taker:
        ports = [taker.bind_to_random_port("tcp://127.0.0.1") for _ in Addresses.__struct_fields__]
    addresses = Addresses(
        **{
            f: f"tcp://127.0.0.1:{p}"
            for f, p in zip(Addresses.__struct_fields__, ports, strict=True)
        }
    )
    procs.serve("broker", addresses, tmp_path)
    second = procs.python(SERVE, "broker", msgspec.json.encode(addresses).decode(), tmp_path)
    assert second.wait() == BusError.exit_code
    assert "cannot be bound: Address already in use" in second.text


@pytest.mark.parametrize("end", [lambda p: p.kill(), lambda p: p.stop()], ids=["kill", "stop"])
def test_broker_that_comes_back_is_found_by_everyone(
    procs: Procs, ends: Ends, tmp_path: Path, end: Callable[[object], None]
) -> None:
    broker = procs.serve("broker", ends.addresses, tmp_path)
    subscriber, requester, responder = ends.subscriber("md."), ends.requester(), ends.responder()
    publisher = ends.publisher()
    registered(requester, responder)
    tracker = StreamTracker()

    def comes() -> bool:
        publisher.publish(TOPIC, BAR)
        event = subscriber.recv(0.05)
        if event is not None:
            tracker.saw(event[1].source, event[1].epoch, event[0], event[1].seq)
        return event is not None

    until(comes, "an event before")
    end(broker)
    procs.serve("broker", ends.addresses, tmp_path)
    until(comes, "an event after")
    registered(requester, responder)
    reply = wire.Answer("accepted", 1, 1)
    assert answered(requester, responder, action(1), reply) == reply
    # whatever was lost in between is known to be lost
    while (event := subscriber.recv(0.3)) is not None:
        tracker.saw(event[1].source, event[1].epoch, event[0], event[1].seq)
    seen = tracker.counts["first"] + tracker.counts["next"] + tracker.counts["gap"]
    first = publisher.high[TOPIC] - seen - tracker.missing
    assert first >= 0
    assert tracker.last("node", TOPIC) == (1, publisher.high[TOPIC])


def test_broker_beats_from_its_loop_and_not_while_it_is_stopped(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    broker = procs.serve("broker", addresses, tmp_path)
    until(broker.beats, "a beat", 5.0)
    broker.popen.send_signal(signal.SIGSTOP)
    until(lambda: (stat := Path(f"/proc/{broker.pid}/stat").read_text()) and ") T" in stat, "stop")
    broker.beats()
    assert broker.beats() == 0
    broker.popen.send_signal(signal.SIGCONT)
    until(broker.beats, "a beat", 5.0)


def test_status_shows_the_broker_with_its_counters(
    procs: Procs, ends: Ends, tmp_path: Path
) -> None:
    procs.serve("broker", ends.addresses, tmp_path)
    requester = ends.requester()
    requester.ask(HELLO, 10.0)
    ends.publisher()
    snapshot = status.collect(ends.addresses, 2.3, expected=["broker", "beta"])
    assert snapshot.missing == ("beta",)
    counters = snapshot.processes["broker"].last.counters
    assert counters["requests"] == counters["refused_unknown"] == 1
    assert counters["events_in"] >= 2
    assert counters["bytes_in"] > 0
    assert "not heard within 2.3 s: beta" in status.render(snapshot)
