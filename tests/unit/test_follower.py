"""A bridge's follower: each event once, in order, from where the sink stands."""

from grid import wire
from grid.bridges.follower import ASK_S, PATIENCE_S, Follower
from grid.bridges.position import Mark, Position
from grid.history import HISTORY, history_of

TOPIC = "md.X.SIM.quote"
QUOTE = wire.Quote("X.SIM", 1, 1.0, 1.1, 5.0, 6.0)


def frame(seq: int, epoch: int = 1, topic: str = TOPIC) -> bytes:
    return wire.pack(topic, "node", epoch, seq, epoch * 1000 + seq, QUOTE)


def beat(high: int, seq: int = 1, topic: str = TOPIC) -> bytes:
    event = wire.Heartbeat("node", "node", 1, "running", 1.0, {}, {topic: high})
    return wire.pack("sys.node", "node", 1, seq, 5000, event)


def frames(first: int, last: int) -> wire.Frames:
    kept = tuple(frame(seq) for seq in range(first, last + 1))
    return wire.Frames("node", 1, TOPIC, first, kept)


def follower(*marks: Mark) -> Follower:
    return Follower("bridge", Position(marks), ("md.",))


def taken(events: list) -> list[int]:
    return [e.envelope.seq for e in events if not e.topic.startswith("sys.")]


def test_follower_goes_on_where_the_sink_stands_and_fetches_what_came_meanwhile() -> None:
    made = follower(Mark("node", 1, TOPIC, 3))
    assert taken(made.take(frame(2), 0.0)) == []
    assert taken(made.take(frame(6), 0.0)) == []
    want = made.ask(0.0)
    assert want is not None
    assert (want.at, want.first, want.last) == (HISTORY, 4, 5)
    assert made.ask(ASK_S / 2) is None
    assert taken(made.take_reply(frames(4, 5), 0.1)) == [4, 5, 6]
    assert taken(made.take(frame(7), 0.2)) == [7]
    assert (made.repeated, made.mended, made.missing) == (1, 2, 0)


def test_follower_without_a_position_fetches_a_stream_from_its_beginning() -> None:
    made = follower()
    made.take(frame(3), 0.0)
    made.ask(0.0)
    assert taken(made.take_reply(frames(1, 2), 0.0)) == [1, 2, 3]


def test_follower_asks_the_source_for_what_the_recorder_has_not() -> None:
    made = follower(Mark("node", 1, TOPIC, 1))
    made.take(frame(4), 0.0)
    made.ask(0.0)
    assert made.take_reply(wire.Evicted("node", 1, TOPIC, 0, 0), 0.0) == []
    want = made.ask(0.0)
    assert want is not None
    assert want.at == history_of("node")
    assert taken(made.take_reply(frames(2, 3), 0.0)) == [2, 3, 4]


def test_follower_counts_what_nobody_has_and_goes_on() -> None:
    made = follower(Mark("node", 1, TOPIC, 1))
    made.take(frame(4), 0.0)
    made.ask(0.0)
    made.take_reply(wire.Evicted("node", 1, TOPIC, 0, 0), 0.0)
    made.ask(0.0)
    assert taken(made.take_reply(wire.Evicted("node", 1, TOPIC, 4, 4), 0.0)) == [4]
    assert made.missing == 2
    made.take(frame(7), 1.0)
    assert taken(made.overdue(1.0 + PATIENCE_S)) == [7]
    assert made.missing == 4


def test_follower_hears_of_lost_events_in_a_heartbeat_and_of_other_topics_nothing() -> None:
    made = follower(Mark("node", 1, TOPIC, 1))
    made.take(beat(9, topic="decision.S-1"), 0.0)
    assert made.ask(0.0) is None
    made.take(beat(3, seq=2), 0.0)
    want = made.ask(0.0)
    assert want is not None
    assert (want.first, want.last) == (2, 3)
    assert taken(made.take(frame(1, topic="decision.S-1"), 0.0)) == []
    assert taken(made.take_reply(frames(2, 3), 0.0)) == [2, 3]


def test_follower_takes_a_new_epoch_from_its_beginning() -> None:
    made = follower(Mark("node", 1, TOPIC, 9))
    assert taken(made.take(frame(1, epoch=2), 0.0)) == [1]
    assert made.missing == 0
