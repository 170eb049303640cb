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
    "depth": {},  # see `levels`
    "deltas": {
        "action": ("action", "type", "update_type"),
        "side": ("side",),
        "price": ("price", "px"),
        "qty": ("qty", "quantity", "size", "amount", "volume"),
        "order_id": ("order_id", "oid"),
        "flags": ("flags",),
        "sequence": ("sequence", "seq", "sequence_number"),
    },
}
_OPTIONAL: Final = frozenset(
    {"volume", "bid_qty", "ask_qty", "side", "order_id", "flags", "sequence"}
)
_LEVEL: Final = re.compile(
    r"(?P<side>bid|ask)s?_(?:(?P<before>\d+)_)?"
    r"(?:(?P<px>px|price)|qty|size|sz|amount|volume|quantity)(?:_(?P<after>\d+))?"
)


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


def levels(found: Sequence[str], where: Path) -> dict[str, list[int]]:
    """Return the columns of prices and quantities of each side of a book, best level first.

    Names are such as `bid_px_0`, `ask_qty_9` or `bids[0].price`, counted from 0 or 1.

    Raises:
        DataError: there are none, or they do not make whole levels.
    """
    columns: dict[str, dict[int, int]] = {
        f: {} for f in ("bid_pxs", "ask_pxs", "bid_qtys", "ask_qtys")
    }
    for at, name in enumerate(found):
        match = _LEVEL.fullmatch(_plain(name))
        number = (match["before"] or match["after"]) if match else None
        if match and number:
            columns[f"{match['side']}_{'pxs' if match['px'] else 'qtys'}"][int(number)] = at
    numbers = sorted(columns["bid_pxs"])
    same = all(sorted(at) == numbers for at in columns.values())
    if not numbers or not same or numbers != list(range(numbers[0], numbers[-1] + 1)):
        said = ", ".join(f"{len(at)} of {field}" for field, at in columns.items())
        raise DataError(
            f"{where}: expected bid_px_0, bid_qty_0, ask_px_0, ask_qty_0 and so on, as many of "
            f"each, found {said}"
        )
    return {field: [at[i] for i in numbers] for field, at in columns.items()}


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
