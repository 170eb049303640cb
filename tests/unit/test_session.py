"""Sessions as the recorder writes them, whole and broken."""

import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from grid import session, wire
from grid.errors import SessionError
from grid.eventfile import EventFile
from grid.session import LostRecord, Manifest, Session
from grid.writer import FRAME_COST_BYTES, Queue

BAR = wire.Bar("EUR/USD.SIM", "1-HOUR-ASK", 5, 1.1, 1.2, 1.0, 1.15, 3.0)
TOPIC = "md.EUR/USD.SIM.bar"
EVENTS = 3_000
FLUSH_EVERY = 250


def frame(seq: int, topic: str = TOPIC, source: str = "node", epoch: int = 1) -> bytes:
    return wire.pack(topic, source, epoch, seq, 1_000 + seq, BAR)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete session of `EVENTS` bars in chunks of `FLUSH_EVERY`."""
    folder = session.new_folder(tmp_path_factory.mktemp("sessions"), "demo", 1_795_500_900 * 10**9)
    file = EventFile(folder)
    for seq in range(1, EVENTS + 1):
        file.write(10_000 + seq, frame(seq))
        if seq % FLUSH_EVERY == 0:
            file.flush()
    file.flush()
    file.close()
    manifest = Manifest(id=folder.name, state="complete", started_ns=10**9, ended_ns=3 * 10**9)
    msgspec.structs.replace(manifest, events=EVENTS).write(folder)
    return folder


def sequences(path: Path) -> tuple[list[int], str | None]:
    found = Session.open(path)
    return [envelope.seq for _, envelope, _ in found], found.damage


def test_session_gives_every_event_bit_for_bit_in_order(recorded: Path) -> None:
    found = Session.open(recorded)
    for seq, (topic, envelope, ts_recv_ns) in enumerate(found, start=1):
        assert topic.encode() + b"\0" + wire.encode(envelope) == frame(seq)
        assert ts_recv_ns == 10_000 + seq
    assert seq == EVENTS
    assert found.damage is None
    assert sequences(recorded) == ([*range(1, EVENTS + 1)], None)


def test_session_opens_in_the_formats_own_reader(recorded: Path) -> None:
    with (recorded / session.EVENTS).open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        messages = list(reader.iter_messages())
    assert summary is not None
    assert len(messages) == EVENTS
    # the format's TypeScript reader, which Foxglove uses, refuses chunks without message indexes
    assert len(summary.chunk_indexes) == EVENTS // FLUSH_EVERY
    assert all(chunk.message_index_offsets for chunk in summary.chunk_indexes)
    schema, channel, message = messages[0]
    assert schema is not None
    assert (schema.name, schema.encoding) == ("argonaut.bar.v1", "jsonschema")
    assert (channel.topic, channel.message_encoding) == (TOPIC, "msgpack")
    assert channel.metadata == {"source": "node"}
    assert message.data == frame(1).partition(b"\0")[2]
    fields = msgspec.json.decode(schema.data)["$defs"]["Bar"]["prefixItems"]
    assert len(fields) == 1 + len(wire.Bar.__struct_fields__)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 1))
def test_session_cut_anywhere_gives_its_beginning_and_says_so(
    recorded: Path, tmp_path: Path, share: float
) -> None:
    whole = (recorded / session.EVENTS).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(share * (len(whole) - 1))])
    found, damage = sequences(cut)
    assert found == [*range(1, len(found) + 1)]
    assert len(found) % FLUSH_EVERY == 0
    assert damage


def chunks(whole: bytes) -> list[tuple[int, int]]:
    """Return start and end of each chunk record."""
    found, pos = [], 8
    while pos < len(whole) - 8:
        opcode, length = struct.unpack_from("<BQ", whole, pos)
        if opcode == 6:
            found.append((pos, pos + 9 + length))
        pos += 9 + length
    return found


def zero(data: bytearray, start: int, end: int) -> None:
    data[start:end] = bytes(end - start)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data, start, end: zero(data, start, start + 9), "not readable"),
        (lambda data, start, end: zero(data, start + 60, start + 80), "not readable"),
        (lambda data, start, end: zero(data, start + 33, start + 37), None),  # no checksum: fine
        (lambda data, start, end: zero(data, end - 4, end), "not readable"),
        (lambda data, start, end: data.__delitem__(slice(start + 20, start + 30)), "not readable"),
    ],
)
def test_session_damaged_in_the_middle_loses_that_chunk_alone(
    recorded: Path, tmp_path: Path, spoil: Callable[[bytearray, int, int], None], said: str | None
) -> None:
    data = bytearray((recorded / session.EVENTS).read_bytes())
    start, end = chunks(bytes(data))[5]
    spoil(data, start, end)
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(data)
    found, damage = sequences(broken)
    lost = set(range(5 * FLUSH_EVERY + 1, 6 * FLUSH_EVERY + 1)) if said else set()
    assert found == sorted(set(range(1, EVENTS + 1)) - lost)
    assert (said or "") in (damage or "")


def test_session_skips_messages_of_another_protocol_and_counts_them(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.write(1, frame(1))
    file.write(2, b"no frame at all")
    file.write(3, frame(2))
    file.close()
    assert file.bad == 1
    assert sequences(tmp_path) == ([1, 2], None)


def test_session_holds_events_of_kinds_that_only_later_versions_know(tmp_path: Path) -> None:
    raw = msgspec.Raw(msgspec.msgpack.encode(["new_kind", 1, 2]))
    later = b"sys.x\0" + wire.encode(wire.Envelope(wire.VERSION, "x", 1, 1, 5, raw))
    file = EventFile(tmp_path)
    file.write(1, later)
    file.close()
    ((topic, envelope, _),) = Session.open(tmp_path)
    assert topic.encode() + b"\0" + wire.encode(envelope) == later


def test_session_holds_what_the_bus_lost_in_its_place(tmp_path: Path) -> None:
    beat = wire.Heartbeat("node", "node", 1, "running", 1.0, {}, {TOPIC: 9})
    file = EventFile(tmp_path)
    for seq in (1, 2, 5):
        file.write(seq, frame(seq))
    file.write(6, wire.pack("sys.node", "node", 1, 1, 6, beat))
    file.close()
    found = Session.open(tmp_path)
    assert len(list(found)) == 4
    assert [(r.cause, r.topic, r.first, r.last) for r in found.lost] == [
        ("stream", TOPIC, 3, 4),
        ("stream", TOPIC, 6, 9),
    ]
    assert "6 in 2 places" in session.info(tmp_path)


def test_two_sources_of_one_topic_stay_apart(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    for seq in (1, 2):
        for source in ("a", "b"):
            file.write(seq, frame(seq, source=source))
    file.close()
    assert [(e.source, e.seq) for _, e, _ in Session.open(tmp_path)] == [
        *(("a", 1), ("b", 1), ("a", 2), ("b", 2))
    ]
    assert file.tracker.missing == 0


def test_queue_beyond_its_bytes_counts_and_marks_the_loss() -> None:
    queue = Queue(limit_bytes=2 * (10 + FRAME_COST_BYTES))
    for ts_ns in range(5):
        queue.put(ts_ns, b"0123456789")
    assert queue.lost == 3
    assert queue.take() == (0, b"0123456789")
    queue.put(9, b"0123456789")
    taken = [queue.take() for _ in range(4)]
    assert taken == [
        (1, b"0123456789"),
        (9, LostRecord(cause="queue", frames=3)),
        (9, b"0123456789"),
        None,
    ]
    assert queue.size_bytes == 0


def test_recording_to_a_full_disk_is_an_error(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file._file._file.close()
    file._file._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    file.write(1, frame(1))
    with pytest.raises(SessionError, match="No space left"):
        file.flush()
    file._file.close()


def test_open_of_what_is_no_session_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="no session here"):
        Session.open(tmp_path)
    (tmp_path / "x.mcap").write_text("something else")
    with pytest.raises(SessionError, match="expected an MCAP file"):
        Session.open(tmp_path / "x.mcap")


def test_open_of_an_empty_file_gives_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / session.PART).touch()
    found, damage = sequences(tmp_path)
    assert found == []
    assert damage is not None


def test_new_folders_in_the_same_second_have_names_of_their_own(tmp_path: Path) -> None:
    now_ns = 1_795_500_900 * 10**9
    names = [session.new_folder(tmp_path, "demo", now_ns).name for _ in range(3)]
    assert names == ["20261124-061500-demo", "20261124-061500-demo-2", "20261124-061500-demo-3"]


def test_info_and_table_tell_what_a_session_holds(recorded: Path) -> None:
    text = session.info(recorded)
    assert f"{EVENTS:,} in" in text
    assert "damage     none" in text
    assert TOPIC in text
    lines = session.table(recorded.parent).splitlines()
    assert lines[1].split()[:4] == [recorded.name, "complete", "2.0", "3,000"]
    assert session.table(recorded / "none").startswith("no sessions in")


def test_state_of_a_part_file_tells_the_dead_from_the_living(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    assert session.state(tmp_path) == "recording"
    file._file.close()
    assert session.state(tmp_path) == "interrupted"
