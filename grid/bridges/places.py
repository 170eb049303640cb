"""Where a lake's files lie: a folder of this machine, or a bucket of an S3-compatible service.

A file is written under a hidden name, whole and for good, and is then given its own name.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from grid.bridges.config import S3Config
from grid.durable import sync_folder, write_atomic
from grid.errors import BridgeError, ConfigError, UnreachableError

MANIFEST: Final = "lake.json"
S3: Final = "s3://"
_LOCK: Final = ".lock"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Place(Protocol):
    """A folder for one lake. Paths are those of its files, as in `fills/date=2026-11-24/a`."""

    def read_manifest(self) -> bytes | None:
        """Return the manifest, if there is one."""

    def write_manifest(self, data: bytes) -> None:
        """Put a manifest in the place of the one before, in one step."""

    def write(self, path: str, table: Any) -> int:
        """Write a file under its hidden name, for good; return its bytes."""

    def show(self, path: str) -> None:
        """Give a file its own name."""

    def read(self, path: str) -> Any:
        """Return a file as pyarrow's table."""

    def names(self) -> set[str]:
        """Return the paths of all files of tables, hidden ones under their hidden names."""

    def delete(self, path: str) -> None:
        """Delete a file."""

    def trouble(self, error: OSError) -> BridgeError:
        """Return what is to be raised where the place has failed."""

    def close(self) -> None:
        """Let others write here."""


def hidden(path: str) -> str:
    """Return the name of a file that is not shown yet."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.new"


def place(where: str, s3: S3Config) -> Place:
    """Return the place of that name: `s3://BUCKET/PREFIX`, or a folder.

    Raises:
        BridgeError: another process writes there.
        ConfigError: it has no bucket.
        UnreachableError: the service does not answer.
    """
    return Bucket(where, s3) if where.startswith(S3) else Folder(Path(where))


class Folder:
    """A folder of this machine, which one process writes at a time.

    Args:
        folder: made if it is not there.
        write: whether it is to be written; to read it no lock is needed.

    Raises:
        BridgeError: another process writes it.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self._folder = folder
        self._lock = -1
        if not write:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BridgeError(f"{folder}: another process writes this lake") from None

    def __str__(self) -> str:
        return str(self._folder)

    def read_manifest(self) -> bytes | None:
        """See `Place`."""
        file = self._folder / MANIFEST
        return file.read_bytes() if file.exists() else None

    def write_manifest(self, data: bytes) -> None:
        """See `Place`."""
        write_atomic(self._folder / MANIFEST, data)

    def write(self, path: str, table: Any) -> int:
        """See `Place`."""
        file = self._folder / hidden(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            pq.write_table(table, out, compression="zstd")
            out.flush()
            os.fsync(out.fileno())
        sync_folder(file.parent)
        sync_folder(file.parent.parent)
        return file.stat().st_size

    def show(self, path: str) -> None:
        """See `Place`."""
        file = self._folder / path
        (self._folder / hidden(path)).rename(file)
        sync_folder(file.parent)

    def read(self, path: str) -> Any:
        """See `Place`."""
        return pq.ParquetFile(self._folder / path).read()

    def names(self) -> set[str]:
        """See `Place`."""
        found = self._folder.glob("*/date=*/*")
        return {str(file.relative_to(self._folder)) for file in found}

    def delete(self, path: str) -> None:
        """See `Place`."""
        (self._folder / path).unlink()

    def trouble(self, error: OSError) -> BridgeError:
        """See `Place`; room may be made on a disk that is full."""
        kind = UnreachableError if error.errno in _FULL else BridgeError
        return kind(f"{self._folder}: cannot be written: {error.strerror or error}")

    def close(self) -> None:
        """See `Place`."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Bucket:
    """A prefix in a bucket.

    No lock is there: a manifest that another process has written is found before a commit.
    """

    def __init__(self, where: str, s3: S3Config) -> None:
        from pyarrow import fs

        self._where = where.rstrip("/")
        self._root = self._where.removeprefix(S3)
        if not self._root:
            raise ConfigError(f"lakehouse.folder: expected s3://BUCKET/PREFIX, found {where}")
        self._fs = self._files(s3)
        self._selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        self._seen: bytes | None = None
        bucket = self._root.partition("/")[0]
        try:
            found = self._fs.get_file_info(bucket)
        except OSError as e:
            raise self.trouble(e) from e
        if found.type == fs.FileType.NotFound:
            raise BridgeError(f"{self._where}: expected a bucket {bucket}, found none")

    def __str__(self) -> str:
        return self._where

    def _files(self, s3: S3Config) -> Any:
        from pyarrow import fs

        scheme, _, endpoint = s3.endpoint.rpartition("://")
        if endpoint:  # many services know no checksum behind a body, and answer it with 411
            os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        return fs.S3FileSystem(
            region=s3.region,
            scheme=scheme or "https",
            endpoint_override=endpoint or None,
            request_timeout=s3.timeout_s,
            connect_timeout=s3.timeout_s,
        )

    def read_manifest(self) -> bytes | None:
        """See `Place`."""
        self._seen = self._manifest()
        return self._seen

    def write_manifest(self, data: bytes) -> None:
        """See `Place`."""
        if self._manifest() != self._seen:
            raise BridgeError(f"{self._where}: another process writes this lake")
        with self._fs.open_output_stream(f"{self._root}/{MANIFEST}") as out:
            out.write(data)
        self._seen = data

    def write(self, path: str, table: Any) -> int:
        """See `Place`."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue()
        with self._fs.open_output_stream(f"{self._root}/{hidden(path)}") as out:
            out.write(data)
        return int(data.size)

    def show(self, path: str) -> None:
        """See `Place`."""
        self._fs.move(f"{self._root}/{hidden(path)}", f"{self._root}/{path}")

    def read(self, path: str) -> Any:
        """See `Place`."""
        return pq.ParquetFile(self._fs.open_input_file(f"{self._root}/{path}")).read()

    def names(self) -> set[str]:
        """See `Place`."""
        listed = self._fs.get_file_info(self._selector)
        found = {each.path.removeprefix(f"{self._root}/") for each in listed if each.is_file}
        return {path for path in found if path.count("/") == 2}

    def delete(self, path: str) -> None:
        """See `Place`."""
        self._fs.delete_file(f"{self._root}/{path}")

    def trouble(self, error: OSError) -> BridgeError:
        """See `Place`."""
        return UnreachableError(f"{self._where}: {' '.join(str(error).split())}")

    def close(self) -> None:
        """See `Place`."""

    def _manifest(self) -> bytes | None:
        path = f"{self._root}/{MANIFEST}"
        if not self._fs.get_file_info(path).is_file:
            return None
        with self._fs.open_input_stream(path) as file:
            data: bytes = file.read()
        return data
