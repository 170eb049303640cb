"""The spans of a grid's folds, and the holdout that no trial may see."""

from agents import config as runs
from agents.statistics.splits import Fold, Span, hold_out, walk_forward
from agents.trials.config import Anchored, Folds, OneFold, to_length_ns
from agents.trials.trial import Dates
from grid.dataset import to_iso, to_ns
from grid.errors import ConfigError


def make(
    folds: Folds, base: runs.DataConfig, data: Span, *, purge_ns: int, embargo_ns: int
) -> tuple[list[Dates], runs.Span | None]:
    """Return the folds, the oldest first, and the holdout if there is one.

    Args:
        folds: how to split.
        base: spans of the base run, which are the folds of kind `none`.
        data: first moment of the data, and the one after the last, UNIX ns.
        purge_ns: what `auto` stands for, in ns.
        embargo_ns: the same.

    Raises:
        ConfigError: a span touches the holdout, or nothing is left of one.
        DataError: not one fold fits.
    """
    gap = _length(folds.purge, purge_ns) + _length(folds.embargo, embargo_ns)
    holdout = _holdout(folds, data, gap)
    if isinstance(folds, OneFold):
        found = [_one(folds, base, gap)]
    else:
        start = data[0] if folds.start is None else max(data[0], to_ns(folds.start))
        end = data[1] if folds.end is None else min(data[1], to_ns(folds.end))
        if holdout is not None:
            end = min(end, holdout[0] - gap)
        found = walk_forward(
            (start, end),
            train=to_length_ns(folds.train),
            test=to_length_ns(folds.test),
            validation=to_length_ns(folds.validation),
            purge=gap,
            anchored=isinstance(folds, Anchored),
        )
        if folds.count is not None:
            if folds.count > len(found):
                raise ConfigError(
                    f"key folds.count: expected at most {len(found)}, as many as fit from "
                    f"{to_iso(start)} to {to_iso(end)}, found {folds.count}"
                )
            found = found[-folds.count :]
    if holdout is not None:
        refuse_touching(found, holdout)
    dates = [Dates(*(_dates(span) for span in fold.spans)) for fold in found]
    return dates, None if holdout is None else _dates(holdout)


def refuse_touching(folds: list[Fold], holdout: Span) -> None:
    """Refuse folds that reach into the holdout, or beyond it.

    Raises:
        ConfigError: one does.
    """
    for fold in folds:
        for name, span in zip(("train", "validation", "test"), fold.spans, strict=True):
            if span[1] > holdout[0]:
                raise ConfigError(
                    f"key folds.holdout: expected no trial to see rows from {to_iso(holdout[0])} "
                    f"on, found a {name} span from {to_iso(span[0])} to {to_iso(span[1])}"
                )


def _one(folds: OneFold, base: runs.DataConfig, gap: int) -> Fold:
    train = (to_ns(base.train[0]), to_ns(base.train[1]))
    test = (to_ns(base.test[0]), to_ns(base.test[1]))
    length = (train[1] - train[0]) // 5
    if folds.validation is not None:
        length = to_length_ns(folds.validation)
    checked = (train[1] - length, train[1])
    learned = (train[0], checked[0] - gap)
    if learned[1] <= learned[0]:
        raise ConfigError(
            f"key folds.validation: expected less than data.train, found {length / 86_400e9:g} d "
            f"and a gap of {gap / 86_400e9:.1f} d of {(train[1] - train[0]) / 86_400e9:g} d"
        )
    if test[0] < train[1]:
        raise ConfigError(
            "key base.data.test: expected it to begin after data.train in a grid, found "
            f"{list(base.test)} and {list(base.train)}"
        )
    if test[0] - checked[1] < gap:
        checked = (checked[0], test[0] - gap)
        if checked[1] <= checked[0]:
            raise ConfigError(
                f"key folds.validation: expected more than the gap of {gap / 86_400e9:.1f} d "
                f"before the test span, found {length / 86_400e9:g} d"
            )
    return Fold(learned, checked, test)


def _holdout(folds: Folds, data: Span, gap: int) -> Span | None:
    if folds.holdout is None:
        return None
    if isinstance(folds.holdout, tuple):
        start, end = (to_ns(moment) for moment in folds.holdout)
        if start >= data[1] or end <= data[0]:
            raise ConfigError(
                f"key folds.holdout: expected rows in {list(folds.holdout)}, found data from "
                f"{to_iso(data[0])} to {to_iso(data[1])}"
            )
        return start, min(end, data[1])
    return hold_out(data, to_length_ns(folds.holdout), gap)[1]


def _length(asked: str, auto: int) -> int:
    return {"auto": auto, "none": 0}[asked] if asked in ("auto", "none") else to_length_ns(asked)


def _dates(span: Span) -> runs.Span:
    return to_iso(span[0]), to_iso(span[1])
