"""Which column of a file is which field: the usual names, whatever their case."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from grid.dataset import Kind
from grid.errors import DataError

type Mark = Literal["open", "close"]

TIMESTAMP: Final = "ts_event"

_TIMES: Final = (
    "timestamp", "ts_event", "ts", "datetime", "date_time", "timestamp_utc", "datetime_utc",
    "gmt_time", "utc_time", "time", "date", "index", "index_level_0",
    "",  # an index without a name
)  # fmt: skip
_ALIASES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "bars": {
        "open": ("open", "o", "open_price", "open_px", "first"),
        "high": ("high", "h", "high_price", "high_px", "max"),
        "low": ("low", "l", "low_price", "low_px", "min"),
        "close": ("close", "c", "close_price", "close_px", "last"),
        "volume": ("volume", "v", "vol", "qty", "quantity", "size", "amount", "tickvol"),
    },
    "quotes": {
        "bid_px": ("bid_px", "bid_price", "bid", "best_bid", "best_bid_price"),
        "ask_px": ("ask_px", "ask_price", "ask", "best_ask", "best_ask_price", "offer"),
        "bid_qty": ("bid_qty", "bid_size", "bid_volume", "bid_sz", "bid_amount", "best_bid_qty"),
        "ask_qty": ("ask_qty", "ask_size", "ask_volume", "ask_sz", "ask_amount", "best_ask_qty"),
    },
    "trades": {
        "price": ("price", "px", "trade_price", "last"),
        "qty": ("qty", "quantity", "size", "volume", "amount"),
        "side": ("side", "aggressor_side", "aggressor", "taker_side", "is_buyer_maker"),
    },
}
_OPTIONAL: Final = frozenset({"volume", "bid_qty", "ask_qty", "side"})


def match(
    found: Sequence[str], kind: Kind, mark: Mark, given: Mapping[str, str], where: Path
) -> dict[str, tuple[int, ...]]:
    """Return for each field the index of its column in `found`.

    The time may lie in two columns, a date and a time of day; all other fields have one. Columns
    `open_time` and `close_time` are taken for the time where they agree with `mark`.

    Args:
        found: the column names of the file.
        kind: what the rows are.
        mark: the end of a bar that its timestamp marks.
        given: columns named by the user, by field or any usual name of it.
        where: the file, for the error.

    Raises:
        DataError: a column is missing, or one that was named is not there.
    """
    aliases = {TIMESTAMP: (*_TIMES, f"{mark}_time"), **_ALIASES[kind]}
    plain = [_plain(name) for name in found]
    chosen: dict[str, tuple[int, ...]] = {}
    for key, name in given.items():
        chosen[_field(key, aliases, where)] = (_named(name, found, where),)
    for field, usual in aliases.items():
        there = [alias for alias in usual if alias in plain][:1]
        if there == ["time"] and "date" in plain:
            there = ["date", "time"]
        if there and field not in chosen:
            chosen[field] = tuple(plain.index(alias) for alias in there)
    missing = [f for f in aliases if f not in chosen and f not in _OPTIONAL]
    if missing:
        lacking = ", ".join("timestamp" if f == TIMESTAMP else f for f in missing)
        raise DataError(
            f"{where}: no column for {lacking} of {kind}; found {', '.join(found) or 'none'}; "
            "name the columns, as in --columns timestamp=Date,close=Last"
        )
    return chosen


def _plain(name: str) -> str:
    """`<Gmt Time>` becomes `gmt_time`."""
    return re.sub(r"[^0-9a-z]+", "_", name.casefold()).strip("_")


def _field(key: str, aliases: Mapping[str, Sequence[str]], where: Path) -> str:
    plain = _plain(key)
    for field, usual in aliases.items():
        if plain == field or plain in usual:
            return field
    expected = ", ".join("timestamp" if f == TIMESTAMP else f for f in aliases)
    raise DataError(f"{where}: column for {key!r}: expected one of {expected}")


def _named(name: str, found: Sequence[str], where: Path) -> int:
    for same in (str, str.casefold):
        if same(name) in (names := [same(f) for f in found]):
            return names.index(same(name))
    raise DataError(f"{where}: no column {name!r}; found {', '.join(found)}")
