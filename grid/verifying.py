"""Is a session whole and what it says it is? Every fault in one sentence, the first one first."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from grid import wire
from grid.errors import ProtocolError, SessionError
from grid.session import MANIFEST, Session, state
from grid.streams import Gap, StreamTracker

_BLOCK_BYTES: Final = 1 << 20
_RUNS_TOPICS: Final = ("md.", "decision.", "exec.")


class Verified(msgspec.Struct, frozen=True):
    """What was looked at.

    Attributes:
        events: in the file.
        streams: (source, epoch, topic) that they are of.
        sha256: of the file.
        notes: what is no fault and worth knowing.
    """

    events: int
    streams: int
    sha256: str
    notes: tuple[str, ...]


class Fault(Exception):
    """The first thing that is wrong."""


def verify(path: Path) -> Verified:
    """Look at everything in a session: hash, chunks, schema, order, gaps.

    Args:
        path: of a session's folder, or of an events file, of which there is nothing to compare.

    Raises:
        Fault: the first fault; the message says what, where, what was expected, what was found.
        SessionError: there is no session.
    """
    session = Session.open(path)
    sha256 = _hash_of(session.path)
    if path.is_dir():
        _check_manifest(session, path, sha256)
    if session.path.name.endswith(".part"):
        raise Fault(f"{session.path}: expected a session that was closed, found one {state(path)}")
    watch = _Watch(session)
    for topic, envelope, ts_recv_ns in session:
        watch.saw(topic, envelope, ts_recv_ns)
    if session.damage:
        raise Fault(f"{session.path}: {session.damage}")
    if session.lost:
        lost = [record for record in session.lost if not record.topic.startswith("sys.")]
        for record in lost[:1]:
            raise Fault(
                f"{session.path}: the recorder lost {record.frames} events"
                + (f" of {record.topic}, {record.first} to {record.last}" if record.topic else "")
            )
    manifest = session.manifest
    if manifest is not None and manifest.events != watch.events:
        raise Fault(f"{path / MANIFEST}: {manifest.events} events expected, {watch.events} found")
    return Verified(watch.events, len(watch.streams), sha256, tuple(watch.notes()))


def _check_manifest(session: Session, folder: Path, sha256: str) -> None:
    manifest = session.manifest
    if manifest is None:
        raise Fault(f"{folder / MANIFEST}: expected a manifest, found none that can be read")
    if manifest.version != wire.VERSION:
        raise Fault(
            f"{folder / MANIFEST}: protocol version {wire.VERSION} expected, found "
            f"{manifest.version}"
        )
    if manifest.state != "complete":
        raise Fault(f"{folder}: expected a complete session, found one {state(folder)}")
    size = session.path.stat().st_size
    if manifest.sha256 and (manifest.bytes, manifest.sha256) != (size, sha256):
        raise Fault(
            f"{session.path}: {manifest.bytes} bytes with sha256 {manifest.sha256[:12]} expected, "
            f"found {size} with {sha256[:12]}"
        )


class _Watch:
    """Looks at one event after the other."""

    def __init__(self, session: Session) -> None:
        self.events = 0
        self.streams: dict[tuple[str, int, str], int] = {}
        self._path = session.path
        self._session = session
        self._tracker = StreamTracker()
        self._arrived: dict[tuple[str, int], int] = {}
        self._late: list[str] = []  # streams that began before the recording

    def saw(self, topic: str, envelope: wire.Envelope, ts_recv_ns: int) -> None:
        """Take the next event.

        Raises:
            Fault: it cannot stand here.
        """
        self.events += 1
        source, epoch, seq = envelope.source, envelope.epoch, envelope.seq
        where = f"{self._path}: event {self.events}, {topic} {seq} of {source}, epoch {epoch}"
        try:
            event = wire.event(envelope)
        except ProtocolError as e:
            raise Fault(f"{where}: {e}") from e
        if not _belongs(topic, event):
            raise Fault(f"{where}: a {type(event).__name__} does not belong on this topic")
        if ts_recv_ns < self._arrived.get((source, epoch), 0):
            raise Fault(f"{where}: it arrived before the event in front of it")
        self._arrived[source, epoch] = ts_recv_ns
        self._check_sequence(topic, envelope, where)
        if isinstance(event, wire.Heartbeat):
            self._check_streams(event, source, epoch, where)

    def notes(self) -> Iterator[str]:
        """Say what is no fault."""
        for base in self._session.bases.values():
            yield f"cut: {base.source}, epoch {base.epoch}, goes on from an earlier part"
        for stream in self._late:
            yield f"began before the recording: {stream}"
        heartbeats = self._tracker.missing
        if heartbeats:
            yield f"{heartbeats} heartbeats are missing; nobody keeps them"

    def _check_sequence(self, topic: str, envelope: wire.Envelope, where: str) -> None:
        source, epoch, seq = envelope.source, envelope.epoch, envelope.seq
        stream = (source, epoch, topic)
        last = self.streams.get(stream)
        if last is not None and seq <= last:
            raise Fault(f"{where}: it comes after {last}: twice, or out of order")
        self.streams[stream] = seq
        verdict = self._tracker.saw(source, epoch, topic, seq)
        if topic.startswith("sys."):
            return
        if last is not None and seq > last + 1:
            raise Fault(f"{where}: {last + 1} to {seq - 1} are missing before it")
        base = self._session.bases.get((source, epoch))
        first = base.streams.get(topic, 0) + 1 if base else 1
        if last is None and seq != first:
            if base is not None or verdict.kind == "new_epoch":
                raise Fault(f"{where}: {first} to {seq - 1} are missing before it")
            self._late.append(f"{topic} of {source}, epoch {epoch}, at {seq}")

    def _check_streams(self, beat: wire.Heartbeat, source: str, epoch: int, where: str) -> None:
        told = {t: n for t, n in beat.streams.items() if t.startswith(_RUNS_TOPICS)}
        gaps: list[Gap] = self._tracker.heard(source, epoch, told)
        for gap in gaps:
            raise Fault(f"{where}: {gap.topic} {gap.first_missing} to {gap.last_missing} are "
                        f"missing before it")  # fmt: skip


def _belongs(topic: str, event: wire.Event) -> bool:
    head = topic.partition(".")[0]
    if isinstance(event, wire.Heartbeat):
        return head == "sys"
    if isinstance(event, wire.Decision):
        return head == "decision"
    if head == "md":
        return str(event.__struct_config__.tag) == topic.rpartition(".")[2]
    return head == "exec" or head not in ("sys", "decision")


def _hash_of(file: Path) -> str:
    found = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                found.update(block)
    except OSError as e:
        raise SessionError(f"{file}: cannot be read: {e.strerror}") from e
    return found.hexdigest()
