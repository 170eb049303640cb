"""What a grid's recorder has on disk, for a bridge that begins late or was away for long."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from grid import session
from grid.bridges.position import Position
from grid.session import Session

_SLACK_NS: Final = 60_000_000_000  # a session that ended so long before the mark's time is done


def frames(
    sessions: Path, grid: str, position: Position, saved_ns: int, prefixes: Sequence[str]
) -> Iterator[bytes]:
    """Yield the frames that a grid's sessions hold after a position, oldest first.

    A bridge without a position begins with the session that is being recorded.

    Args:
        sessions: the folder of all sessions.
        grid: its name, as in its config.
        position: what is done.
        saved_ns: when it was, UNIX ns.
        prefixes: of the topics.
    """
    for folder in sorted(p for p in sessions.glob("*") if p.is_dir()):
        manifest = session.read_manifest(folder)
        if manifest is None or manifest.config.get("name") != grid or manifest.origin:
            continue
        if not position and session.state(folder) != "recording":
            continue
        if manifest.ended_ns and manifest.ended_ns < saved_ns - _SLACK_NS:
            continue
        yield from recorded(folder, position, prefixes)


def recorded(path: Path, position: Position, prefixes: Sequence[str]) -> Iterator[bytes]:
    """Yield the frames that one session holds after a position.

    Args:
        path: of the session.
        position: what is done.
        prefixes: of the topics.
    """
    wanted = tuple(prefixes)
    for topic, envelope, _, payload in Session.open(path).records():
        key = (envelope.source, envelope.epoch, topic, envelope.seq)
        if topic.startswith(wanted) and not position.passed(*key):
            yield topic.encode() + b"\0" + payload
