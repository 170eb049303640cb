"""The file of a session while it grows: events in, MCAP out. Knows nothing of sockets."""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, get_args

import foxglove
import msgspec
from foxglove.mcap import MCAPWriteOptions

from grid import session, wire
from grid.durable import sync_folder
from grid.errors import ProtocolError, SessionError
from grid.session import BaseRecord, LostRecord, Manifest
from grid.streams import Gap, StreamTracker

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 128 * 1024


class _File:
    """The file below the MCAP writer, which reports errors to nobody: they are kept here.

    After the first error nothing more is written, so that what stands there stays readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self.size_bytes = 0
        self.hash = hashlib.sha256()
        self._file: BinaryIO = path.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says: being recorded

    def write(self, data: bytes | bytearray) -> int:
        if self.error is not None:
            raise self.error
        try:
            n = self._file.write(data)
        except OSError as e:
            self.error = e
            raise
        self.size_bytes += n
        self.hash.update(memoryview(data)[:n])
        return n

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def flush(self) -> None:
        """Nothing waits here; the MCAP writer calls this."""

    def sync(self) -> None:
        os.fdatasync(self._file.fileno())

    def shorten(self, size_bytes: int) -> None:
        os.ftruncate(self._file.fileno(), size_bytes)

    def close(self) -> None:
        self._file.close()


class EventFile:
    """Writes events to an MCAP file, one channel a topic and source. Knows nothing of sockets.

    Attributes:
        counts: topic -> events written.
        bad: frames that are not of this protocol; not written.
        tracker: of the streams as they came.
        flushed: events that a crash of this process can no longer take away.
        damage: why nothing is written any more, as in `disk full`; empty while all is well.
        unrecorded: events since then, and those that the disk refused.

    Args:
        folder: of the session.
    """

    def __init__(self, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.bad = 0
        self.flushed = 0
        self.damage = ""
        self.unrecorded = 0
        self._pending: Counter[str] = Counter()  # counts since the last flush
        self._whole_bytes = 0
        self._whole_hash = hashlib.sha256()
        self.tracker = StreamTracker()
        self._events = 0
        self._file = _File(folder / session.PART)
        self._context = foxglove.Context()
        self._channels: dict[tuple[str, str], foxglove.Channel] = {}
        self._writer = foxglove.open_mcap(
            self._file,
            context=self._context,
            writer_options=MCAPWriteOptions(
                profile="argonaut",
                chunk_size=CHUNK_BYTES,
                # chunks are put down whole; patching their heads later is what a crash would tear
                disable_seeking=True,
                # readers that seek, Foxglove's among them, refuse a file without
                emit_message_indexes=True,
                compression_threads=0,
            ),
        )
        self._lost = self._json_channel(session.LOST, LostRecord)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self._file.size_bytes

    @property
    def sha256(self) -> str:
        """Of the file."""
        return self._file.hash.hexdigest()

    @property
    def events(self) -> int:
        """Written, flushed or not."""
        return self._events

    def write(self, ts_ns: int, item: bytes | LostRecord) -> None:
        """Append a frame, or a loss, that arrived at `ts_ns`."""
        if isinstance(item, LostRecord):
            self._lost.log(msgspec.json.encode(item), log_time=ts_ns)
            return
        try:
            topic, envelope = wire.unpack(item)
        except ProtocolError:
            self.bad += 1
            return
        self.append(ts_ns, topic, envelope, item)

    def append(self, ts_ns: int, topic: str, envelope: wire.Envelope, frame: bytes) -> None:
        """Append an event that arrived at `ts_ns`, taken apart already."""
        if self.damage:
            self.unrecorded += 1
            return
        source, epoch = envelope.source, envelope.epoch
        verdict = self.tracker.saw(source, epoch, topic, envelope.seq)
        if verdict.missing:
            gap = Gap(source, epoch, topic, verdict.first_missing, verdict.last_missing)
            self._stream_lost(ts_ns, gap)
        channel = self._channels.get((topic, source)) or self._channel(topic, source)
        channel.log(frame[len(topic.encode()) + 1 :], log_time=ts_ns)
        self._pending[topic] += 1
        self._events += 1
        if (beat := heartbeat(topic, envelope)) is not None:
            for gap in self.tracker.heard(source, epoch, beat.streams):
                self._stream_lost(ts_ns, gap)

    def write_base(self, ts_ns: int, base: BaseRecord) -> None:
        """Write where a process stood at `ts_ns`, when a session begins in the middle of its run.

        It comes before the events of that process.
        """
        channel = self._json_channel(session.BASE, BaseRecord)
        channel.log(msgspec.json.encode(base), log_time=ts_ns)

    def flush(self) -> None:
        """Close the chunk that is being filled and put it into the file.

        Raises:
            SessionError: the disk refused it; `spoil` is what is left to be done.
        """
        if self.damage or self._events == self.flushed:
            return
        self._checked(self._writer.flush)
        self._all_is_whole()

    def sync(self) -> None:
        """Wait until the disk has what was flushed; may run beside the other methods.

        Raises:
            OSError: the disk refused it.
        """
        self._file.sync()

    def spoil(self, error: OSError) -> None:
        """Give up after an error of the disk: what was flushed stays, and nothing is added."""
        self.damage = damage_of(error)
        self.unrecorded += self._events - self.flushed
        self._events = self.flushed
        self._pending.clear()
        self._file.error = self._file.error or error
        self._file.hash = self._whole_hash
        with contextlib.suppress(OSError):
            self._file.shorten(self._whole_bytes)  # off with the torn chunk
        self._file.size_bytes = self._whole_bytes

    def close(self) -> None:
        """End the file and give it its final name; one that was spoiled keeps its own.

        Raises:
            SessionError: the disk refused it.
        """
        if self.damage:
            self._file.close()
            return
        self._checked(self._writer.close)
        self._all_is_whole()
        self._checked(self._file.sync)
        self._file.path.rename(self._file.path.with_name(session.EVENTS))
        sync_folder(self._file.path.parent)
        self._file.close()

    def told(self, manifest: Manifest, ended_ns: int, lost: int = 0) -> Manifest:
        """Return a manifest with what became of this file; `lost` are frames that never came here.

        Call it after `close` or `spoil`.
        """
        return msgspec.structs.replace(
            manifest,
            state="damaged" if self.damage else "complete",
            damage=self.damage,
            ended_ns=ended_ns,
            events=self.events,
            lost=self.tracker.missing + lost,
            counts=dict(self.counts),
            sha256=self.sha256,
            bytes=self.size_bytes,
        )

    def _all_is_whole(self) -> None:
        self.counts += self._pending
        self._pending.clear()
        self.flushed = self._events
        self._whole_bytes = self._file.size_bytes
        self._whole_hash = self._file.hash.copy()

    def _checked(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as e:
            self._file.error = self._file.error or e
        except RuntimeError:
            if self._file.error is None:
                raise
        if (error := self._file.error) is not None:
            raise SessionError(f"{self._file.path}: cannot be written: {error.strerror}") from error

    def _json_channel(self, topic: str, kind: type) -> foxglove.Channel:
        return foxglove.Channel(
            topic, schema=_schema(kind), message_encoding="json", context=self._context
        )

    def _channel(self, topic: str, source: str) -> foxglove.Channel:
        channel = foxglove.Channel(
            topic,
            schema=schema_of(topic),
            message_encoding=session.ENCODING,
            context=self._context,
            metadata={"source": source},
        )
        self._channels[topic, source] = channel
        return channel

    def _stream_lost(self, ts_ns: int, gap: Gap) -> None:
        log.warning("lost: %s", gap)
        record = LostRecord(
            cause="stream",
            frames=gap.last_missing - gap.first_missing + 1,
            source=gap.source,
            epoch=gap.epoch,
            topic=gap.topic,
            first=gap.first_missing,
            last=gap.last_missing,
        )
        self.write(ts_ns, record)


def damage_of(error: OSError) -> str:
    """Return in a word or two what is wrong with the disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk full"
    return (error.strerror or str(error)).lower()


