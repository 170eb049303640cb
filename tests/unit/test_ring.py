"""What is kept for those who missed something."""

from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.history import PAGE_BYTES, PER_S, History, history_of
from grid.ring import FRAME_COST_BYTES, LARGEST_BYTES, Ring

STREAM = ("node", 1, "md.X.SIM.bar")
FRAME = b"x" * 50
COST = len(FRAME) + FRAME_COST_BYTES


def filled(n: int, limit_frames: int = 1_000, first: int = 1) -> Ring:
    ring = Ring(limit_frames * COST)
    for seq in range(first, first + n):
        ring.keep(STREAM, seq, FRAME)
    return ring


def fetch(first: int, last: int, client: str = "a", stream=STREAM) -> wire.Fetch:
    return wire.Fetch(history_of("node"), client, *stream, first, last)


def test_ring_gives_back_what_it_was_given() -> None:
    ring = Ring(10_000)
    for seq in range(1, 6):
        ring.keep(STREAM, seq, b"%d" % seq)
    assert ring.fetch(STREAM, 2, 4, 1_000) == [b"2", b"3", b"4"]
    assert ring.span(STREAM) == (1, 5)


def test_ring_lets_the_oldest_go_and_says_what_is_left() -> None:
    ring = filled(30, limit_frames=10)
    assert ring.span(STREAM) == (21, 30)
    assert ring.fetch(STREAM, 20, 30, 1_000) == []
    assert len(ring.fetch(STREAM, 21, 30, 1_000)) == 10
    assert ring.size_bytes == 10 * COST


def test_ring_forgets_a_stream_of_which_nothing_is_left() -> None:
    ring = filled(10, limit_frames=10)
    for seq in range(1, 11):
        ring.keep(("node", 2, "t"), seq, FRAME)
    assert ring.span(STREAM) == (0, 0)
    assert ring.tail(STREAM[2], 1, 1_000) is None


def test_ring_takes_what_was_mended_later() -> None:
    ring = Ring(10_000)
    for seq in (1, 4, 2, 3):
        ring.keep(STREAM, seq, b"%d" % seq)
    assert ring.fetch(STREAM, 1, 4, 1_000) == [b"1", b"2", b"3", b"4"]
    assert ring.tail(STREAM[2], 3, 1_000) == (STREAM, 2, [b"2", b"3", b"4"])


def test_ring_keeps_no_frame_that_fits_into_no_reply() -> None:
    ring = Ring(10 * LARGEST_BYTES)
    ring.keep(STREAM, 1, bytes(LARGEST_BYTES + 1))
    assert ring.span(STREAM) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 30), st.integers(0, 400)), max_size=80
    ),
    st.integers(0, 4_000),
)
def test_ring_never_exceeds_its_limit_and_keeps_what_it_says(
    events: list[tuple[str, int, int]], limit: int
) -> None:
    ring = Ring(limit)
    for topic, seq, size in events:
        ring.keep(("n", 1, topic), seq, bytes(size))
        assert ring.size_bytes <= limit
    held = 0
    for topic in "ab":
        low, high = ring.span(("n", 1, topic))
        found = [ring.fetch(("n", 1, topic), seq, seq, 1_000) for seq in range(1, 40)]
        kept = [seq for seq, frames in enumerate(found, 1) if frames]
        held += sum(len(f[0]) + FRAME_COST_BYTES for f in found if f)
        assert not kept or high >= max(kept)
        assert bool(kept) == bool(high)
        assert low <= high
    assert held == ring.size_bytes


def test_history_answers_in_pages_that_can_be_asked_on() -> None:
    ring = Ring(10_000_000)
    frame = bytes(60_000)
    for seq in range(1, 11):
        ring.keep(STREAM, seq, frame)
    history, first, got = History(ring), 1, 0
    while first <= 10:
        reply = history.answer(fetch(first, 10), 0.0)
        assert isinstance(reply, wire.Frames)
        assert (reply.source, reply.epoch, reply.topic, reply.first) == (*STREAM, first)
        assert sum(map(len, reply.frames)) <= PAGE_BYTES
        assert len(wire.encode(reply)) < wire.MAX_FRAME_BYTES
        first += len(reply.frames)
        got += 1
    assert got == 3
    assert history.counts == {"fetched": 3, "fetched_frames": 10}


def test_history_says_what_is_evicted_and_what_has_not_come_yet() -> None:
    history = History(filled(30, limit_frames=10))
    assert history.answer(fetch(5, 25), 0.0) == wire.Evicted(*STREAM, 21, 30)
    other = ("node", 2, "t")
    assert history.answer(fetch(1, 2, stream=other), 0.0) == wire.Evicted(*other, 0, 0)
    ahead = history.answer(fetch(31, 40), 0.0)
    assert isinstance(ahead, wire.Refused)
    assert ahead.retry


def test_history_of_a_hole_that_is_being_mended_asks_for_patience() -> None:
    ring = filled(3)
    ring.keep(STREAM, 6, FRAME)
    history = History(ring)
    reply = history.answer(fetch(4, 5), 0.0)
    assert isinstance(reply, wire.Refused)
    assert reply.retry
    assert len(history.answer(fetch(2, 6), 0.0).frames) == 2


def test_history_gives_the_newest_events_of_a_topic() -> None:
    ring = filled(5)
    newer = ("node", 2, STREAM[2])
    for seq in (1, 2, 3):
        ring.keep(newer, seq, b"%d" % seq)
    history = History(ring)
    tail = wire.Tail("history", "a", STREAM[2], 2)
    assert history.answer(tail, 0.0) == wire.Frames(*newer, 2, (b"2", b"3"))
    many = wire.Tail("history", "a", STREAM[2], 1_000)
    assert history.answer(many, 0.0).first == 1
    assert history.answer(wire.Tail("history", "a", "none", 2), 0.0).high == 0


def test_history_refuses_a_range_that_is_none() -> None:
    history = History(filled(5))
    for first, last in ((0, 3), (4, 3), (-1, -1)):
        reply = history.answer(fetch(first, last), 0.0)
        assert isinstance(reply, wire.Refused)
        assert not reply.retry
    assert not history.answer(wire.Tail("history", "a", "t", 0), 0.0).retry


def test_history_slows_down_who_asks_too_often_and_nobody_else() -> None:
    history = History(filled(5))
    replies = [history.answer(fetch(1, 5), 0.0) for _ in range(int(PER_S) + 5)]
    assert [isinstance(r, wire.Refused) for r in replies].count(True) == 5
    assert replies[-1].retry
    assert isinstance(history.answer(fetch(1, 5, client="b"), 0.0), wire.Frames)
    assert isinstance(history.answer(fetch(1, 5), 1.0 / PER_S), wire.Frames)
