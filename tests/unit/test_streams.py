import msgspec
from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.streams import Gap, InOrder, StreamTracker, Verdict


def test_stream_in_order_is_next_from_its_first_event() -> None:
    tracker = StreamTracker()
    kinds = [tracker.saw("node", 1, "md.x.bar", seq).kind for seq in (7, 8, 9)]
    assert kinds == ["first", "next", "next"]
    assert tracker.last("node", "md.x.bar") == (1, 9)
    assert tracker.missing == 0


def test_stream_with_a_hole_names_what_is_missing() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "t", 1)
    assert tracker.saw("node", 1, "t", 5) == Verdict("gap", 2, 4)
    assert tracker.saw("node", 1, "t", 3) == Verdict("duplicate")
    assert tracker.saw("node", 1, "t", 6) == Verdict("next")
    assert tracker.missing == 3
    assert tracker.counts == {"first": 1, "gap": 1, "duplicate": 1, "next": 1}


def test_stream_of_a_new_epoch_begins_at_one_again() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "t", 9)
    assert tracker.saw("node", 2, "t", 1) == Verdict("new_epoch")
    assert tracker.saw("node", 1, "t", 10) == Verdict("old_epoch")
    assert tracker.saw("node", 2, "t", 2) == Verdict("next")
    assert tracker.missing == 0


def test_stream_of_a_new_epoch_that_begins_late_has_lost_its_beginning() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "t", 9)
    assert tracker.saw("node", 2, "t", 4) == Verdict("new_epoch", 1, 3)
    assert tracker.missing == 3


def test_epoch_belongs_to_the_source_and_not_to_one_topic() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "a", 1)
    tracker.saw("node", 2, "b", 1)
    assert tracker.saw("node", 1, "a", 2).kind == "old_epoch"
    assert tracker.saw("other", 1, "a", 1).kind == "first"


def test_heartbeat_brings_the_loss_of_the_last_events_to_light() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "t", 3)
    assert tracker.heard("node", 1, {"t": 3}) == []
    assert tracker.heard("node", 1, {"t": 5}) == [Gap("node", 1, "t", 4, 5)]
    assert tracker.heard("node", 1, {"t": 5}) == []
    assert tracker.saw("node", 1, "t", 6).kind == "next"
    assert (tracker.missing, tracker.counts["gap"]) == (2, 1)


def test_heartbeat_of_an_unknown_stream_marks_where_it_begins() -> None:
    tracker = StreamTracker()
    assert tracker.heard("node", 1, {"t": 100}) == []
    assert tracker.saw("node", 1, "t", 103) == Verdict("gap", 101, 102)


def test_heartbeat_of_a_new_epoch_counts_all_that_it_had_published() -> None:
    tracker = StreamTracker()
    tracker.saw("node", 1, "t", 100)
    assert tracker.heard("node", 2, {"t": 2}) == [Gap("node", 2, "t", 1, 2)]
    assert tracker.heard("node", 1, {"t": 200}) == []


@given(st.lists(st.booleans(), max_size=60), st.booleans())
def test_missing_is_exactly_what_did_not_come(came: list[bool], beat: bool) -> None:
    tracker = StreamTracker()
    tracker.saw("s", 1, "t", 1)
    for seq, here in enumerate(came, start=2):
        if here:
            tracker.saw("s", 1, "t", seq)
    # without a heartbeat the losses after the last event that came cannot be known
    known = came if beat else came[: max((i + 1 for i, h in enumerate(came) if h), default=0)]
    if beat:
        tracker.heard("s", 1, {"t": len(came) + 1})
    assert tracker.missing == known.count(False)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 8)), max_size=60))
def test_position_never_goes_back_whatever_arrives(events: list[tuple[int, int]]) -> None:
    tracker = StreamTracker()
    before = (0, 0)
    for epoch, seq in events:
        tracker.saw("s", epoch, "t", seq)
        now = tracker.last("s", "t")
        assert now is not None
        assert now >= before
        before = now


def envelope(seq: int) -> wire.Envelope:
    return wire.Envelope(1, "s", 1, seq, 0, msgspec.Raw(b""))


def test_early_events_wait_for_what_is_missing_before_them() -> None:
    stream = InOrder(3)
    assert [e.seq for e in stream.take(envelope(4))] == [4]
    assert stream.take(envelope(8)) == ()
    assert stream.missing == (5, 7)
    assert [e.seq for e in stream.take(envelope(5))] == [5]
    assert stream.missing == (6, 7)
    assert stream.take(envelope(7)) == ()
    assert stream.missing == (6, 6)
    assert [e.seq for e in stream.take(envelope(6))] == [6, 7, 8]
    assert (stream.missing, stream.waiting, stream.last) == (None, 0, 8)


def test_end_of_a_stream_that_is_heard_of_is_missing() -> None:
    stream = InOrder(3)
    stream.heard(5)
    assert stream.missing == (4, 5)
    assert stream.take(envelope(2)) == ()
    assert [e.seq for e in stream.take(envelope(4))] == [4]
    assert stream.missing == (5, 5)


@given(st.permutations(range(1, 13)), st.integers(0, 5))
def test_events_are_handed_on_in_order_and_once_however_they_come(
    order: list[int], twice: int
) -> None:
    stream = InOrder(0)
    came = [e.seq for seq in [*order, *order[:twice]] for e in stream.take(envelope(seq))]
    assert came == [*range(1, 13)]
    assert stream.missing is None
