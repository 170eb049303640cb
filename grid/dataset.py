"""A dataset on disk: a manifest, raw columns for memory mapping, and the engine's own catalog.

    NAME/dataset.json         the manifest
    NAME/columns/FIELD.npy    one array a field, shared by all processes through the page cache
    NAME/events/FIELD.npy     of deltas: the events that the rows were made of
    NAME/catalog/             the same rows as a NautilusTrader ParquetDataCatalog

This module reads; `envs.data` writes. It is light enough for the feed process.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from grid.errors import DataError
from grid.instrument import Instrument

type Kind = Literal["bars", "quotes", "trades", "depth", "deltas"]
type Columns = dict[str, NDArray[Any]]

LEVELS: Final = ("bid_pxs", "ask_pxs", "bid_qtys", "ask_qtys")  # [rows, levels], best first

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "bars": ("ts_event", "open", "high", "low", "close", "volume"),
    "quotes": ("ts_event", "bid_px", "ask_px", "bid_qty", "ask_qty"),
    "trades": ("ts_event", "price", "qty", "side"),  # side: 1 buyer, -1 seller, 0 unknown
    # a level that the book has not repeats the price before it, with quantity 0
    "depth": ("ts_event", *LEVELS),
    "deltas": ("ts_event", *LEVELS, "event"),  # event: how many the row knows of
}
EVENTS: Final[dict[str, str]] = {
    "ts_event": "<i8",
    "action": "<u1",  # 1 add, 2 update, 3 delete, 4 clear, as the engine counts them
    "side": "<i1",  # 1 bid, -1 ask, 0 none
    "price": "<f8",
    "qty": "<f8",
    "order_id": "<u8",  # 0 in a book by price
    "flags": "<u1",  # LAST: the last event of a packet
    "sequence": "<u8",  # of the source, 0 if it has none
}
DERIVED: Final = ("until", "since")  # of each event: see `envs.data.book`
LAST: Final = 128


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
    one_sided: int = 0  # of books: times without a bid or without an ask, which make no row
    orders_unknown: int = 0  # changes of an order that is not in the book, or adds of one that is
    sequence_gaps: int = 0  # of books: where the source's count leaves numbers out
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
    bar: str = ""  # step and price of bars, as in 1-HOUR-ASK; of deltas, as in 50-EVENT-BOOK
    interval_ns: int = 0  # length of a bar
    version: int = 1
    book: Literal["", "L2", "L3"] = ""  # by price or by order
    levels: int = 0  # of a book's rows, a side
    events: int = 0  # of deltas


class Dataset(msgspec.Struct, frozen=True):
    """A dataset that lies on disk, its columns mapped into memory.

    Attributes:
        path: its folder.
        manifest: what it is.
        columns: of its rows, see `FIELDS`.
        events: of deltas: see `EVENTS` and `DERIVED`; empty otherwise.
        ticks: what bars were made of; None where they were given.
    """

    path: Path
    manifest: Manifest
    columns: Columns
    events: Columns = {}
    ticks: "Dataset | None" = None

    @classmethod
    def open(cls, path: Path) -> "Dataset":
        """Open the dataset in folder `path`.

        Raises:
            DataError: there is none, or its parts do not fit together.
        """
        file = path / "dataset.json"
        try:
            manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
            columns = _mapped(path / "columns", FIELDS[manifest.kind])
            deltas = (*EVENTS, *DERIVED) if manifest.kind == "deltas" else ()
            events = _mapped(path / "events", deltas)
        except FileNotFoundError as e:
            raise DataError(f"{path}: no dataset here, {e.filename} is missing") from e
        except (msgspec.MsgspecError, ValueError, EOFError, OSError) as e:
            raise DataError(f"{path}: damaged dataset: {e}") from e
        lengths = {f: len(c) for f, c in columns.items() if len(c) != manifest.rows}
        if lengths:
            raise DataError(f"{path}: expected {manifest.rows} rows, found {lengths}")
        lengths = {f: len(c) for f, c in events.items() if len(c) != manifest.events}
        if lengths:
            raise DataError(f"{path}: expected {manifest.events} events, found {lengths}")
        return cls(path, manifest, columns, events)

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
        found = fingerprint(m.kind, m.instrument, m.bar, self.columns, self.events)
        if found != m.fingerprint:
            raise DataError(
                f"{self.path}: fingerprint {m.fingerprint} expected, columns give {found}"
            )


def check_finite(dataset: Dataset, first: int, last: int) -> None:
    """Refuse rows [first, last) of which any number is none: no order can fill on them.

    Raises:
        DataError: with the first of them.
    """
    for field, column in dataset.columns.items():
        finite = np.isfinite(column[first:last])
        if not finite.all():
            at = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
            found = np.ravel(column[first + at])
            wrong = found[~np.isfinite(found)][0]
            where = f"{dataset.manifest.name}: row {first + at}"
            raise DataError(f"{where}: expected a finite {field}, found {wrong}")


def names(folder: Path) -> list[str]:
    """Return the names of the datasets in `folder`, sorted."""
    return sorted(p.parent.name for p in folder.glob("*/dataset.json"))


def _mapped(folder: Path, fields: Iterable[str]) -> Columns:
    return {field: np.load(folder / f"{field}.npy", mmap_mode="r") for field in fields}


def fingerprint(
    kind: str,
    instrument: Instrument,
    bar: str,
    columns: Columns,
    events: Columns | None = None,
) -> str:
    """Return 32 hex digits over instrument, kind and all values of all rows and events."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(msgspec.json.encode([kind, bar, instrument], order="deterministic"))
    for field in FIELDS[kind]:
        digest.update(
            np.ascontiguousarray(columns[field]).astype("<i8" if field == "ts_event" else "<f8")
        )
    for field in EVENTS if events else ():
        digest.update(np.ascontiguousarray((events or {})[field]).astype(EVENTS[field]))
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