def heartbeat(topic: str, envelope: wire.Envelope) -> wire.Heartbeat | None:
    """Return the heartbeat in an envelope, or None where there is none."""
    if not topic.startswith("sys."):
        return None
    try:
        event = wire.event(envelope)
    except ProtocolError:
        return None  # of a kind that only later versions know
    return event if isinstance(event, wire.Heartbeat) else None


_EVENTS: Final = get_args(wire.Event.__value__)
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "bar": (wire.Bar,),
    "quote": (wire.Quote,),
    "trade": (wire.Trade,),
    "depth": (wire.Depth,),
    "decision": (wire.Decision,),
    "sys": (wire.Heartbeat,),
    "exec": tuple(
        kind
        for kind in _EVENTS
        if kind not in (*get_args(wire.Row.__value__), wire.Decision, wire.Heartbeat)
    ),
    "event": _EVENTS,
}


def schema_of(topic: str) -> foxglove.Schema:
    """Return the JSON schema of a payload: the envelope, its body one of the topic's kinds."""
    head, _, _ = topic.partition(".")
    kind = topic.rpartition(".")[2] if head == "md" else head
    kind = kind if kind in _KINDS else "event"
    schema = msgspec.json.schema(wire.Envelope)
    bodies, definitions = msgspec.json.schema_components(
        _KINDS[kind], ref_template="#/$defs/{name}"
    )
    items: list[Any] = schema["$defs"]["Envelope"]["prefixItems"]
    items[-1] = {"anyOf": list(bodies)}
    schema["$defs"].update(definitions)
    return foxglove.Schema(
        name=f"argonaut.{kind}.v{wire.VERSION}",
        encoding="jsonschema",
        data=msgspec.json.encode(schema),
    )


def _schema(kind: type) -> foxglove.Schema:
    return foxglove.Schema(
        name=f"argonaut.{kind.__name__}.v{wire.VERSION}",
        encoding="jsonschema",
        data=msgspec.json.encode(msgspec.json.schema(kind)),
    )
