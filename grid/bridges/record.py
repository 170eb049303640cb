"""Records of Kafka as rows of the market, each with its place on the bus it came from. Pure."""

import math
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from grid import wire
from grid.errors import ProtocolError

_KINDS: Final[dict[str, type[wire.Row]]] = {
    "bar": wire.Bar,
    "quote": wire.Quote,
    "trade": wire.Trade,
    "depth": wire.Depth,
}
_NUMBERS: Final[dict[type[wire.Row], Any]] = {
    wire.Bar: attrgetter("open", "high", "low", "close", "volume"),
    wire.Quote: attrgetter("bid_px", "ask_px", "bid_qty", "ask_qty"),
    wire.Trade: attrgetter("price", "qty"),
    wire.Depth: attrgetter("bid_pxs", "ask_pxs", "bid_qtys", "ask_qtys"),
}
_row: Final = msgspec.msgpack.Decoder(wire.Row)


class Place(NamedTuple):
    """Where an event stood on the bus."""

    source: str
    epoch: int
    topic: str
    seq: int


def place(headers: Iterable[tuple[str, bytes]] | None) -> Place | None:
    """Return what a record's headers say of its place; None if it is not one of ours."""
    return place_of(dict(headers or ()))


def place_of(told: Mapping[str, bytes]) -> Place | None:
    """Return the same of headers by name."""
    try:
        return Place(
            told["source"].decode(),
            int(told["epoch"]),
            told["topic"].decode(),
            int(told["seq"]),
        )
    except (KeyError, ValueError):
        return None


def version_of(told: Mapping[str, bytes]) -> int | None:
    """Return the wire's version that a record is of, by its headers; None if it does not say."""
    try:
        return int(told["version"])
    except (KeyError, ValueError):
        return None


def row(value: bytes) -> wire.Row:
    """Return the row that a record's value is, as MessagePack or JSON.

    Of JSON, fields that are not known here are left out, and those that are missing at the end have
    their defaults, as on the wire.

    Raises:
        ProtocolError: it is no row of the market, or has a number that is none.
    """
    try:
        made = _from_json(value) if value[:1] == b"{" else _row.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as e:
        raise ProtocolError(f"record of {len(value)} bytes: expected a row: {e}") from e
    numbers = _NUMBERS[type(made)](made)
    if isinstance(made, wire.Depth):
        numbers = map(sum, numbers)
    if not math.isfinite(sum(numbers)):
        raise ProtocolError(f"record of {len(value)} bytes: expected finite numbers in {made}")
    return made


def _from_json(value: bytes) -> wire.Row:
    told = msgspec.json.decode(value, type=dict[str, Any])
    kind = _KINDS.get(told.get("kind", ""))
    if kind is None:
        raise msgspec.ValidationError(f"no kind of row is {told.get('kind')!r}")
    values: list[Any] = [told["kind"]]
    for field in kind.__struct_fields__:
        if field not in told:
            break
        values.append(told[field])
    made: wire.Row = msgspec.convert(values, kind)
    return made
