"""What a lake holds of a market as a dataset, and so as the engine's own catalog."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from envs.data.check import GAP_INTERVALS, TICK_GAP_NS, gaps
from envs.data.read import Rows
from envs.data.write import check_name, write
from grid.dataset import FIELDS, LEVELS, Columns, Kind, Manifest, Quality
from grid.errors import DataError
from grid.home import Home
from grid.instrument import Instrument
from grid.spec import Spec

type Read = Callable[[str, Sequence[str]], Any]  # table, columns -> pyarrow's table

_KINDS: Final[dict[str, Kind]] = {
    "bar": "bars",
    "quote": "quotes",
    "trade": "trades",
    "depth": "depth",
}
_STREAM: Final = ("source", "source_epoch")
_RUN: Final = ("kind", "body", "ts_pub_ns", *_STREAM)


class _Told(msgspec.Struct):
    """What a node has said of itself at its start."""

    strategy_id: str
    spec: str
    instrument: str
    interval_ns: int


def import_lake(
    read: Read,
    said: str,
    *,
    name: str,
    home: Home,
    strategy_id: str = "",
    run: tuple[str, int] | None = None,
    replace: bool = False,
) -> Manifest:
    """Write the rows of a lake as dataset `name`; the newest strategy says of what, and how.

    Several runs are joined: where two tell of the same time, the one that began earlier is taken.

    Args:
        read: gives columns of a table of the lake.
        said: where the lake is, for people.
        name: of the new dataset.
        home: where datasets lie.
        strategy_id: of the strategy; empty for whichever is the newest.
        run: source and epoch of a node, of whose run alone the rows are taken.
        replace: whether a dataset of that name may be there already.

    Raises:
        DataError: the lake holds no such strategy or no rows of it, or the name is not fit.
    """
    check_name(name, home.datasets, replace)
    told = _newest(read, said, strategy_id, run)
    spec = msgspec.json.decode(told.spec, type=Spec)
    declared: Instrument = msgspec.json.decode(told.instrument, type=Instrument)
    kind = _KINDS[spec.source]
    bar, interval_ns = (spec.bar, told.interval_ns) if kind == "bars" else ("", 0)
    columns, read_rows = _columns(read, kind, declared.id, bar, run)
    if not len(columns["ts_event"]):
        raise DataError(f"{said}: expected {kind} of {declared.id}, found none")
    count, longest = gaps(columns["ts_event"], GAP_INTERVALS * interval_ns or TICK_GAP_NS)
    quality = Quality(
        rows_read=read_rows,
        duplicates=read_rows - len(columns["ts_event"]),
        gaps=count,
        longest_gaps=longest,
    )
    return write(
        Rows(columns, quality, bar, interval_ns, book="L2" if kind == "depth" else ""),
        declared,
        kind=kind,
        name=name,
        datasets=home.datasets,
        source=f"lake {said}: {told.strategy_id}" + (f", {run[0]} {run[1]}" if run else ""),
        replace=replace,
    )


def _newest(read: Read, said: str, strategy_id: str, run: tuple[str, int] | None) -> _Told:
    rows = read("events", _RUN)
    rows = rows.filter(pc.equal(rows["kind"], "strategy")).sort_by([("ts_pub_ns", "descending")])
    known: list[str] = []
    for row in rows.to_pylist():
        told = msgspec.json.decode(row["body"], type=_Told)
        if strategy_id in ("", told.strategy_id) and run in (None, _origin(row)):
            return told
        known.append(f"{told.strategy_id} of {row['source']} {row['source_epoch']}")
    wanted = " of ".join(filter(None, (strategy_id, f"{run[0]} {run[1]}" if run else "")))
    raise DataError(
        f"{said}: expected a strategy {wanted}, found {', '.join(dict.fromkeys(known)) or 'none'}"
    )


def _origin(row: dict[str, Any]) -> tuple[str, int]:
    return row["source"], row["source_epoch"]


def _columns(
    read: Read, kind: Kind, instrument_id: str, bar: str, run: tuple[str, int] | None
) -> tuple[Columns, int]:
    """Return the rows in order of time, and how many there were before runs were joined."""
    fields = FIELDS[kind][1:]
    names = (*_STREAM, "topic_seq", "instrument_id", "ts_event_ns", *fields)
    table = "depths" if kind == "depth" else kind
    rows = read(table, (*names, "bar") if bar else names)
    wanted = pc.equal(rows["instrument_id"], instrument_id)
    if bar:
        wanted = pc.and_(wanted, pc.equal(rows["bar"], bar))
    rows = rows.filter(wanted)
    taken = list(_joined(rows, run))
    joined = pa.concat_tables([rows.schema.empty_table(), *taken])
    columns: Columns = {"ts_event": joined["ts_event_ns"].to_numpy().astype(np.int64)}
    for field in fields:
        if field in LEVELS:
            columns[field] = np.array(joined[field].to_pylist(), dtype=np.float64)
        else:
            columns[field] = joined[field].to_numpy().astype(np.float64)
    of_run = sum(part.num_rows for origin, part in _parts(rows) if run in (None, origin))
    return columns, of_run


def _joined(rows: Any, run: tuple[str, int] | None) -> Iterator[Any]:
    """Yield of each run, in the order of their beginnings, what comes after those before it."""
    parts = [part for origin, part in _parts(rows) if run in (None, origin)]
    last_ns = -1
    for part in sorted(parts, key=lambda p: (p["ts_event_ns"][0].as_py(), -p.num_rows)):
        later = part.filter(pc.greater(part["ts_event_ns"], last_ns))
        if later.num_rows:
            last_ns = later["ts_event_ns"][-1].as_py()
            yield later


def _parts(rows: Any) -> Iterator[tuple[tuple[str, int], Any]]:
    """Yield the rows of each source and epoch, in its own order."""
    for key in rows.select(_STREAM).group_by(_STREAM).aggregate([]).to_pylist():
        mine = pc.and_(
            pc.equal(rows["source"], key["source"]),
            pc.equal(rows["source_epoch"], key["source_epoch"]),
        )
        yield _origin(key), rows.filter(mine).sort_by([("topic_seq", "ascending")])
