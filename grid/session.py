"""A session on disk: what a recorder wrote of one run of a grid.

    ID/session.json         the manifest
    ID/events.mcap          every event in the order of arrival; `.part` until closed cleanly
    ID/events.held          what waited for a hole to be filled when the recorder was killed

A message of the file is an event's payload, bit for bit, on a channel of its topic and source; its
log time is the time of arrival. An event that was lost on the bus and fetched later stands before
the next one of its stream, and has that one's time of arrival. docs/recording.md tells the rest.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from grid import spill, wire
from grid.chunks import ChunkReader
from grid.dataset import to_iso
from grid.durable import sync_folder
from grid.errors import ProtocolError, SessionError

EVENTS: Final = "events.mcap"
PART: Final = "events.mcap.part"
HELD: Final = "events.held"
MANIFEST: Final = "session.json"
ENCODING: Final = "msgpack"
LOST: Final = "recorder.lost"  # the channel of `LostRecord`
BASE: Final = "recorder.base"  # the channel of `BaseRecord`
_RECORDERS_OWN: Final = "recorder."


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


class BaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a process had come to where its recording was cut, as JSON on `recorder.base`.

    Attributes:
        source: the process, in its `epoch`.
        streams: topic -> sequence of the last event that was left out.
        market_topic: of the rows that it decides on.
        market_seq: rows up to here are from before the cut: history, on which nothing is decided.
        facts: events in MessagePack that say what was so, as if told at the cut.
    """

    source: str
    epoch: int
    streams: dict[str, int]
    market_topic: str = ""
    market_seq: int = 0
    facts: tuple[bytes, ...] = ()

    def told(self) -> list[wire.Event]:
        """Return the facts, decoded.

        Raises:
            ProtocolError: one is not an event.
        """
        bodies = (msgspec.Raw(fact) for fact in self.facts)
        return [wire.event(wire.Envelope(wire.VERSION, "", 0, 0, 0, body)) for body in bodies]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is; counts, size and hash are there once it has ended.

    Attributes:
        damage: why recording stopped before its end, as in `disk full`.
        config: of the grid, resolved.
        counts: topic -> events.
        sha256: of the events file, as is `bytes`.
        origin: ids of the sessions that this one was made of.
    """

    id: str
    state: Literal["recording", "complete", "damaged"]
    started_ns: int
    ended_ns: int = 0
    config_digest: str = ""
    versions: dict[str, str] = {}
    addresses: dict[str, str] = {}
    events: int = 0
    lost: int = 0
    counts: dict[str, int] = {}
    version: int = wire.VERSION
    damage: str = ""
    config: dict[str, Any] = {}
    sha256: str = ""
    bytes: int = 0
    origin: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write it into the session's folder, whole or not at all."""
        temp = folder / f".{MANIFEST}"
        with temp.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        temp.rename(folder / MANIFEST)
        sync_folder(folder)


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


type _Key = tuple[str, int, str, int]


class Session:
    """A recorded session, to be read from the start, as often as wanted.

    Attributes:
        path: the events file.
        manifest: None for a file without one.
        bad: messages that are not events of this protocol; skipped.
        lost: losses that the recorder saw and wrote down.
        bases: where processes stood when this session was cut out of another.
    """

    def __init__(self, path: Path, manifest: Manifest | None) -> None:
        self.path = path
        self.manifest = manifest
        self.bad = 0
        self.lost: list[LostRecord] = []
        self.bases: dict[tuple[str, int], BaseRecord] = {}
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
    def name(self) -> str:
        """Its id, or the name of a file that lies alone."""
        return self.manifest.id if self.manifest is not None else self.path.name

    @property
    def damage(self) -> str | None:
        """What is not whole, in one sentence; complete once all events were read."""
        found = list(self._reader.damage)
        if self.manifest is not None and self.manifest.damage:
            found.insert(0, f"recording stopped: {self.manifest.damage}")
        if self.bad:
            found.append(f"{self.bad} messages are not events of protocol {wire.VERSION}")
        return "; ".join(found) or None

    def __iter__(self) -> Iterator[tuple[str, wire.Envelope, int]]:
        """Yield (topic, envelope, time of arrival in UNIX ns), in the order of arrival."""
        for topic, envelope, ts_recv_ns, _ in self.records():
            yield topic, envelope, ts_recv_ns

    def records(self) -> Iterator[tuple[str, wire.Envelope, int, bytes]]:
        """Yield the same, each with its payload as it was received."""
        self.bad = 0
        self.lost.clear()
        self.bases.clear()
        held = self._held()
        decode = wire.envelope
        for channel, ts_recv_ns, data in self._reader:
            topic = channel.topic
            try:
                if topic.startswith(_RECORDERS_OWN) and topic in (LOST, BASE):
                    self._note(topic, data)
                    continue
                envelope = decode(data)
            except (ProtocolError, msgspec.MsgspecError):
                self.bad += 1
                continue
            if held:  # the recorder was killed between writing it and forgetting it
                held.pop(_key(topic, envelope), None)
            yield topic, envelope, ts_recv_ns, data
        yield from held.values()

    def _note(self, topic: str, data: bytes) -> None:
        if topic == LOST:
            self.lost.append(msgspec.json.decode(data, type=LostRecord))
        else:
            base = msgspec.json.decode(data, type=BaseRecord)
            self.bases[base.source, base.epoch] = base

    def _held(self) -> "dict[_Key, tuple[str, wire.Envelope, int, bytes]]":
        found: dict[_Key, tuple[str, wire.Envelope, int, bytes]] = {}
        for ts_ns, frame in spill.read(self.path.with_name(HELD)):
            topic, envelope = wire.unpack(frame)
            payload = frame[len(topic.encode()) + 1 :]
            found[_key(topic, envelope)] = (topic, envelope, ts_ns, payload)
        return found


def _key(topic: str, envelope: wire.Envelope) -> _Key:
    return envelope.source, envelope.epoch, topic, envelope.seq


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a session's folder, or None where it is missing or damaged."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def state(folder: Path) -> str:
    """Say what a session is.

    `complete`, still `recording`, `damaged` with the reason, or `interrupted` by a crash.
    """
    if (folder / EVENTS).is_file():
        return "complete"
    manifest = read_manifest(folder)
    if manifest is not None and manifest.state == "damaged":
        return f"damaged: {manifest.damage}"
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
