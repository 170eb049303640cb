"""Changes of a book as the bytes of an Arrow stream, as the engine's wranglers read them.

In a file of its own: importing Arrow starts threads, which no process has that forks.
"""

from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from grid.dataset import Columns
from grid.instrument import Instrument

_ACTIONS: Final = ("ADD", "UPDATE", "DELETE", "CLEAR")  # in the order of their codes from 1
_SIDES: Final = ("NO_ORDER_SIDE", "BUY", "SELL")  # code -1 is the last
_NULLABLE: Final = frozenset({"price", "size"})
_DECIMAL: Final = pa.decimal128(38, 16)  # the engine's


def packed(instrument: Instrument, events: Columns, first: int, last: int) -> bytes:
    """Return events [first, last) as an Arrow stream, `ts_init` as `ts_event`."""
    part = {k: np.asarray(v[first:last]) for k, v in events.items()}
    ts = pa.array(part["ts_event"]).cast(pa.timestamp("ns", tz="UTC"))
    columns = {
        "action": _words(part["action"].astype(np.int8) - 1, _ACTIONS),
        "side": _words(part["side"] % len(_SIDES), _SIDES),
        "price": _decimals(np.nan_to_num(part["price"]), instrument.price_precision),
        "size": _decimals(part["qty"], instrument.size_precision),
        "order_id": pa.array(part["order_id"]),
        "flags": pa.array(part["flags"]),
        "sequence": pa.array(part["sequence"]),
        "ts_event": ts,
        "ts_init": ts,
    }
    return _stream(columns)


def packed_levels(instrument: Instrument, columns: Columns) -> bytes:
    """Return rows of depth as an Arrow stream, levels without quantity left out."""
    ts = pa.array(columns["ts_event"]).cast(pa.timestamp("ns", tz="UTC"))
    rows = len(ts)
    sides = {
        f"{side}s": _levels(instrument, columns[f"{side}_pxs"], columns[f"{side}_qtys"])
        for side in ("bid", "ask")
    }
    flags, sequence = np.zeros(rows, np.uint8), np.zeros(rows, np.uint64)
    return _stream(
        {
            **sides,
            "flags": pa.array(flags),
            "sequence": pa.array(sequence),
            "ts_event": ts,
            "ts_init": ts,
        }
    )


def _stream(columns: dict[str, pa.Array]) -> bytes:
    fields = [pa.field(k, v.type, nullable=k in _NULLABLE) for k, v in columns.items()]
    batch = pa.record_batch(list(columns.values()), schema=pa.schema(fields))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _levels(
    instrument: Instrument, px: NDArray[np.float64], qty: NDArray[np.float64]
) -> pa.ListArray:
    there = qty > 0.0
    ends = np.cumsum(there.sum(axis=1), dtype=np.int32)
    count = int(ends[-1]) if len(ends) else 0
    levels = {
        "price": _decimals(px[there], instrument.price_precision),
        "size": _decimals(qty[there], instrument.size_precision),
        "count": pa.array(np.ones(count, np.uint32)),
        "order_id": pa.array(np.zeros(count, np.uint64)),
    }
    fields = [pa.field(k, v.type, nullable=False) for k, v in levels.items()]
    flat = pa.StructArray.from_arrays(list(levels.values()), fields=fields)
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]).astype(np.int32)), flat)


def _words(codes: NDArray[np.int8], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(words))


def _decimals(values: NDArray[np.float64], precision: int) -> pa.Array:
    whole = np.rint(values * 10.0**precision).astype(np.int64)
    words = np.empty((len(whole), 2), np.int64)
    words[:, 0], words[:, 1] = whole, whole >> 63
    buffers = [None, pa.py_buffer(words)]
    return pa.Array.from_buffers(pa.decimal128(38, precision), len(whole), buffers).cast(_DECIMAL)
