"""Splits in time: nothing learned from lies behind, or too close before, what is judged."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agents.statistics.splits import Fold, hold_out, to_dates, to_rows, walk_forward
from grid.dataset import to_ns
from grid.errors import DataError

LENGTHS = st.integers(1, 40)
GAPS = st.integers(0, 10)


@given(
    lo=st.integers(-50, 50),
    length=st.integers(1, 400),
    train=LENGTHS,
    test=LENGTHS,
    validation=st.integers(0, 20),
    purge=GAPS,
    embargo=GAPS,
    anchored=st.booleans(),
    holdout=st.integers(1, 60),
)
def test_folds_lie_in_order_apart_by_the_gap_and_out_of_the_holdout(
    lo: int,
    length: int,
    train: int,
    test: int,
    validation: int,
    purge: int,
    embargo: int,
    anchored: bool,
    holdout: int,
) -> None:
    gap = purge + embargo
    size = train + gap + test + (validation + gap if validation else 0)
    assume(length - holdout - gap >= size)
    searched, kept = hold_out((lo, lo + length), holdout, gap)
    assert kept == (lo + length - holdout, lo + length)
    folds = walk_forward(
        searched, train=train, test=test, validation=validation, purge=purge, embargo=embargo,
        anchored=anchored,
    )  # fmt: skip
    assert folds
    for fold in folds:
        assert lo <= fold.train[0]
        assert fold.test[1] + gap <= kept[0]
        for earlier, later in pairwise(fold.spans):
            assert earlier[0] < earlier[1]
            assert later[0] - earlier[1] == gap
        assert fold.test[1] - fold.test[0] == test
        assert (fold.validation is None) == (validation == 0)
        if anchored:
            assert fold.train[0] == lo
            assert fold.train[1] - fold.train[0] >= train
        else:
            assert fold.train[1] - fold.train[0] == train
    for one, next_one in pairwise(folds):  # tests tile, without overlap
        assert one.test[1] == next_one.test[0]
    assert folds[-1].test[1] == searched[1]
    assert folds[0].train[1] - train - lo < test  # no further fold would have fitted


def test_walk_forward_rolling_and_anchored_by_hand() -> None:
    how = {"train": 4, "test": 2, "purge": 1}
    assert walk_forward((0, 12), **how) == [
        Fold((1, 5), None, (6, 8)),
        Fold((3, 7), None, (8, 10)),
        Fold((5, 9), None, (10, 12)),
    ]
    assert walk_forward((0, 12), **how, anchored=True)[-1] == Fold((0, 9), None, (10, 12))
    assert walk_forward((0, 12), **how, validation=2) == [
        Fold((0, 4), (5, 7), (8, 10)),
        Fold((2, 6), (7, 9), (10, 12)),
    ]
    assert walk_forward((0, 12), **how, step=5) == [
        Fold((0, 4), None, (5, 7)),
        Fold((5, 9), None, (10, 12)),
    ]


def test_fold_by_the_calendar_becomes_rows() -> None:
    ts = np.array([0, 10, 20, 30, 40, 50])
    assert to_rows(Fold((0, 20), None, (25, 51)), ts) == Fold((0, 2), None, (3, 6))
    assert to_rows(Fold((0, 20), (20, 30), (30, 40)), ts).validation == (2, 3)
    with pytest.raises(DataError, match="test span holds no rows"):
        to_rows(Fold((0, 20), None, (51, 60)), ts)


@given(st.lists(st.integers(0, 5_000), min_size=2, max_size=30), st.data())
def test_span_written_as_dates_never_holds_a_row_from_outside(
    gaps_ns: list[int], data: st.DataObject
) -> None:
    ts = 1_600_000_000_123_456_789 + np.cumsum(np.array(gaps_ns, dtype=np.int64))
    lo = data.draw(st.integers(0, len(ts) - 1))
    hi = data.draw(st.integers(lo + 1, len(ts)))
    start, end = (to_ns(moment) for moment in to_dates((lo, hi), ts))
    first, last = np.searchsorted(ts, [start, end])
    assert lo <= first
    assert last <= hi or start >= end


def test_span_of_spaced_rows_comes_back_whole_from_its_dates() -> None:
    ts = to_ns("2024-01-01") + np.arange(1, 11, dtype=np.int64) * 60_000_000_000
    for span in ((0, 10), (3, 7), (9, 10)):
        start, end = to_dates(span, ts)
        assert tuple(np.searchsorted(ts, [to_ns(start), to_ns(end)])) == span
    assert to_dates((0, 9), ts) == ("2024-01-01 00:01:00", "2024-01-01 00:10:00")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train": 0}, "expected lengths of 1 or more"),
        ({"purge": -1}, "gaps of 0 or more"),
        ({"step": 0}, "step 0"),
        ({"train": 99}, r"one fold takes 102 \(train 99, validation 0, test 2, gaps of 1\)"),
    ],
)
def test_folds_that_cannot_be_are_refused(changed: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        walk_forward((0, 12), **{"train": 4, "test": 2, "purge": 1, **changed})  # type: ignore[arg-type]


def test_holdout_that_leaves_nothing_and_rows_that_are_none_are_refused() -> None:
    with pytest.raises(DataError, match="expected a length of 1 or more that leaves something"):
        hold_out((0, 10), 8, 2)
    with pytest.raises(DataError, match="expected a range of 3 rows"):
        to_dates((2, 2), np.array([1, 2, 3]))
