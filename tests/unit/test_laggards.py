"""Who is behind for a while is slow; who is behind for long is cut off."""

from grid.laggards import BEHIND_BYTES, Laggards

FULL = BEHIND_BYTES + 1


def looks(laggards, sizes, step_s=1.0):
    """Look once a second at one peer; return what was found each time."""
    return [laggards.look({"a": size, "b": 0}, n * step_s) for n, size in enumerate(sizes)]


def test_peer_behind_at_every_look_is_slow_and_then_cut_off_once():
    laggards = Laggards(cut_off_s=4.0)
    found = looks(laggards, [FULL] * 5)
    assert found == [([], []), ([], []), (["a"], []), ([], []), ([], ["a"])]
    assert (laggards.slow, laggards.slowed, laggards.cut_off) == (set(), 1, 1)
    assert laggards.look({"b": 0}, 5.0) == ([], [])


def test_peer_that_catches_up_between_is_never_slow():
    laggards = Laggards(cut_off_s=4.0)
    assert looks(laggards, [FULL, FULL, 0] * 5) == [([], [])] * 15
    assert (laggards.slowed, laggards.cut_off) == (0, 0)


def test_slow_peer_that_catches_up_is_slow_no_more_and_begins_anew():
    laggards = Laggards(cut_off_s=4.0)
    looks(laggards, [FULL] * 4)
    assert laggards.slow == {"a"}
    assert laggards.look({"a": BEHIND_BYTES, "b": 0}, 4.0) == ([], [])
    assert laggards.slow == set()
    assert looks(laggards, [0] * 5 + [FULL] * 3)[-1] == (["a"], [])
    assert (laggards.slowed, laggards.cut_off) == (2, 0)


def test_peer_that_left_is_forgotten():
    laggards = Laggards(cut_off_s=4.0)
    looks(laggards, [FULL] * 3)
    assert laggards.look({}, 3.0) == ([], [])
    assert laggards.slow == set()
    assert laggards.look({"a": FULL}, 4.0) == ([], [])
