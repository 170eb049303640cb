"""New sessions out of recorded ones: a part of one, or several as one."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from heapq import merge as merge_sorted
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from grid import cutting, session, transcript, wire
from grid.cutting import At, Span
from grid.errors import SessionError
from grid.eventfile import EventFile, heartbeat
from grid.session import BaseRecord, Manifest, Session
from grid.transcript import Transcript

_FLUSH_EVERY: Final = 5_000  # events
_RUNS_TOPICS: Final = ("md.", "decision.", "exec.")

type Key = tuple[str, int]  # a process in one epoch


class Record(NamedTuple):
    """An event as it stands in a session."""

    topic: str
    envelope: wire.Envelope
    ts_recv_ns: int
    payload: bytes

    @property
    def key(self) -> Key:
        """Whose it is."""
        return self.envelope.source, self.envelope.epoch


class Spliced(NamedTuple):
    """A new session, and what became of the events it was made of."""

    folder: Path
    events: int
    duplicates: int = 0
    missing: int = 0


# -- a part ----------------------------------------------------------------------------------------


def cut(path: Path, span: Span, sessions: Path, label: str = "") -> Spliced:
    """Write a part of a session as a session of its own.

    Of a span in decisions it is the newest run's; of a span in time, every run's that decides in
    it. Processes that are no node are in it from the first to the last of these events.

    Raises:
        SessionError: no decision lies in the span, or the session holds no run.
    """
    whole = Session.open(path)
    parts = {part.key: part for part in _parts(transcript.read(whole), span)}
    window = _window(whole, parts.values())
    kept = (r for r in _records(whole) if _is_kept(r, parts, window))
    bases = [part.base for part in parts.values() if part.base is not None]
    return _write(_named(path, label or "cut"), [whole], sessions, bases, kept)


class _Part(NamedTuple):
    key: Key
    base: BaseRecord | None
    upto: dict[str, int]  # topic -> last sequence
    first: tuple[str, int] | None  # place of the first event after the base
    after: tuple[str, int] | None  # place of the first event that is left out


class _Window(NamedTuple):
    start_ns: float
    stop_ns: float


def _parts(runs: list[Transcript], span: Span) -> list[_Part]:
    in_time = all(at is None or isinstance(at, At) for at in span)
    found: list[_Part] = []
    reasons: list[SessionError] = []
    for run in runs if in_time else runs[-1:]:
        try:
            start, stop = cutting.bounds(run, span)
        except SessionError as e:
            reasons.append(e)
            continue
        upto: dict[str, int] = {}
        for topic, seq in zip(run.topics[:stop], run.seqs[:stop], strict=True):
            upto[topic] = max(seq, upto.get(topic, 0))
        after = (run.topics[stop], run.seqs[stop]) if stop < len(run.topics) else None
        base = cutting.base_at(run, start)
        first = (run.topics[start], run.seqs[start]) if start else None
        found.append(_Part((run.source, run.info.epoch), base, upto, first, after))
    if not found:
        raise reasons[-1]
    return found


def _window(whole: Session, parts: Iterable[_Part]) -> _Window:
    """Return from when to when the events of the parts arrived."""
    firsts = {(part.key, part.first) for part in parts}
    afters = {(part.key, part.after) for part in parts}
    start_ns = [0.0] if any(first is None for _, first in firsts) else []
    stop_ns = [float("inf")] if any(after is None for _, after in afters) else []
    for topic, envelope, ts_recv_ns in whole:
        place = ((envelope.source, envelope.epoch), (topic, envelope.seq))
        if place in firsts:
            start_ns.append(ts_recv_ns)
        if place in afters:
            stop_ns.append(ts_recv_ns)
    return _Window(min(start_ns), max(stop_ns))


def _is_kept(record: Record, parts: dict[Key, _Part], window: _Window) -> bool:
    topic, seq = record.topic, record.envelope.seq
    part = parts.get(record.key)
    if topic.startswith(_RUNS_TOPICS):
        if part is None:
            return False
        after = part.base.streams.get(topic, 0) if part.base else 0
        return after < seq <= part.upto.get(topic, 0)
    if not window.start_ns <= record.ts_recv_ns < window.stop_ns:
        return False
    beat = heartbeat(topic, record.envelope) if part is not None else None
    if part is None or beat is None:
        return True
    # what it tells of came later than the end of this part
    told = {t: n for t, n in beat.streams.items() if t.startswith(_RUNS_TOPICS)}
    return all(n <= part.upto.get(t, 0) for t, n in told.items())


# -- several ---------------------------------------------------------------------------------------


def merge(paths: list[Path], sessions: Path, label: str = "") -> Spliced:
    """Write several sessions of one grid, or parts of one, as one session.

    Events of a process are in the order of publication, all in that of arrival; what stands in more
    than one is taken once. All of it is in memory meanwhile.

    Raises:
        SessionError: they are not of one grid: two different events claim the same place.
    """
    parts = [Session.open(path) for path in paths]
    found: dict[Key, dict[tuple[str, int], Record]] = {}
    bases: dict[Key, list[BaseRecord]] = {}
    duplicates = 0
    for part, path in zip(parts, paths, strict=True):
        for record in _records(part):
            known = found.setdefault(record.key, {})
            place = (record.topic, record.envelope.seq)
            earlier = known.setdefault(place, record)
            if earlier is record:
                continue
            duplicates += 1
            if earlier.payload != record.payload:
                raise SessionError(
                    f"{path}: expected a session of the same grid, found another event as "
                    f"{record.topic} {place[1]} of {record.key[0]}, epoch {record.key[1]}"
                )
            if record.ts_recv_ns < earlier.ts_recv_ns:
                known[place] = record
        for key, base in part.bases.items():
            bases.setdefault(key, []).append(base)
    needed = (_needed(some, found.get(key, {})) for key, some in bases.items())
    kept = [base for base in needed if base is not None]
    ordered = merge_sorted(
        *(_in_order(list(events.values())) for events in found.values()),
        key=lambda record: record.ts_recv_ns,
    )
    return _write(_named(paths[0], label or "merged"), parts, sessions, kept, ordered, duplicates)


def _needed(bases: list[BaseRecord], events: dict[tuple[str, int], Record]) -> BaseRecord | None:
    """Return the earliest base, if nothing of what it left out is there after all."""
    base = min(bases, key=lambda base: sum(base.streams.values()))
    known = any(seq <= base.streams.get(topic, 0) for topic, seq in events)
    return None if known else base


def _in_order(records: list[Record]) -> list[Record]:
    """Sort by publication; what was fetched late counts as arrived with what follows it."""
    records.sort(key=lambda record: record.envelope.ts_pub_ns)
    for i in range(len(records) - 2, -1, -1):
        if records[i].ts_recv_ns > records[i + 1].ts_recv_ns:
            records[i] = records[i]._replace(ts_recv_ns=records[i + 1].ts_recv_ns)
    return records


# -- the new one -----------------------------------------------------------------------------------


def _records(source: Session) -> Iterator[Record]:
    return (Record(*each) for each in source.records())


def _named(path: Path, label: str) -> str:
    return label if path.is_file() else f"{path.name[16:] or path.name}-{label}"


def _write(
    label: str,
    origins: list[Session],
    sessions: Path,
    bases: list[BaseRecord],
    records: Iterable[Record],
    duplicates: int = 0,
) -> Spliced:
    records = iter(records)
    first = next(records, None)
    if first is None:
        raise SessionError(f"{origins[0].path}: expected events, found none")
    with _folder(sessions, label, first.ts_recv_ns) as folder:
        file = EventFile(folder)
        for base in bases:
            file.write_base(first.ts_recv_ns, base)
        record = first
        for n, record in enumerate(chain([first], records), start=1):
            frame = record.topic.encode() + b"\0" + record.payload
            file.append(record.ts_recv_ns, record.topic, record.envelope, frame)
            if n % _FLUSH_EVERY == 0:
                file.flush()
        file.close()
        manifest = _manifest(folder.name, origins, first.ts_recv_ns)
        file.told(manifest, record.ts_recv_ns).write(folder)
    return Spliced(folder, file.events, duplicates, file.tracker.missing)


def _manifest(name: str, origins: list[Session], started_ns: int) -> Manifest:
    """What is so in all of them, and in the first where they differ."""
    known = [origin.manifest for origin in origins if origin.manifest is not None]
    first = known[0] if known else Manifest(id="", state="recording", started_ns=0)
    return msgspec.structs.replace(
        first,
        id=name,
        state="recording",
        started_ns=started_ns,
        damage="",
        origin=tuple(origin.name for origin in origins),
    )


@contextmanager
def _folder(sessions: Path, label: str, started_ns: int) -> Iterator[Path]:
    """A new session's folder, gone again if it does not become one."""
    folder = session.new_folder(sessions, label, started_ns)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
