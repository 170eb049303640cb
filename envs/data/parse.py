"""Columns of a file to numbers, times and sides; what cannot be read is marked, not guessed."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from numpy.typing import NDArray

from envs.data.table import Column
from grid.errors import DataError
from grid.venue import Floats, Ints

UNREADABLE: Final = np.iinfo(np.int64).min  # the time of a row whose time cannot be read

_EPOCH: Final = re.compile(r"\s*\d{9,}(\.\d*)?\s*")
_SAMPLE: Final = 100  # values that tell epochs from dates: the first may be bad
_EPOCH_UNITS: Final = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1))  # below, ns each
_SIDES: Final = {
    1.0: ("1", "buy", "buyer", "b", "bid"),
    -1.0: ("-1", "sell", "seller", "s", "a", "ask"),
    0.0: ("0", "", "n", "none", "null", "unknown", "no_aggressor", "no aggressor"),
}
_ACTIONS: Final = {
    0: ("t", "f", "n", "trade", "fill", "none"),
    1: ("1", "a", "add"),
    2: ("2", "m", "u", "update", "modify", "change"),
    3: ("3", "d", "c", "delete", "cancel", "remove"),
    4: ("4", "r", "clear", "reset"),
}
_FIXED: Final = {16: 1e16, 8: 1e9}  # bytes of a number in files of the engine's 1.x, and its unit
_BUYER_IS_MAKER: Final = {1.0: ("false", "0"), -1.0: ("true", "1"), 0.0: ("", "none", "null")}


def numbers(column: Column, name: str) -> Floats:
    """Return float64 [n], NaN where there is no number.

    Raises:
        DataError: the whole column is of a type that is no number.
    """
    kind = column.type
    if _is_text(kind):
        try:
            parsed = pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            return np.asarray(pd.to_numeric(_series(column), errors="coerce"), np.float64)
        return _floats(parsed)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _floats(pc.cast(column, pa.float64(), safe=False))
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width in _FIXED:
        return _fixed(column, kind.byte_width)
    raise DataError(f"column {name!r}: expected numbers, found {kind}")


def times(column: Column, name: str, time_format: str | None) -> Ints:
    """Return int64 [n], UNIX ns, `UNREADABLE` where there is no time.

    Without a format, text is ISO 8601, or epoch numbers whose unit (s, ms, us, ns) follows from
    their magnitude: it is one unit for the column, and the first second of 1973 is the earliest
    that can be told. A time without a zone is UTC.

    Raises:
        DataError: the whole column is of a type that is no time.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _ns(pd.to_datetime(_series(column), utc=True))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _epochs(_floats(pc.cast(column, pa.float64(), safe=False)), column)
    if not _is_text(kind):
        raise DataError(f"column {name!r}: expected times, found {kind}")
    text = _series(column)
    if time_format is None and _are_epochs(text.iloc[:_SAMPLE].tolist()):
        return _epochs(numbers(column, name), column)
    layout = time_format or "ISO8601"
    try:
        return _ns(pd.to_datetime(text, format=layout, utc=True, errors="coerce"))
    except ValueError as e:
        raise DataError(f"time format {layout!r}: {e}") from e


def sides(column: Column, name: str) -> Floats:
    """Return float64 [n]: 1 where the buyer was the aggressor, -1 seller, 0 unknown, else NaN.

    A column `is_buyer_maker` says it the other way round.
    """
    words = _BUYER_IS_MAKER if "maker" in name.casefold() else _SIDES
    meaning = {word: side for side, known in words.items() for word in known}
    encoded = pc.dictionary_encode(pc.cast(column, pa.string())).combine_chunks()
    known = [meaning.get((word or "").strip().casefold(), np.nan) for word in _words(encoded)]
    codes = np.asarray(encoded.indices.fill_null(len(known)), np.int64)
    return np.array([*known, 0.0])[codes]


def book_sides(column: Column, name: str) -> Floats:
    """Return float64 [n]: 1 for the bid, -1 for the ask, 0 for neither, else NaN.

    As numbers they are those of the engine: 1, 2 and 0.
    """
    if pa.types.is_integer(column.type) and pa.types.is_unsigned_integer(column.type):
        codes = np.asarray(pc.fill_null(column, 255), np.int64)
        return np.array([0.0, 1.0, -1.0, np.nan])[np.minimum(codes, 3)]
    return sides(column, "side")


