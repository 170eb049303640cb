"""Holes are filled before they are written."""

from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.errors import ProtocolError
from grid.history import History, history_of
from grid.mender import HELD_BYTES, PATIENCE_S, Arrived, Mender
from grid.ring import Ring

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.0, 1.0, 1.0, 1.0, 0.0)


class Source:
    """A publisher without a socket: what it published, and its ring."""

    def __init__(self, epoch: int = 1, name: str = "node", ring_bytes: int = 1 << 20) -> None:
        self.name, self.epoch = name, epoch
        self.ring = Ring(ring_bytes)
        self.high: dict[str, int] = {}
        self.published: list[Arrived] = []

    def publish(self, topic: str = "md.x", event: wire.Event = BAR) -> Arrived:
        seq = self.high[topic] = self.high.get(topic, 0) + 1
        ts_ns = self.epoch * 1_000_000 + len(self.published)
        frame = wire.pack(topic, self.name, self.epoch, seq, ts_ns, event)
        if not topic.startswith("sys."):
            self.ring.keep((self.name, self.epoch, topic), seq, frame)
        self.published.append(Arrived(ts_ns, *wire.unpack(frame), frame))
        return self.published[-1]

    def beat(self) -> Arrived:
        streams = {t: s for t, s in self.high.items() if not t.startswith("sys.")}
        beat = wire.Heartbeat(self.name, "node", 1, "x", 0.0, {}, streams)
        return self.publish(f"sys.{self.name}", beat)


def take(mender: Mender, arrived: Arrived, now_s: float = 0.0) -> list[bytes]:
    try:
        event = wire.event(arrived.envelope)
    except ProtocolError:
        event = None
    beat = event if isinstance(event, wire.Heartbeat) else None
    return [a.frame for a in mender.take(arrived, beat, now_s)]


def mend(mender: Mender, source: Source, now_s: float = 0.0) -> list[Arrived]:
    """Answer what it wants until it wants nothing more; return what was released."""
    history, released = History(source.ring), []
    while mender.want is not None:
        assert mender.want.at == history_of(source.name)
        released += mender.take_reply(history.answer(mender.want, now_s), now_s)
    return released


def frames(arrived: list[Arrived]) -> list[bytes]:
    return [a.frame for a in arrived]


def test_stream_without_a_hole_goes_straight_through() -> None:
    source, mender = Source(), Mender("recorder")
    for _ in range(3):
        event = source.publish()
        assert take(mender, event) == [event.frame]
    beat = source.beat()
    assert take(mender, beat) == [beat.frame]
    assert mender.want is None


def test_hole_over_two_topics_is_filled_in_the_order_of_publication() -> None:
    source, mender = Source(), Mender("recorder")
    written = take(mender, source.publish()) + take(mender, source.publish("decision.s"))
    for topic in ("md.x", "decision.s", "md.x"):
        source.publish(topic)  # lost
    assert take(mender, source.publish("decision.s")) == []
    assert take(mender, source.publish("md.x")) == []
    assert mender.want == wire.Fetch("history.node", "recorder", "node", 1, "decision.s", 2, 2)
    written += frames(mend(mender, source))
    assert written == frames(source.published)
    assert (mender.mended, mender.given_up, mender.held) == (3, 0, 0)


def test_mended_event_has_the_time_of_arrival_of_what_follows_it() -> None:
    source, mender = Source(), Mender("recorder")
    take(mender, source.publish())
    source.publish()
    late = source.publish()._replace(ts_ns=77)
    take(mender, late)
    assert [a.ts_ns for a in mend(mender, source)] == [77, 77]


def test_loss_at_the_end_is_found_by_the_heartbeat_and_filled_before_it() -> None:
    source, mender = Source(), Mender("recorder")
    written = take(mender, source.publish())
    source.publish()
    source.publish()
    assert take(mender, source.beat()) == []
    written += frames(mend(mender, source))
    assert written == frames(source.published)


def test_recorder_that_comes_late_fetches_what_was_before_it() -> None:
    source, mender = Source(), Mender("recorder")
    for topic in ("exec.s", "md.x", "md.x", "decision.s"):
        source.publish(topic)
    written = take(mender, source.publish("md.x")) + frames(mend(mender, source))
    written += take(mender, source.beat()) + frames(mend(mender, source))
    # by source in order, for those topics that were known at that time
    assert sorted(written) == sorted(frames(source.published))
    streams = [wire.unpack(f) for f in written]
    for topic in ("exec.s", "md.x", "decision.s"):
        seqs = [e.seq for t, e in streams if t == topic]
        assert seqs == [*range(1, len(seqs) + 1)]


