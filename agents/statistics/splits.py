"""Splits in time only: what is learned from lies before what is judged, with a gap between.

All of it is whole numbers on one line: rows of a dataset, or UNIX ns for splits by the calendar.

    rolling    |train|gap|test|            anchored   |train|gap|test|
                    |train|gap|test|                  |train     |gap|test|
                         |train|gap|test|             |train          |gap|test|   |gap|holdout|
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from grid.errors import DataError

type Span = tuple[int, int]
type Ints = NDArray[np.int64]

_US_NS: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Fold:
    """Half-open spans, in order of time and apart by the gap.

    Attributes:
        train: to learn from.
        validation: to choose by, None where nothing is chosen.
        test: to judge by, once.
    """

    train: Span
    validation: Span | None
    test: Span

    @property
    def spans(self) -> tuple[Span, ...]:
        """All of them, in order."""
        return tuple(s for s in (self.train, self.validation, self.test) if s is not None)


def hold_out(span: Span, length: int, gap: int = 0) -> tuple[Span, Span]:
    """Return what may be searched, and the holdout: the last `length`, after a gap.

    Raises:
        DataError: nothing is left to search.
    """
    lo, hi = span
    if length < 1 or gap < 0 or hi - length - gap <= lo:
        raise DataError(
            f"holdout: expected a length of 1 or more that leaves something of {lo} to {hi} "
            f"before a gap of {gap}, found {length}"
        )
    return (lo, hi - length - gap), (hi - length, hi)


def walk_forward(
    span: Span,
    *,
    train: int,
    test: int,
    validation: int = 0,
    purge: int = 0,
    embargo: int = 0,
    anchored: bool = False,
    step: int | None = None,
) -> list[Fold]:
    """Return the folds that fit into a span, the last of them ending with it.

    Two reasons keep spans apart (Lopez de Prado 2018, Advances in Financial Machine Learning,
    section 7.4): a decision's reward looks ahead, so `purge` is taken off before a later span; a
    decision's features look back, so `embargo` is left out behind an earlier one. Their sum is the
    gap. What is left over, because the folds do not fill the span, is the oldest part; an anchored
    fold's training span takes it in.

    Args:
        span: half-open range to split; without the holdout.
        train: length of a training span, of the first one where anchored.
        test: length of a test span.
        validation: length of a span between the two, to choose by.
        purge: reward's horizon, in the span's unit.
        embargo: features' warm-up, in the span's unit.
        anchored: let every training span begin where the span begins.
        step: from one test span to the next; `test` by default, so that they tile without overlap.

    Raises:
        DataError: a length is not positive, or not one fold fits.
    """
    lo, hi = span
    step = test if step is None else step
    if min(train, test, step) < 1 or min(validation, purge, embargo) < 0:
        raise DataError(
            "folds: expected lengths of 1 or more and gaps of 0 or more, found "
            f"train {train}, validation {validation}, test {test}, step {step}, purge {purge}, "
            f"embargo {embargo}"
        )
    gap = purge + embargo
    chosen = validation + gap if validation else 0
    size = train + gap + chosen + test
    count = (hi - lo - size) // step + 1
    if hi - lo < size:
        raise DataError(
            f"folds: one fold takes {size} (train {train}, validation {validation}, test {test}, "
            f"gaps of {gap}), found {max(0, hi - lo)} from {lo} to {hi}"
        )
    folds = []
    for k in range(count):
        end = hi - (count - 1 - k) * step
        tested = (end - test, end)
        trained = end - test - chosen - gap
        checked = (trained + gap, trained + gap + validation) if validation else None
        folds.append(Fold((lo if anchored else trained - train, trained), checked, tested))
    return folds


def to_rows(fold: Fold, ts_ns: Ints) -> Fold:
    """Return a fold of UNIX ns as a fold of rows: each span the rows with start <= ts < end.

    Raises:
        DataError: a span holds no rows.
    """
    return Fold(
        _rows("train", fold.train, ts_ns),
        None if fold.validation is None else _rows("validation", fold.validation, ts_ns),
        _rows("test", fold.test, ts_ns),
    )


def _rows(name: str, span: Span, ts_ns: Ints) -> Span:
    lo, hi = (int(i) for i in np.searchsorted(ts_ns, span, side="left"))
    if lo == hi:
        raise DataError(f"folds: a {name} span holds no rows, from {span[0]} to {span[1]} ns")
    return lo, hi


def to_dates(span: Span, ts_ns: Ints) -> tuple[str, str]:
    """Return a span of rows as ISO times, to the microsecond, as a run's config has them.

    Rows that share a microsecond with one outside of the span are left out: a span in a config
    never holds more than the rows it was made of.

    Raises:
        DataError: it is no range of these rows.
    """
    lo, hi = span
    if not 0 <= lo < hi <= len(ts_ns):
        raise DataError(f"folds: expected a range of {len(ts_ns)} rows, found {lo} to {hi}")
    start = int(ts_ns[lo]) // _US_NS
    if lo and start * _US_NS <= int(ts_ns[lo - 1]):
        start = int(ts_ns[lo - 1]) // _US_NS + 1
    end = int(ts_ns[hi]) // _US_NS if hi < len(ts_ns) else int(ts_ns[-1]) // _US_NS + 1
    return _iso(start), _iso(end)


def _iso(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).replace(tzinfo=None).isoformat(sep=" ")