def actions(column: Column, name: str) -> Floats:
    """Return float64 [n]: 1 add, 2 update, 3 delete, 4 clear, 0 for what leaves the book be."""
    meaning = {word: float(code) for code, known in _ACTIONS.items() for word in known}
    encoded = pc.dictionary_encode(pc.cast(column, pa.string())).combine_chunks()
    known = [meaning.get((word or "").strip().casefold(), np.nan) for word in _words(encoded)]
    codes = np.asarray(encoded.indices.fill_null(len(known)), np.int64)
    return np.array([*known, np.nan])[codes]


def whole_numbers(column: Column, name: str) -> NDArray[np.uint64]:
    """Return uint64 [n], 0 where nothing stands.

    Raises:
        DataError: there is something else than whole numbers from 0.
    """
    try:
        text = pc.cast(column, pa.string()) if _is_text(column.type) else column
        if _is_text(text.type):
            text = pc.if_else(pc.equal(text, ""), "0", text)
        return np.asarray(pc.fill_null(pc.cast(text, pa.uint64()), 0), np.uint64).copy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise DataError(f"column {name!r}: expected whole numbers from 0: {e}") from e


def join(date: Column, time: Column) -> Column:
    """Return dates and times of day as one column."""
    parts = (pc.cast(part, pa.string()) for part in (date, time))
    return pc.binary_join_element_wise(*parts, " ")


def _fixed(column: Column, width: int) -> Floats:
    """Whole numbers of 8 or 16 bytes, little-endian, as the engine's 1.x wrote prices."""
    raw = b"".join(column.to_pylist())
    if width == 8:
        return np.asarray(np.frombuffer(raw, "<i8") / _FIXED[width], np.float64)
    low, high = np.frombuffer(raw, "<u8")[::2], np.frombuffer(raw, "<i8")[1::2]
    return np.asarray((high * 2.0**64 + low) / _FIXED[width], np.float64)


def _words(encoded: pa.DictionaryArray) -> list[str | None]:
    words: list[str | None] = encoded.dictionary.to_pylist()
    return words


def _are_epochs(sample: Sequence[str | None]) -> bool:
    epochs = sum(bool(_EPOCH.fullmatch(text or "")) for text in sample)
    return 0 < len(sample) <= 2 * epochs


def _epochs(values: Floats, column: Column) -> Ints:
    readable = np.isfinite(values)
    typical = float(np.median(np.abs(values[readable]))) if readable.any() else 0.0
    at = next(i for i, (below, _) in enumerate(_EPOCH_UNITS) if typical < below)
    above, (below, unit_ns) = (_EPOCH_UNITS[at - 1][0] if at else 1e8), _EPOCH_UNITS[at]
    ok = readable & (values >= above) & (values < min(below, 2.0**63))
    ns = np.full(len(values), UNREADABLE)
    if _is_text(column.type):  # digit by digit, as a double has too few for ns
        texts = _series(column)
        whole = bool(ok.all()) and not texts.str.contains(".", regex=False).any()
        if whole:
            return np.asarray(pc.cast(column, pa.int64()), np.int64) * unit_ns
        ns[ok] = [int(Decimal(text) * unit_ns) for text in texts[ok]]
    elif pa.types.is_integer(column.type):
        ns[ok] = np.asarray(pc.fill_null(column, 0), np.int64)[ok] * unit_ns
    else:
        ns[ok] = np.rint(values[ok] * unit_ns).astype(np.int64)
    return ns


def _ns(moments: "pd.Series[pd.Timestamp]") -> Ints:
    try:
        return np.asarray(moments.dt.as_unit("ns").astype("int64"), np.int64)  # NaT: UNREADABLE
    except pd.errors.OutOfBoundsDatetime:
        limit = pd.Timestamp("2262-01-01", tz="UTC")
        near = moments.where((moments < limit) & (moments > pd.Timestamp("1678-01-01", tz="UTC")))
        return np.asarray(near.dt.as_unit("ns").astype("int64"), np.int64)


def _series(column: Column) -> "pd.Series[str]":
    series: pd.Series[str] = column.to_pandas()
    return series


def _floats(column: Column) -> Floats:
    return np.asarray(column.to_pandas(), np.float64)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
