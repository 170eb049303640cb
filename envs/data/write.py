"""A dataset onto disk, whole or not at all.

It is built in `DATASETS/.importing/`, which no reader looks into, brought to the disk, and renamed.
What a killed import left there is removed by the next one.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from envs.data.catalog import Progress, write_catalog
from envs.data.read import Rows
from grid.dataset import DERIVED, EVENTS, FIELDS, Columns, Kind, Manifest, fingerprint
from grid.errors import ArgonautError, DataError
from grid.instrument import Instrument

HIDDEN: Final = ".importing"
_OLD: Final = "old"  # a dataset on its way out, in a folder of HIDDEN

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def write(
    rows: Rows,
    instrument: Instrument,
    *,
    kind: Kind,
    name: str,
    datasets: Path,
    source: str,
    replace: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Write a dataset into folder `datasets`, and return its manifest.

    Args:
        rows: what it holds.
        instrument: what is traded.
        kind: what the rows are.
        name: the dataset's name: letters, digits, dot, dash, underscore.
        datasets: the folder of all datasets; made if need be.
        source: where the rows come from, for people.
        replace: whether a dataset of that name may be there already.
        progress: called as `progress(rows_written, rows_in_all)`.

    Raises:
        DataError: the name is not fit, or taken.
        ArgonautError: the disk refuses.
    """
    check_name(name, datasets, replace)
    ts = rows.columns["ts_event"]
    manifest = Manifest(
        name=name,
        kind=kind,
        instrument=instrument,
        rows=len(ts),
        start_ns=int(ts[0]),
        end_ns=int(ts[-1]),
        fingerprint=fingerprint(kind, instrument, rows.bar, rows.columns, rows.events),
        quality=rows.quality,
        source=source,
        bar=rows.bar,
        interval_ns=rows.interval_ns,
        book=rows.book,
        levels=rows.columns["bid_pxs"].shape[1] if rows.book else 0,
        events=len(rows.events["ts_event"]) if rows.events else 0,
    )
    try:
        with _scratch(datasets) as scratch:
            _build(scratch / name, manifest, rows, progress)
            _place(scratch / name, datasets / name, replace)
    except OSError as e:
        raise ArgonautError(f"dataset {name}: cannot be written to {datasets}: {e}") from e
    return manifest


def _build(new: Path, manifest: Manifest, rows: Rows, progress: Progress | None) -> None:
    m = manifest
    new.mkdir()
    data = rows.events or rows.columns
    write_catalog(new / "catalog", m.instrument, m.kind, m.bar, data, progress)
    _save(new / "columns", rows.columns, FIELDS[m.kind])
    if rows.events:
        _save(new / "events", rows.events, (*EVENTS, *DERIVED))
    text = msgspec.json.format(msgspec.json.encode(m), indent=2)
    (new / "dataset.json").write_bytes(text + b"\n")
    _sync(new)


def _save(folder: Path, columns: Columns, fields: Sequence[str]) -> None:
    folder.mkdir()
    for field in fields:
        np.save(folder / f"{field}.npy", np.ascontiguousarray(columns[field]))


def check_name(name: str, datasets: Path, replace: bool) -> None:
    """Raise `DataError` if a dataset cannot have that name, or one has it already."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"dataset name {name!r}: expected letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit"
        )
    if not replace and (datasets / name).exists():
        raise DataError(
            f"dataset {name} is already in {datasets}: choose another name, or --replace it"
        )


@contextmanager
def _scratch(datasets: Path) -> Iterator[Path]:
    """Yield an empty folder that is locked while this process lives, and removed at the end."""
    hidden = datasets / HIDDEN
    hidden.mkdir(parents=True, exist_ok=True)
    with _locked(hidden):  # or another import might clear a folder that is not locked yet
        for left in hidden.iterdir():
            _clear_if_dead(left, datasets)
        folder = Path(tempfile.mkdtemp(dir=hidden))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        os.close(lock)


@contextmanager
def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of a folder; a process that dies lets it go."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, how)
        yield
    finally:
        os.close(lock)


def _clear_if_dead(left: Path, datasets: Path) -> None:
    with suppress(BlockingIOError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):  # or it is alive
        for old in (left / _OLD).glob("*/dataset.json"):  # killed between the two renames
            with suppress(OSError):  # the new one is there
                old.parent.rename(datasets / old.parent.name)
        shutil.rmtree(left)


def _place(new: Path, target: Path, replace: bool) -> None:
    old = new.parent / _OLD / target.name
    if replace and target.exists():
        old.parent.mkdir()
        target.rename(old)
    try:
        new.rename(target)
    except OSError as e:
        if old.exists():
            old.rename(target)
        raise DataError(f"dataset {target.name}: {target} was taken meanwhile") from e
    _sync_one(target.parent)


def _sync(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        _sync_one(path)


def _sync_one(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
