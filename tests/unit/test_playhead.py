import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.playhead import Playhead


def play(head: Playhead, now_s: float = 0.0) -> list[int]:
    """Send all that may be sent at `now_s`; return the events."""
    sent = []
    while head.wait_s(now_s) == 0.0:
        sent.append(head.next)
        head.sent(now_s)
    return sent


def subscribed(head: Playhead, epoch: int = 1, credit: int = 0) -> Playhead:
    assert head.subscribe(epoch)
    if credit:
        assert head.credit(epoch, credit)
    return head


def test_playhead_without_credit_sends_nothing() -> None:
    head = subscribed(Playhead(10))
    assert head.wait_s(0) == math.inf
    assert head.waits


def test_playhead_sends_within_credit_and_no_further() -> None:
    head = subscribed(Playhead(10), credit=3)
    assert play(head) == [0, 1, 2]
    head.credit(1, 4)
    assert play(head) == [3]
    head.credit(1, 2)  # what was granted stays granted
    assert play(head) == []
    head.credit(1, 99)
    assert play(head) == [4, 5, 6, 7, 8, 9]
    assert head.ended
    assert not head.waits


def test_playhead_at_a_speed_sends_rows_when_due_both_events_together() -> None:
    head = subscribed(Playhead(8, per_row=2, period_s=1.0), credit=99)
    assert play(head, 100.0) == [0, 1]
    assert head.wait_s(100.0) == pytest.approx(1.0 - 0.02)
    assert play(head, 101.0) == [2, 3]
    assert play(head, 101.5) == []
    assert play(head, 102.0) == [4, 5]


def test_playhead_keeps_its_speed_when_the_clock_is_coarse() -> None:
    head = subscribed(Playhead(10_000, period_s=0.0001), credit=10_000)
    sent = sum(len(play(head, 5 + ms / 1e3)) for ms in range(500))
    assert abs(sent - 5000) <= 210


def test_playhead_after_a_pause_does_not_rush() -> None:
    head = subscribed(Playhead(100, period_s=1.0), credit=1)
    play(head, 0.0)
    head.credit(1, 100)
    assert play(head, 50.0) == [1]


def test_playhead_asked_again_keeps_the_due_time() -> None:
    head = subscribed(Playhead(100, period_s=10.0), credit=1)
    play(head, 50.0)
    head.subscribe(1, after=1)
    head.credit(1, 1)
    assert play(head, 52.0) == []
    assert play(head, 60.0) == [1]


def test_playhead_new_node_goes_on_with_the_first_event_not_known_to_be_done() -> None:
    head = subscribed(Playhead(20), credit=4)  # a window of four
    play(head)
    head.credit(1, 7)  # three are done
    assert play(head) == [4, 5, 6]
    assert subscribed(head, epoch=2, credit=4).done == 3
    assert play(head) == [3, 4, 5, 6]


def test_playhead_new_node_begins_with_a_whole_row() -> None:
    head = subscribed(Playhead(20, per_row=2), credit=1)
    for upto in (2, 3, 4):
        play(head)
        head.credit(1, upto)
    assert head.done == 3  # the quote of the second row is done, its bar is not
    subscribed(head, epoch=2, credit=2)
    assert play(head) == [2, 3]


def test_playhead_older_node_is_fenced() -> None:
    head = subscribed(Playhead(10), epoch=5)
    assert not head.subscribe(4)
    assert not head.credit(4, 9)
    assert head.wait_s(0) == math.inf


def test_playhead_node_that_asks_again_says_where_it_is_and_keeps_its_window() -> None:
    head = subscribed(Playhead(50), credit=10)
    play(head)
    head.subscribe(1, after=10)
    head.credit(1, 4)  # ten received, four of them done: 4 + 10 - 10 may follow
    assert head.done == 4
    assert play(head) == [10, 11, 12, 13]


def test_playhead_resumed_is_where_the_old_one_was() -> None:
    head = Playhead(50)
    head.resume(3, 10, 7)
    assert not head.subscribe(2)
    subscribed(head, epoch=4, credit=2)
    assert play(head) == [7, 8]


@given(
    window=st.integers(1, 6),
    per_row=st.integers(1, 2),
    steps=st.lists(st.sampled_from(["work", "crash"]), max_size=60),
)
def test_playhead_under_crashes_of_the_node_leaves_no_hole(
    window: int, per_row: int, steps: list[str]
) -> None:
    head = Playhead(24, per_row)
    processed: list[int] = []
    epoch, base, done = 0, 0, 0
    queue: list[int] = []
    for step in ["crash", *steps]:
        if step == "crash":
            epoch += 1
            head.subscribe(epoch)
            base, done, queue = head.next, 0, []
            head.credit(epoch, window)
        elif queue:
            processed.append(queue.pop(0))
            done += 1
            head.credit(epoch, done + window)
        queue += play(head)
        assert head.next <= base + done + window
    # each event comes right after the one before, or is a repetition of what was not known to be
    # done: at most one row
    for before, after in itertools.pairwise(processed):
        assert before + 1 - per_row <= after <= before + 1
