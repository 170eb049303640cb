"""A session on disk: what a recorder wrote of one run of a grid.

    ID/session.json         the manifest
    ID/events.mcap          every event in the order of arrival; `.part` until closed cleanly

A message of the file is an event's payload, bit for bit, on a channel of its topic and source; its
log time is the time of arrival. An event that was lost on the bus and fetched later stands before
the next one of its stream, and has that one's time of arrival.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from grid import wire
from grid.chunks import ChunkReader
from grid.dataset import to_iso
from grid.errors import ProtocolError, SessionError

EVENTS: Final = "events.mcap"
PART: Final = "events.mcap.part"
MANIFEST: Final = "session.json"
ENCODING: Final = "msgpack"
LOST: Final = "recorder.lost"  # the channel of `LostRecord`


class LostRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A loss, written in its place among the events, as JSON on the channel `recorder.lost`.

    `cause` is `stream` when the bus lost the sequences `first` to `last` of a stream, and `queue`
    when the recorder itself could not keep up and let `frames` go.
    """

    cause: Literal["stream", "queue"]
    frames: int
    source: str = ""
    epoch: int = 0
    topic: str = ""
    first: int = 0
    last: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is; counts are there once it is complete."""

    id: str
    state: Literal["recording", "complete"]
    started_ns: int
    ended_ns: int = 0
    config_digest: str = ""
    versions: dict[str, str] = {}
    addresses: dict[str, str] = {}
    events: int = 0
    lost: int = 0
    counts: dict[str, int] = {}  # topic -> events
    version: int = wire.VERSION

    def write(self, folder: Path) -> None:
        """Write it into the session's folder, whole or not at all."""
        temp = folder / f".{MANIFEST}"
        with temp.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        temp.rename(folder / MANIFEST)


def new_folder(sessions: Path, label: str, now_ns: int) -> Path:
    """Make the folder of a new session, named as in `20261124-061500-demo`."""
    start = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%d-%H%M%S")
    for n in range(1, 1_000):
        folder = sessions / (f"{start}-{label}" if n == 1 else f"{start}-{label}-{n}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise SessionError(f"{sessions}: expected a free name for {start}-{label}, found none")


class Session:
    """A recorded session, to be read from the start, as often as wanted.

    Attributes:
        path: the events file.
        manifest: None for a file without one.
        bad: messages that are not events of this protocol; skipped.
        lost: losses that the recorder saw and wrote down.
    """

    def __init__(self, path: Path, manifest: Manifest | None) -> None:
        self.path = path
        self.manifest = manifest
        self.bad = 0
        self.lost: list[LostRecord] = []
        self._reader = ChunkReader(path)

    @classmethod
    def open(cls, path: Path) -> "Session":
        """Open the session in folder `path`, or the MCAP file at `path`.

        Raises:
            SessionError: there is neither.
        """
        if path.is_file():
            return cls(path, None)
        for file in (path / EVENTS, path / PART):
            if file.is_file():
                return cls(file, read_manifest(path))
        raise SessionError(f"{path}: no session here, expected {EVENTS} or {PART}")

    @property
    def damage(self) -> str | None:
        """What is not whole, in one sentence; complete once all events were read."""
        found = list(self._reader.damage)
        if self.bad:
            found.append(f"{self.bad} messages are not events of protocol {wire.VERSION}")
        return "; ".join(found) or None

    def __iter__(self) -> Iterator[tuple[str, wire.Envelope, int]]:
        """Yield (topic, envelope, time of arrival in UNIX ns), in the order of arrival."""
        self.bad = 0
        self.lost.clear()
        decode = wire.envelope
        for channel, ts_recv_ns, data in self._reader:
            try:
                if channel.topic == LOST:
                    self.lost.append(msgspec.json.decode(data, type=LostRecord))
                    continue
                envelope = decode(data)
            except (ProtocolError, msgspec.MsgspecError):
                self.bad += 1
                continue
            yield channel.topic, envelope, ts_recv_ns


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a session's folder, or None where it is missing or damaged."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def state(folder: Path) -> str:
    """Say whether a session is `complete`, still `recording`, or was `interrupted`."""
    if (folder / EVENTS).is_file():
        return "complete"
    try:
        with (folder / PART).open("rb") as part:
            fcntl.flock(part, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "recording"
    except FileNotFoundError:
        return "empty"
    return "interrupted"


def info(path: Path) -> str:
    """Return a text about one session, read from end to end: what it holds, what it lacks."""
    session = Session.open(path)
    counts: Counter[str] = Counter()
    first_ns = last_ns = 0
    for topic, _, ts_recv_ns in session:
        counts[topic] += 1
        first_ns = min(first_ns or ts_recv_ns, ts_recv_ns)
        last_ns = max(last_ns, ts_recv_ns)
    seconds = (last_ns - first_ns) / 1e9
    manifest = session.manifest
    versions = " ".join(f"{k} {v}" for k, v in manifest.versions.items()) if manifest else ""
    lines = [
        f"session    {path.name}",
        f"state      {state(path) if path.is_dir() else 'a file'}",
        f"file       {session.path} ({session.path.stat().st_size:,} bytes)",
        f"events     {counts.total():,} in {seconds:,.1f} s",
        *([f"from       {to_iso(first_ns)} to {to_iso(last_ns)} UTC"] if first_ns else []),
        f"lost       {sum(r.frames for r in session.lost):,} in {len(session.lost)} places",
        f"damage     {session.damage or 'none'}",
        *([f"config     {manifest.config_digest}"] if manifest and manifest.config_digest else []),
        *([f"versions   {versions}"] if versions else []),
        "",
        f"{'events':>12}  {'per s':>10}  topic",
    ]
    for topic, n in sorted(counts.items()):
        lines.append(f"{n:>12,}  {n / seconds if seconds else 0.0:>10,.1f}  {topic}")
    return "\n".join(lines)


def find(sessions: Path, name: str) -> Path:
    """Return the session called `name`: an id in `sessions`, a path, or `latest`.

    Raises:
        SessionError: there is none; the message lists those there are.
    """
    known = sorted(p.name for p in sessions.glob("*") if (p / MANIFEST).is_file())
    if name == "latest" and known:
        return sessions / known[-1]
    for path in (sessions / name, Path(name)):
        if path.exists():
            return path
    there = ", ".join(known[-5:]) or "none yet"
    raise SessionError(f"no session {name!r} in {sessions}; the newest are: {there}")


def table(sessions: Path) -> str:
    """Return a table of the sessions in a folder, oldest first, without reading their events."""
    lines = [f"{'session':<32} {'state':<12} {'seconds':>9} {'events':>12} {'bytes':>14}"]
    for folder in sorted(p for p in sessions.glob("*") if p.is_dir()):
        manifest = read_manifest(folder)
        files = [f for f in (folder / EVENTS, folder / PART) if f.is_file()]
        seconds = events = "-"
        if manifest is not None and manifest.state == "complete":
            seconds = f"{(manifest.ended_ns - manifest.started_ns) / 1e9:,.1f}"
            events = f"{manifest.events:,}"
        size = f"{files[0].stat().st_size:,}" if files else "-"
        lines.append(f"{folder.name:<32} {state(folder):<12} {seconds:>9} {events:>12} {size:>14}")
    return "\n".join(lines) if len(lines) > 1 else f"no sessions in {sessions}"
