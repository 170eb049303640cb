from pathlib import Path

import pytest

from grid.bookmark import Bookmark
from grid.playhead import Playhead


def load(file: Path | None) -> Playhead:
    head = Playhead(100)
    bookmark = Bookmark(file)
    bookmark.load(head)
    bookmark.close()
    return head


def test_bookmark_keeps_epoch_window_and_position(tmp_path: Path) -> None:
    file = tmp_path / "grids" / "g.feed"
    bookmark = Bookmark(file)
    head = Playhead(100)
    head.resume(3, None, 5)
    bookmark.save(head)
    assert load(file).window is None
    head.resume(7, 4, 42)
    bookmark.save(head)
    bookmark.close()
    found = load(file)
    assert (found.epoch, found.window, found.done, found.next) == (7, 4, 42, 42)


@pytest.mark.parametrize("kept", [b"", b"feed", b"x" * 28])
def test_bookmark_that_is_none_means_the_start(tmp_path: Path, kept: bytes) -> None:
    file = tmp_path / "g.feed"
    file.write_bytes(kept)
    assert load(file).next == 0
    assert load(None).next == 0
