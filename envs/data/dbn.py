"""Databento Binary Encoding: a file of records of one size, read as one array.

Layout of versions 1 to 3 as in the public description of DBN: `DBN`, a byte of version, the length
of the metadata, the metadata, records. Of one instrument, of one schema: `mbo`, market by order,
`mbp-1` and `mbp-10`, by price, or `trades`. All but the last hold changes of a book and trades.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from envs.data.table import Table, read_table
from grid.dataset import Kind
from grid.errors import DataError

MAGIC: Final = b"DBN"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
VERSIONS: Final = (1, 2, 3)
UNIT: Final = 1e9  # of a price
NO_PRICE: Final = np.iinfo(np.int64).max
_HEAD: Final = [
    ("length", "u1"), ("rtype", "u1"), ("publisher", "<u2"), ("instrument", "<u4"),
    ("ts_event", "<u8"),
]  # fmt: skip
_TAIL: Final = [("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4")]
_PRICED: Final = [
    ("price", "<i8"), ("size", "<u4"), ("action", "u1"), ("side", "u1"), ("flags", "u1"),
    ("depth", "u1"),
]  # fmt: skip
_LEVEL: Final = [
    ("bid_px", "<i8"), ("ask_px", "<i8"), ("bid_size", "<u4"), ("ask_size", "<u4"),
    ("bid_count", "<u4"), ("ask_count", "<u4"),
]  # fmt: skip
MBO: Final = np.dtype(
    [
        *_HEAD, ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"),
        ("channel", "u1"), ("action", "u1"), ("side", "u1"), *_TAIL,
    ]
)  # fmt: skip


def _by_price(levels: int) -> np.dtype[np.void]:
    book: list[Any] = [("levels", _LEVEL, (levels,))] if levels else []
    return np.dtype([*_HEAD, *_PRICED, *_TAIL, *book])


# record type -> schema and layout
SCHEMAS: Final[Mapping[int, tuple[str, np.dtype[np.void]]]] = {
    160: ("mbo", MBO),
    0: ("trades", _by_price(0)),
    1: ("mbp-1", _by_price(1)),
    10: ("mbp-10", _by_price(10)),
}
_SOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "deltas": ("mbo",),
    "depth": ("mbp-10",),
    "quotes": ("mbp-1",),
    "trades": ("mbo", "mbp-1", "mbp-10", "trades"),
}
_PREFIX_BYTES: Final = 8
_TYPE_AT: Final = 1  # of a record's type in its bytes

type Records = NDArray[np.void]


def is_dbn(path: Path) -> bool:
    """Whether a file begins as DBN does, compressed or not.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == ZSTD:
            with pa.input_stream(str(path), compression="zstd") as stream:
                magic = stream.read(4)
    except OSError as e:
        raise DataError(f"{path}: cannot be read: {e.strerror or e}") from e
    return bool(magic[:3] == MAGIC)


def has_trades(path: Path) -> bool:
    """Whether a file is in DBN and holds trades.

    Raises:
        DataError: it is damaged.
    """
    return is_dbn(path) and bool((_records(path)[1]["action"] == ord("T")).any())


def table_of(path: Path, kind: Kind) -> Table:
    """Return what a file of any format holds, of one in DBN that which `kind` is about.

    Raises:
        DataError: it is damaged, or holds nothing of the kind.
    """
    return read_dbn(path, kind) if is_dbn(path) else read_table(path)


def read_dbn(path: Path, kind: Kind) -> Table:
    """Return the records of a file; the time is that of their reception, which never goes back.

    Args:
        path: the file.
        kind: `deltas` of mbo, where a cancellation of a part becomes a modification to what is
            left, as the engine has it; `depth` of mbp-10, a row for each time; `quotes` of mbp-1
            that have both sides; `trades` of any schema.

    Raises:
        DataError: it is damaged, or holds something else than one instrument of that kind.
    """
    schema, records = _records(path)
    if schema not in _SOURCES.get(kind, ()):
        wanted = " or ".join(_SOURCES.get(kind, ())) or "no DBN, which holds none"
        raise DataError(f"{path}: expected schema {wanted} for {kind}, found {schema}")
    instruments = np.unique(records["instrument"])
    if len(instruments) > 1:
        raise DataError(
            f"{path}: expected one instrument, found {len(instruments)}: "
            f"numbers {', '.join(map(str, instruments[:5].tolist()))}; export them one by one"
        )
    made = {"deltas": _deltas, "depth": _depth, "quotes": _quotes, "trades": _trades}[kind]
    columns = made(records)
    arrays = (pa.chunked_array([values]) for values in columns.values())
    return Table(path, tuple(columns), tuple(arrays), is_text=False)


def _deltas(records: Records) -> dict[str, Any]:
    action, size = _partial_cancels(records)
    return {
        "ts_event": records["ts_recv"].astype(np.int64),
        "action": _letters(action),
        "side": _letters(records["side"]),
        "price": _prices(records["price"]),
        "size": size,
        "order_id": records["order_id"],
        "flags": records["flags"],
        "sequence": records["sequence"],
    }


