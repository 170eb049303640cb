"""Small disks that are full soon, and where there are none, files that may not grow."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB; skips where one may not be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, timeout=10, check=False)
    except OSError:
        pytest.skip("no mount here")
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], timeout=10, check=True)


def fill(folder: Path) -> Path:
    """Fill the disk that a folder lies on; return the file to delete for room."""
    file = folder / "filler"
    with pytest.raises(OSError, match="No space left"):
        file.write_bytes(bytes(1 << 20))
    return file
