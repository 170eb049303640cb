"""Events as rows of tables: which event goes where, and the columns, read off the wire's structs.

Every row begins with `source`, `source_epoch`, `topic`, `topic_seq` and `ts_pub_ns`, of which the
first four are its key; the event's own fields follow, those of structs within it with a prefix. A
field that the wire appends becomes a column that older files have not.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from msgspec import inspect

from grid import wire
from grid.bridges.plain import as_json
from grid.bridges.position import Mark, Position

type Taken = tuple[str, wire.Envelope, wire.Event]

_DAY_NS: Final = 86_400_000_000_000
NAMES: Final[dict[type, str]] = {
    wire.Bar: "bars",
    wire.Quote: "quotes",
    wire.Trade: "trades",
    wire.Depth: "depths",
    wire.Decision: "decisions",
    wire.Outcome: "outcomes",
    wire.Acted: "actions",
    wire.OrderUpdate: "orders",
    wire.Fill: "fills",
    wire.Manual: "manual",
}
OTHERS: Final = "events"  # of all other kinds, each as JSON
POSITIONS: Final = "positions"  # the position after each fill
TABLES: Final = (*NAMES.values(), POSITIONS, OTHERS)
KEY: Final = ("source", "source_epoch", "topic", "topic_seq")

type _Column = tuple[str, Any, Callable[[Taken], Any]]

_KEY_COLUMNS: Final[tuple[_Column, ...]] = (
    ("source", pa.string(), lambda taken: taken[1].source),
    ("source_epoch", pa.int64(), lambda taken: taken[1].epoch),
    ("topic", pa.string(), lambda taken: taken[0]),
    ("topic_seq", pa.int64(), lambda taken: taken[1].seq),
    ("ts_pub_ns", pa.int64(), lambda taken: taken[1].ts_pub_ns),
)


def tables_of(event: wire.Event) -> tuple[str, ...]:
    """Return the tables that an event has a row in; none for a heartbeat."""
    kind = type(event)
    if kind is wire.Fill:
        return ("fills", POSITIONS)
    if kind is wire.Heartbeat:
        return ()
    return (NAMES.get(kind, OTHERS),)


@cache
def schema(table: str) -> pa.Schema:
    """Return the columns of a table, with their types."""
    return pa.schema([(name, kind) for name, kind, _ in _columns(table)])


def arrow(table: str, rows: Sequence[Taken]) -> pa.Table:
    """Return rows of one table as columns."""
    arrays = [
        pa.array([get(row) for row in rows], type=kind) for _, kind, get in _columns(table)[:5]
    ]
    events = [row[2] for row in rows]
    arrays += [
        pa.array([get(event) for event in events], type=kind) for _, kind, get in _own(table)
    ]
    return pa.Table.from_arrays(arrays, schema=schema(table))


def days(table: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each UTC day, as in `2026-11-24`: of the event, else of publication."""
    by = "ts_event_ns" if "ts_event_ns" in table.column_names else "ts_pub_ns"
    day = table.column(by).to_numpy() // _DAY_NS
    found = np.unique(day)
    names = [str(np.datetime64(int(d), "D")) for d in found]
    if len(found) == 1:
        return {names[0]: table}
    return {name: table.filter(pa.array(day == d)) for name, d in zip(names, found, strict=True)}


def later(table: pa.Table, marks: Iterable[Mark]) -> pa.Table:
    """Return the rows that lie behind a position."""
    position = Position(marks)
    if not position:
        return table
    keys = zip(*(table.column(name).to_pylist() for name in KEY), strict=True)
    return table.filter(pa.array([not position.passed(*key) for key in keys], type=pa.bool_()))


@cache
def _columns(table: str) -> tuple[_Column, ...]:
    return (*_KEY_COLUMNS, *_own(table))


@cache
def _own(table: str) -> tuple[tuple[str, Any, Callable[[Any], Any]], ...]:
    if table == OTHERS:
        return (
            ("kind", pa.string(), lambda event: event.__struct_config__.tag),
            ("body", pa.string(), lambda event: as_json(event).decode()),
        )
    if table == POSITIONS:
        return tuple(c for c in _own("fills") if c[0] in _POSITION)
    kind = next(kind for kind, name in NAMES.items() if name == table)
    return tuple(_fields(kind, "", ""))


_POSITION: Final = (
    "strategy_id", "epoch", "client_order_id", "trade_id", "px", "position_qty", "ts_event_ns",
    "ts_market_ns",
)  # fmt: skip


def _fields(kind: type, prefix: str, path: str) -> list[tuple[str, Any, Callable[[Any], Any]]]:
    found = []
    told = inspect.type_info(kind)
    assert isinstance(told, inspect.StructType)
    for field in told.fields:
        name, at = prefix + field.name, path + field.name
        if isinstance(field.type, inspect.StructType):
            found += _fields(field.type.cls, f"{name}_", f"{at}.")
        else:
            found.append((name, _arrow_type(field.type), attrgetter(at)))
    return found


def _arrow_type(told: inspect.Type) -> Any:
    match told:
        case inspect.BoolType():
            return pa.bool_()
        case inspect.IntType():
            return pa.int64()
        case inspect.FloatType():
            return pa.float64()
        case inspect.BytesType():
            return pa.binary()
        case inspect.VarTupleType() | inspect.ListType():
            return pa.list_(_arrow_type(told.item_type))
        case inspect.CustomType() | inspect.Metadata():
            raise TypeError(f"no column for {told}")
        case _:
            return pa.string()