def test_other_sources_do_not_wait_for_the_one_with_a_hole() -> None:
    source, other, mender = Source(), Source(name="other"), Mender("recorder")
    take(mender, source.publish())
    source.publish()
    assert take(mender, source.publish()) == []
    event = other.publish()
    assert take(mender, event) == [event.frame]


def test_hole_that_is_evicted_in_part_is_filled_in_part() -> None:
    source, mender = Source(ring_bytes=900), Mender("recorder")
    written = take(mender, source.publish())
    for _ in range(20):
        source.publish()
    low, _ = source.ring.span(("node", 1, "md.x"))
    assert low > 2
    assert take(mender, source.publish()) == []
    low, _ = source.ring.span(("node", 1, "md.x"))
    written += frames(mend(mender, source))
    assert written == frames(source.published[:1] + source.published[low - 1 :])
    assert mender.given_up == 1


def test_hole_that_nobody_fills_is_given_up_after_a_while() -> None:
    source, mender = Source(), Mender("recorder")
    take(mender, source.publish())
    source.publish()
    held = source.publish()
    take(mender, held, now_s=10.0)
    mender.take_reply(wire.Refused("not known here", retry=True), 10.5)
    assert mender.want is not None
    assert mender.overdue(10.0 + PATIENCE_S - 0.1) == []
    assert mender.overdue(10.0 + PATIENCE_S) == [held]
    assert mender.want is None
    after = source.publish()
    assert take(mender, after) == [after.frame]


def test_new_epoch_of_a_source_ends_the_waiting_for_the_old_one() -> None:
    source, mender = Source(), Mender("recorder")
    take(mender, source.publish())
    source.publish()
    held = source.publish()
    assert take(mender, held) == []
    again = Source(epoch=2)
    again.publish()
    assert take(mender, again.publish()) == [held.frame]
    assert mender.want == wire.Fetch("history.node", "recorder", "node", 2, "md.x", 1, 1)
    assert frames(mend(mender, again)) == frames(again.published)


def test_what_is_held_back_is_bounded() -> None:
    source, mender = Source(), Mender("recorder")
    take(mender, source.publish())
    source.publish()
    big = wire.Bar("X.SIM", "x" * 900_000, 1, 1.0, 1.0, 1.0, 1.0, 0.0)
    released = 0
    for _ in range(HELD_BYTES // 900_000 + 1):
        released += len(take(mender, source.publish(event=big)))
    assert released == HELD_BYTES // 900_000 + 1
    assert mender.held == 0


def test_reply_to_something_else_changes_nothing() -> None:
    source, mender = Source(), Mender("recorder")
    assert mender.take_reply(wire.Evicted("node", 1, "md.x", 0, 0), 0.0) == []
    take(mender, source.publish())
    source.publish()
    take(mender, source.publish())
    want = mender.want
    rubbish = (b"no frame", source.published[0].frame)
    for reply in (
        wire.Frames("node", 1, "md.y", 2, (b"x",)),
        wire.Frames("node", 1, "md.x", 2, rubbish),
        wire.Evicted("node", 1, "md.x", 1, 3),
    ):
        assert mender.take_reply(reply, 0.0) == []
        assert mender.want == want
    assert frames(mend(mender, source)) == frames(source.published[1:])


@given(
    st.lists(
        st.tuples(st.sampled_from(["md.x", "decision.s", "beat"]), st.booleans()), max_size=60
    ),
    st.integers(0, 3),
)
def test_whatever_is_lost_is_written_whole_and_each_stream_in_order(
    events: list[tuple[str, bool]], patience: int
) -> None:
    source, mender = Source(), Mender("recorder")
    written: list[bytes] = []
    for topic in ("md.x", "decision.s"):
        written += take(mender, source.publish(topic))
    for i, (topic, came) in enumerate(events):
        event = source.beat() if topic == "beat" else source.publish(topic)
        if came:
            written += take(mender, event)
        if i % 4 > patience:
            written += frames(mend(mender, source))
    written += take(mender, source.beat()) + frames(mend(mender, source))
    lost_beats = {
        e.frame
        for e, (topic, came) in zip(source.published[2:], events, strict=False)
        if topic == "beat" and not came
    }
    unpacked = [(*wire.unpack(f), f) for f in written]
    for topic in ("md.x", "decision.s"):
        seqs = [e.seq for t, e, _ in unpacked if t == topic]
        assert seqs == [*range(1, source.high[topic] + 1)]
    # a topic whose loss showed late stands late; the time of publication says where it belongs
    by_time = [f for _, e, f in sorted(unpacked, key=lambda event: event[1].ts_pub_ns)]
    assert by_time == [f for f in frames(source.published) if f not in lost_beats]
    assert mender.given_up == 0
