import fcntl
from pathlib import Path

from grid.gateway import disk
from grid.home import Home
from grid.session import PART, Manifest


def test_session_whose_recorder_was_killed_is_listed_as_interrupted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    folder = home.sessions / "20261124-061500-demo"
    folder.mkdir(parents=True)
    Manifest(
        id=folder.name, state="recording", started_ns=1, config_digest="", config={}, versions={},
        addresses={},
    ).write(folder)  # fmt: skip
    with (folder / PART).open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        assert [s.state for s in disk.sessions(home)] == ["recording"]
    assert [s.state for s in disk.sessions(home)] == ["interrupted"]
