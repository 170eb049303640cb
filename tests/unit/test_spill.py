"""What waits on disk for what is missing before it, whole and torn."""

from pathlib import Path

import pytest

from grid.reserve import RESERVE_BYTES, Reserve
from grid.spill import Spill, read

FRAMES = [(n, b"frame %d" % n) for n in range(1, 6)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    spill = Spill(tmp_path / "events.held")
    for ts_ns, frame in FRAMES:
        spill.keep(ts_ns, frame)
    spill.flush()
    return tmp_path / "events.held"


def test_spill_gives_back_what_was_flushed(file: Path) -> None:
    assert list(read(file)) == FRAMES


def test_spill_without_a_file_gives_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path / "events.held")) == []


@pytest.mark.parametrize("lost_bytes", [1, 10, 20])
def test_spill_that_was_torn_gives_its_beginning(file: Path, lost_bytes: int) -> None:
    file.write_bytes(file.read_bytes()[:-lost_bytes])
    assert list(read(file)) == FRAMES[:-1]


def test_spill_that_was_altered_ends_there(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(b"frame 3")] ^= 1
    file.write_bytes(data)
    assert list(read(file)) == FRAMES[:2]


def test_spill_that_was_cleared_is_empty_and_goes_on(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "events.held")
    spill.keep(1, b"one")
    spill.flush()
    spill.clear()
    assert list(read(tmp_path / "events.held")) == []
    spill.keep(2, b"two")
    spill.clear()
    spill.keep(3, b"three")
    spill.flush()
    spill.sync()
    assert list(read(tmp_path / "events.held")) == [(3, b"three")]
    spill.close()
    assert not (tmp_path / "events.held").exists()


def test_reserve_takes_up_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    reserve.release()
    reserve.release()
    assert not (tmp_path / "reserve").exists()
