import numpy as np

from agents.serving.lane import Asked, Lane

NEVER = 1 << 62


def asked(number, rows=1, came_ns=0, due_ns=NEVER):
    return Asked(None, number, np.zeros((rows, 2), dtype=np.float32), came_ns, due_ns)


def ids(requests):
    return [r.id for r in requests]


def test_lane_without_wait_is_due_as_soon_as_one_waits():
    lane = Lane(max_batch=4, max_wait_ns=0, limit=8)
    assert lane.due_ns is None
    lane.offer(asked(1, came_ns=7))
    assert lane.due_ns == 7


def test_lane_waits_for_more_until_the_batch_is_full():
    lane = Lane(max_batch=2, max_wait_ns=100, limit=8)
    lane.offer(asked(1, came_ns=10))
    assert lane.due_ns == 110
    lane.offer(asked(2, came_ns=20))
    assert lane.due_ns == 10


def test_lane_gives_batches_in_order_of_arrival():
    lane = Lane(max_batch=3, max_wait_ns=0, limit=8)
    for number in range(1, 6):
        lane.offer(asked(number))
    assert [ids(lane.take(0)[0]) for _ in range(3)] == [[1, 2, 3], [4, 5], []]


def test_lane_never_splits_a_request_of_several_rows():
    lane = Lane(max_batch=4, max_wait_ns=0, limit=8)
    for number, rows in ((1, 3), (2, 2), (3, 2)):
        lane.offer(asked(number, rows))
    assert [ids(lane.take(0)[0]) for _ in range(2)] == [[1], [2, 3]]


def test_lane_full_takes_no_more_until_a_batch_has_left():
    lane = Lane(max_batch=2, max_wait_ns=0, limit=2)
    assert [lane.offer(asked(n)) for n in (1, 2, 3)] == [True, True, False]
    lane.take(0)
    assert lane.offer(asked(4))


def test_lane_gives_those_whose_deadline_has_passed_apart():
    lane = Lane(max_batch=2, max_wait_ns=0, limit=8)
    for number, due_ns in ((1, 50), (2, 500), (3, 40), (4, 500)):
        lane.offer(asked(number, due_ns=due_ns))
    batch, expired = lane.take(100)
    assert (ids(batch), ids(expired)) == ([2, 4], [1, 3])
    assert len(lane) == 0
    assert lane.due_ns is None
