"""Tables of events on disk as Parquet, partitioned by kind and date, each event once.

    LAKE/fills/date=2026-11-24/part-00000012.parquet
    LAKE/lake.json          what belongs to the lake, and the position that it has come to

A commit writes its files under hidden names, then `lake.json`, in one atomic step, then gives the
files their names. Whoever opens the lake for writing ends what a crash has cut off: files of the
last commit get their names, and all others go. A reader by glob sees whole commits and nothing
twice; for a moment within a commit it may see a part of it.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from grid.bridges.position import Mark, Position
from grid.bridges.tables import KEY, days
from grid.durable import sync_folder, write_atomic
from grid.errors import BridgeError

MANIFEST: Final = "lake.json"
VERSION: Final = 1
_LOCK: Final = ".lock"


class File(msgspec.Struct, frozen=True):
    """A file of the lake: its path within it, its rows."""

    path: str
    rows: int
    bytes: int

    @property
    def partition(self) -> str:
        """Its folder, as in `fills/date=2026-11-24`."""
        return self.path.rpartition("/")[0]

    @property
    def table(self) -> str:
        """Its table."""
        return self.path.partition("/")[0]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to a lake, and how far the events have come that are in it."""

    version: int = VERSION
    commit: int = 0
    saved_ns: int = 0
    position: tuple[Mark, ...] = ()
    files: tuple[File, ...] = ()


class Lake:
    """A lake that this process writes, and no other.

    Attributes:
        manifest: of the last commit.

    Args:
        folder: made if it is not there.

    Raises:
        BridgeError: another process writes it, or its manifest is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BridgeError(f"{folder}: another process writes this lake") from None
        self.manifest = read_manifest(folder)
        self._settle()

    def __enter__(self) -> "Lake":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write it."""
        os.close(self._lock)

    def commit(self, tables: dict[str, pa.Table], position: Position, now_ns: int) -> None:
        """Add rows, and say how far the events have come with them: both, or neither.

        Args:
            tables: rows by table.
            position: of the last event of each stream that is in them or before.
            now_ns: UNIX ns.
        """
        parts = [
            (f"{name}/date={day}", rows)
            for name, table in tables.items()
            if table.num_rows
            for day, rows in days(table).items()
        ]
        self._replace((), parts, position.marks(), now_ns)

    def compact(self, min_files: int = 2) -> tuple[int, int]:
        """Make one file of the files of each partition; return how many there were and are.

        Args:
            min_files: of a partition, fewer are left as they are.
        """
        before = len(self.manifest.files)
        partitions: dict[str, list[File]] = {}
        for file in self.manifest.files:
            partitions.setdefault(file.partition, []).append(file)
        for partition, files in partitions.items():
            if len(files) < min_files:
                continue
            table = pa.concat_tables(
                [pq.ParquetFile(self.folder / f.path).read() for f in files],
                promote_options="default",
            ).sort_by([(column, "ascending") for column in KEY])
            kept = self.manifest
            self._replace(files, [(partition, table)], kept.position, kept.saved_ns)
        return before, len(self.manifest.files)

    def _replace(
        self,
        old: Iterable[File],
        parts: list[tuple[str, pa.Table]],
        position: tuple[Mark, ...],
        now_ns: int,
    ) -> None:
        number = self.manifest.commit + 1
        new = [self._write(partition, number, table) for partition, table in parts]
        gone = {file.path for file in old}
        files = [file for file in self.manifest.files if file.path not in gone] + new
        manifest = Manifest(commit=number, saved_ns=now_ns, position=position, files=tuple(files))
        write_atomic(self.folder / MANIFEST, msgspec.json.encode(manifest))
        self.manifest = manifest
        for path in gone:
            (self.folder / path).unlink()
        for file in new:
            self._show(file)

    def _write(self, partition: str, number: int, table: pa.Table) -> File:
        folder = self.folder / partition
        folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{number:08d}.parquet"
        hidden = _hidden(folder / name)
        with hidden.open("wb") as out:
            pq.write_table(table, out, compression="zstd")
            out.flush()
            os.fsync(out.fileno())
        sync_folder(folder)
        sync_folder(folder.parent)
        return File(f"{partition}/{name}", table.num_rows, hidden.stat().st_size)

    def _show(self, file: File) -> None:
        path = self.folder / file.path
        _hidden(path).rename(path)
        sync_folder(path.parent)

    def _settle(self) -> None:
        """End what a crash has cut off."""
        for file in self.manifest.files:
            path = self.folder / file.path
            if not path.exists():
                if not _hidden(path).exists():
                    raise BridgeError(f"{path}: expected this file of the lake, found none")
                self._show(file)
        known = {self.folder / file.path for file in self.manifest.files}
        for path in self.folder.glob("*/date=*/*"):
            if path not in known:
                path.unlink()


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a lake, an empty one if there is none yet.

    Raises:
        BridgeError: it is damaged, or of a version that is not known here.
    """
    file = folder / MANIFEST
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except msgspec.MsgspecError as e:
        raise BridgeError(f"{file}: expected the manifest of a lake: {e}") from e
    if found.version != VERSION:
        raise BridgeError(f"{file}: expected a lake of version {VERSION}, found {found.version}")
    return found
