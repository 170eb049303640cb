"""Files that survive a crash: whole or not there, and on the disk when the call returns."""

import os
from pathlib import Path
from uuid import uuid4


def write_synced(file: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with file.open("wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def write_atomic(file: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never less."""
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        write_synced(draft, content)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
