"""The dice of chaos: what is chosen, and what is done to frames."""

from itertools import islice, pairwise

import pytest

from agents.chaos.faults import FAULTS
from agents.chaos.frames import Mischief
from agents.chaos.rounds import schedule
from grid.errors import ConfigError


def test_schedule_of_a_seed_is_always_the_same_and_uses_each_fault_in_turn():
    first, again = (list(schedule((), 10, 4, seed=3)) for _ in range(2))
    assert first == again
    assert first != list(schedule((), 10, 4, seed=4))
    names = [name for chosen in first for name in chosen]
    assert len(names) == 40
    assert sorted(names[: len(FAULTS)]) == sorted(FAULTS)


def test_schedule_of_chosen_faults_has_no_other():
    assert {n for chosen in schedule(["kill", "stall"], 3, 3, 0) for n in chosen} == {
        "kill",
        "stall",
    }
    with pytest.raises(ConfigError, match=r"--fault: expected one of kill, .*, found 'war'"):
        next(schedule(["war"], 1, 1, 0))


def frames(mischief: Mischief, n: int) -> list[int]:
    """Numbers as they come out when 0, 1, 2... go in, 1 ms apart."""
    out = [m for i in range(n) for m in mischief.take([b"%d" % i], i * 1e-3)]
    return [int(m[0]) for m in [*out, *mischief.overdue(1e9)]]


def test_frames_pass_as_they_come_where_nothing_is_done():
    mischief = Mischief(1)
    assert frames(mischief, 100) == list(range(100))
    assert mischief.done == 0


def test_swapped_frame_comes_right_after_the_next_one_and_none_is_lost():
    mischief = Mischief(1)
    mischief.swap = 0.5
    came = frames(mischief, 200)
    assert sorted(came) == list(range(200))
    assert came != sorted(came)
    assert all(abs(n - i) <= 1 for i, n in enumerate(came))
    swapped = sum(a > b for a, b in pairwise(came))
    assert mischief.done in (swapped, swapped + 1)  # the last one had no successor


def test_swapped_frame_without_a_successor_comes_by_itself_after_a_while():
    mischief = Mischief(1)
    mischief.swap = 1.0
    assert mischief.take([b"a"], 0.0) == []
    assert mischief.overdue(0.04) == []
    assert mischief.overdue(0.06) == [[b"a"]]
    assert mischief.overdue(9.0) == []


def test_repeated_frame_comes_twice_and_an_old_one_comes_again():
    mischief = Mischief(1)
    mischief.repeat = 1.0
    assert frames(mischief, 3) == [0, 0, 1, 1, 2, 2]
    mischief = Mischief(1)
    mischief.old = 1.0
    came = frames(mischief, 50)
    assert len(came) == 99  # the first has none before it
    assert all(old < new for new, old in islice(zip(came[1::2], came[2::2], strict=False), 49))
    mischief.heal()
    assert mischief.take([b"x"], 0.0) == [[b"x"]]