def _trades(records: Records) -> dict[str, Any]:
    """Trades; a fill is the same trade, told of the order that rested."""
    traded = records[records["action"] == ord("T")]
    return {
        "ts_event": traded["ts_recv"].astype(np.int64),
        "price": _prices(traded["price"]),
        "size": traded["size"].astype(np.int64),
        "side": _letters(traded["side"]),  # of who took
        "record": np.arange(len(traded)),  # two of one time, price and size are two
    }


def _depth(records: Records) -> dict[str, Any]:
    """The book once all records of a time are in it."""
    times = records["ts_recv"]
    last = records[np.append(times[1:] != times[:-1], True)]
    columns: dict[str, Any] = {"ts_event": last["ts_recv"].astype(np.int64)}
    for i in range(last["levels"].shape[1]):
        level = last["levels"][:, i]
        for side in ("bid", "ask"):
            columns[f"{side}_px_{i}"] = _prices(level[f"{side}_px"])
            columns[f"{side}_qty_{i}"] = level[f"{side}_size"].astype(np.int64)
    return columns


def _quotes(records: Records) -> dict[str, Any]:
    """The best of both sides; a trade repeats what was before it."""
    best = records["levels"][:, 0]
    whole = (best["bid_px"] != NO_PRICE) & (best["ask_px"] != NO_PRICE)
    kept = records[whole & (records["action"] != ord("T"))]
    level = kept["levels"][:, 0]
    return {
        "ts_event": kept["ts_recv"].astype(np.int64),
        "bid_px": _prices(level["bid_px"]),
        "ask_px": _prices(level["ask_px"]),
        "bid_qty": level["bid_size"].astype(np.int64),
        "ask_qty": level["ask_size"].astype(np.int64),
        "record": np.arange(len(kept)),
    }


def _records(path: Path) -> tuple[str, Records]:
    with path.open("rb") as file:
        compression = "zstd" if file.read(4) == ZSTD else None
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            raw = stream.read()
    except (OSError, pa.ArrowInvalid) as e:
        raise DataError(f"{path}: damaged DBN file: {e}") from e
    version = raw[3] if len(raw) > _PREFIX_BYTES else 0
    if version not in VERSIONS:
        raise DataError(f"{path}: expected DBN of version 1 to 3, found version {version}")
    (length,) = struct.unpack_from("<I", raw, 4)
    body = memoryview(raw)[_PREFIX_BYTES + length :]
    kind = body[_TYPE_AT] if len(body) > _TYPE_AT else -1
    if kind not in SCHEMAS:
        known = ", ".join(name for name, _ in SCHEMAS.values())
        found = f"record type {kind}" if kind >= 0 else "no record"
        raise DataError(f"{path}: record 1: expected one of the schemas {known}, found {found}")
    schema, layout = SCHEMAS[kind]
    whole, rest = divmod(len(body), layout.itemsize)
    records = np.frombuffer(body, layout, whole)
    wrong = np.flatnonzero((records["rtype"] != kind) | (records["length"] != layout.itemsize // 4))
    if len(wrong):
        raise DataError(
            f"{path}: record {wrong[0] + 1}: expected one schema, {schema}, found record type "
            f"{records['rtype'][wrong[0]]}"
        )
    if rest or not whole:
        raise DataError(
            f"{path}: expected whole records of {schema}, found {len(body)} bytes of them"
        )
    return schema, records


def _prices(price: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(price == NO_PRICE, np.nan, price / UNIT)


def _partial_cancels(records: Records) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return actions and sizes with what is left of an order in place of what was taken away."""
    action, size = records["action"].copy(), records["size"].astype(np.int64)
    resting = np.flatnonzero(np.isin(action, _codes("AMC")))
    order = resting[np.argsort(records["order_id"][resting], kind="stable")]
    if not len(order):
        return action, size
    ids = records["order_id"][order]
    cancel = action[order] == ord("C")
    first = np.ones(len(order), np.bool_)
    first[1:] = (ids[1:] != ids[:-1]) | ~cancel[1:]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    taken = np.cumsum(np.where(cancel & ~first, size[order], 0))
    left = size[order][begin] - (taken - taken[begin])
    partial = order[cancel & ~first & (left > 0)]
    size[partial] = left[cancel & ~first & (left > 0)]
    action[partial] = ord("M")
    return action, size


def _codes(letters: str) -> list[int]:
    return [ord(letter) for letter in letters]


def _letters(codes: NDArray[np.uint8]) -> pa.DictionaryArray:
    words, indices = np.unique(codes, return_inverse=True)
    if not len(words):
        return pa.array([], pa.string())
    return pa.array(np.array([chr(c) for c in words.tolist()])[indices])
