"""Tables of events as files of Parquet, partitioned by kind and date, each event once.

    LAKE/fills/date=2026-11-24/part-00000012.parquet
    LAKE/lake.json          what belongs to the lake, and the position that it has come to

A commit writes its files under hidden names, then `lake.json`, in one atomic step, then gives the
files their names. Whoever opens the lake for writing ends what a crash has cut off: files of the
last commit get their names, and all others go. A reader by glob sees whole commits and nothing
twice; for a moment within a commit it may see a part of it.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from grid.bridges.places import MANIFEST, Folder, Place, hidden
from grid.bridges.position import Mark, Position
from grid.bridges.tables import KEY, days, later
from grid.errors import BridgeError

VERSION: Final = 1
SMALL_BYTES: Final = 16_000_000
ROUND_ROWS: Final = 500_000  # of small files, at a time: they are held in memory


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
        where: a folder, made if it is not there, or another place.
        compact_files: so many small files of a partition are made one by `tidy`; 0: never.

    Raises:
        BridgeError: another process writes it, or its manifest is damaged.
        UnreachableError: the place does not answer.
    """

    def __init__(self, where: Path | Place, compact_files: int = 0) -> None:
        self._place = Folder(where) if isinstance(where, Path) else where
        self._compact_files = compact_files
        self.manifest = Manifest()
        self._doubtful = False  # whether a commit has failed, and may be there or not
        try:
            self._open()
        except OSError as e:
            raise self._place.trouble(e) from e

    def __enter__(self) -> "Lake":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def position(self) -> tuple[Mark, ...]:
        """Of the last commit."""
        return self.manifest.position

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {"files": float(len(self.manifest.files))}

    def close(self) -> None:
        """Let others write it."""
        self._place.close()

    def commit(self, tables: dict[str, pa.Table], position: Position, now_ns: int) -> None:
        """Add rows, and say how far the events have come with them: both, or neither.

        Args:
            tables: rows by table.
            position: of the last event of each stream that is in them or before.
            now_ns: UNIX ns.

        Raises:
            BridgeError: the disk refuses it.
            UnreachableError: the place does not answer.
        """
        try:
            if self._doubtful:
                self._open()
                kept = self.manifest.position
                tables = {name: later(table, kept) for name, table in tables.items()}
            self._doubtful = True
            parts = [
                (f"{name}/date={day}", rows)
                for name, table in tables.items()
                if table.num_rows
                for day, rows in days(table).items()
            ]
            self._replace((), parts, position.marks(), now_ns)
            self._doubtful = False
        except OSError as e:
            raise self._place.trouble(e) from e

    def compact(self, min_files: int = 2) -> tuple[int, int]:
        """Make one file of the files of each partition; return how many there were and are.

        Args:
            min_files: of a partition, fewer are left as they are.
        """
        before = len(self.manifest.files)
        for files in self._partitions().values():
            if len(files) >= min_files:
                self._join(files)
        return before, len(self.manifest.files)

    def tidy(self) -> None:
        """Make one of a partition's small files, if there are many."""
        if not self._compact_files or self._doubtful:
            return
        for files in self._partitions().values():
            small: list[File] = []
            rows = 0
            for file in sorted(files, key=lambda f: f.bytes):
                rows += file.rows
                if file.bytes >= SMALL_BYTES or (len(small) > 1 and rows > ROUND_ROWS):
                    break
                small.append(file)
            if len(small) >= max(2, self._compact_files):
                self._join(small)
                return

    def _partitions(self) -> dict[str, list[File]]:
        found: dict[str, list[File]] = {}
        for file in self.manifest.files:
            found.setdefault(file.partition, []).append(file)
        return found

    def _join(self, files: list[File]) -> None:
        kept = self.manifest
        try:
            self._doubtful = True
            table = pa.concat_tables(
                [self._place.read(f.path) for f in files], promote_options="default"
            ).sort_by([(column, "ascending") for column in KEY])
            self._replace(files, [(files[0].partition, table)], kept.position, kept.saved_ns)
            self._doubtful = False
        except OSError as e:
            raise self._place.trouble(e) from e

    def _replace(
        self,
        old: Iterable[File],
        parts: list[tuple[str, pa.Table]],
        position: tuple[Mark, ...],
        now_ns: int,
    ) -> None:
        number = self.manifest.commit + 1
        new = [self._write(f"{part}/part-{number:08d}.parquet", table) for part, table in parts]
        gone = {file.path for file in old}
        files = [file for file in self.manifest.files if file.path not in gone] + new
        manifest = Manifest(commit=number, saved_ns=now_ns, position=position, files=tuple(files))
        self._place.write_manifest(msgspec.json.encode(manifest))
        self.manifest = manifest
        for path in gone:
            self._place.delete(path)
        for file in new:
            self._show(file)

    def _write(self, path: str, table: pa.Table) -> File:
        return File(path, table.num_rows, self._place.write(path, table))

    def _show(self, file: File) -> None:
        self._place.show(file.path)

    def _open(self) -> None:
        """Read the manifest, and end what a crash or a failure has cut off."""
        self.manifest = decode(self._place.read_manifest(), str(self._place))
        there = self._place.names()
        for file in self.manifest.files:
            if file.path not in there:
                if hidden(file.path) not in there:
                    raise BridgeError(
                        f"{self._place}: expected the file {file.path} of the lake, found none"
                    )
                self._show(file)
        shown = {file.path for file in self.manifest.files}
        for path in there - shown - {hidden(path) for path in shown - there}:
            self._place.delete(path)


def decode(data: bytes | None, where: str) -> Manifest:
    """Return the manifest of a lake, an empty one if there is none yet.

    Raises:
        BridgeError: it is damaged, or of a version that is not known here.
    """
    if data is None:
        return Manifest()
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as e:
        raise BridgeError(f"{where}/{MANIFEST}: expected the manifest of a lake: {e}") from e
    if found.version != VERSION:
        raise BridgeError(
            f"{where}/{MANIFEST}: expected a lake of version {VERSION}, found {found.version}"
        )
    return found


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a lake in a folder; see `decode`."""
    file = folder / MANIFEST
    return decode(file.read_bytes() if file.exists() else None, str(folder))
