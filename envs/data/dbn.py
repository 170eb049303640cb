"""Databento Binary Encoding, market by order: a file of records of one size, read as one array.

Layout of versions 1 to 3 as in the public description of DBN: `DBN`, a byte of version, the length
of the metadata, the metadata, records. Only `mbo` records of one instrument are taken.
"""

import struct
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from envs.data.table import Table
from grid.errors import DataError

MAGIC: Final = b"DBN"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
VERSIONS: Final = (1, 2, 3)
MBO: Final = 160  # the record type
UNIT: Final = 1e9  # of a price
NO_PRICE: Final = np.iinfo(np.int64).max
_RECORD: Final = np.dtype(
    [
        ("length", "u1"), ("rtype", "u1"), ("publisher", "<u2"), ("instrument", "<u4"),
        ("ts_event", "<u8"), ("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"),
        ("flags", "u1"), ("channel", "u1"), ("action", "u1"), ("side", "u1"), ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"), ("sequence", "<u4"),
    ]
)  # fmt: skip
_PREFIX_BYTES: Final = 8

type Records = NDArray[np.void]


def is_dbn(path: Path) -> bool:
    """Whether a file begins as DBN does, compressed or not."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == ZSTD:
        with pa.input_stream(str(path), compression="zstd") as stream:
            magic = stream.read(4)
    return bool(magic[:3] == MAGIC)


def read_dbn(path: Path) -> Table:
    """Return the records of a file; the time is that of their reception, which never goes back.

    A cancellation of a part becomes a modification to what is left, as the engine has it.

    Raises:
        DataError: it is damaged, or holds something else than one instrument by order.
    """
    records = _records(path)
    instruments = np.unique(records["instrument"])
    if len(instruments) > 1:
        raise DataError(
            f"{path}: expected one instrument, found {len(instruments)}: "
            f"numbers {', '.join(map(str, instruments[:5].tolist()))}; export them one by one"
        )
    action, size = _partial_cancels(records)
    price = np.where(records["price"] == NO_PRICE, np.nan, records["price"] / UNIT)
    columns = {
        "ts_event": records["ts_recv"].astype(np.int64),
        "action": _letters(action),
        "side": _letters(records["side"]),
        "price": price,
        "size": size,
        "order_id": records["order_id"],
        "flags": records["flags"],
        "sequence": records["sequence"],
    }
    arrays = (pa.chunked_array([values]) for values in columns.values())
    return Table(path, tuple(columns), tuple(arrays), is_text=False)


def _records(path: Path) -> Records:
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
    whole, rest = divmod(len(body), _RECORD.itemsize)
    records = np.frombuffer(body, _RECORD, whole)
    wrong = np.flatnonzero((records["rtype"] != MBO) | (records["length"] != _RECORD.itemsize // 4))
    if len(wrong):
        raise DataError(
            f"{path}: record {wrong[0] + 1}: expected market by order, schema mbo, found record "
            f"type {records['rtype'][wrong[0]]}"
        )
    if rest or not whole:
        raise DataError(f"{path}: expected whole records of mbo, found {len(body)} bytes of them")
    return records


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
    return pa.array(np.array([chr(c) for c in words.tolist()])[indices])
