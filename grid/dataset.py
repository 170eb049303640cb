"""A dataset on disk: a manifest, raw columns for memory mapping, and the engine's own catalog.

    NAME/dataset.json         the manifest
    NAME/columns/FIELD.npy    one array a field, shared by all processes through the page cache
    NAME/catalog/             the same rows as a NautilusTrader ParquetDataCatalog

This module reads; `envs.data` writes. It is light enough for the feed process.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from grid.errors import DataError
from grid.instrument import Instrument

type Kind = Literal["bars", "quotes", "trades"]
type Columns = dict[str, NDArray[Any]]

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "bars": ("ts_event", "open", "high", "low", "close", "volume"),
    "quotes": ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty"),
    "trades": ("ts_event", "price", "qty", "side"),  # side: 1 buyer, -1 seller, 0 unknown
}


class Gap(msgspec.Struct, frozen=True):
    """A hole between two rows: longer than five bars, or than five minutes without a tick."""

    start_ns: int
    seconds: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What was found on import; counts of rows."""

    rows_read: int
    unreadable: int = 0  # a time or number that cannot be read, or a wrong number of fields
    duplicates: int = 0
    out_of_order: int = 0
    bad_prices: int = 0  # zero, negative or not finite; or such a quantity
    rounded: int = 0  # prices off the instrument's tick
    crossed: int = 0  # bid above ask, or high below low, or open or close outside of them
    gaps: int = 0
    longest_gaps: tuple[Gap, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset is. `fingerprint` covers instrument, kind and every value of every row."""

    name: str
    kind: Kind
    instrument: Instrument
    rows: int
    start_ns: int
    end_ns: int
    fingerprint: str
    quality: Quality
    source: str
    bar: str = ""  # step and price of bars, as in 1-HOUR-ASK
    interval_ns: int = 0  # length of a bar
    version: int = 1


class Dataset(msgspec.Struct, frozen=True):
    """A dataset that lies on disk, its columns mapped into memory."""

    path: Path
    manifest: Manifest
    columns: Columns

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Open the dataset in folder `path`.

        Raises:
            DataError: there is none, or its parts do not fit together.
        """
        file = path / "dataset.json"
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
            fields = FIELDS[manifest.kind]
            columns = {f: np.load(path / "columns" / f"{f}.npy", mmap_mode="r") for f in fields}
        except FileNotFoundError as e:
            raise DataError(f"{path}: no dataset here, {e.filename} is missing") from e
        except (msgspec.MsgspecError, ValueError, EOFError, OSError) as e:
            raise DataError(f"{path}: damaged dataset: {e}") from e
        lengths = {f: len(c) for f, c in columns.items() if len(c) != manifest.rows}
        if lengths:
            raise DataError(f"{path}: expected {manifest.rows} rows, found {lengths}")
        return cls(path, manifest, columns)

    @classmethod
    def find(cls, folder: Path, name: str) -> "Dataset":
        """Open dataset `name` among those in `folder`, or say which there are."""
        if not (folder / name / "dataset.json").is_file():
            known = ", ".join(names(folder)) or "none yet"
            raise DataError(f"no dataset {name!r} in {folder}; there are: {known}")
        return cls.open(folder / name)

    def rows_between(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return the half-open range of rows with start_ns <= ts_event < end_ns."""
        ts = self.columns["ts_event"]
        lo, hi = np.searchsorted(ts, [start_ns, end_ns], side="left")
        return int(lo), int(hi)

    def verify(self) -> None:
        """Compare the columns with the manifest's fingerprint.

        Raises:
            DataError: they differ.
        """
        m = self.manifest
        found = fingerprint(m.kind, m.instrument, m.bar, self.columns)
        if found != m.fingerprint:
            raise DataError(
                f"{self.path}: fingerprint {m.fingerprint} expected, columns give {found}"
            )


def names(folder: Path) -> list[str]:
    """Return the names of the datasets in `folder`, sorted."""
    return sorted(p.parent.name for p in folder.glob("*/dataset.json"))


def fingerprint(kind: str, instrument: Instrument, bar: str, columns: Columns) -> str:
    """Return 32 hex digits over instrument, kind and all values of all rows."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgspec.json.encode([kind, bar, instrument], order="deterministic"))
    for field in FIELDS[kind]:
        digest.update(
            np.ascontiguousarray(columns[field]).astype("<i8" if field == "ts_event" else "<f8")
        )
    return digest.hexdigest()


def to_ns(moment: str) -> int:
    """Return an ISO date or time, UTC unless it says otherwise, as UNIX ns.

    Raises:
        DataError: it is neither.
    """
    try:
        at = datetime.fromisoformat(moment)
    except ValueError as e:
        raise DataError(f"expected an ISO date or time such as 2017-09-01, found {moment!r}") from e
    whole = at.replace(tzinfo=at.tzinfo or UTC, microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + at.microsecond * 1_000


def to_iso(ts_ns: int) -> str:
    """Return UNIX ns as `2017-09-01 12:00:00`, UTC, to the second."""
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
