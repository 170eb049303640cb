"""What a person does with recorded sessions: verify, cut, merge, export, replay."""

import base64
import itertools
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import msgspec
import pyarrow.csv
import pyarrow.parquet
import pytest
from mcap.reader import make_reader

import launch
from agents import parity
from grid import session, splice, transcript, wire
from grid.cutting import ALL, At, Span, part
from grid.errors import SessionError
from grid.eventfile import EventFile
from grid.session import Manifest, Session
from grid.verifying import Fault, verify
from grid.viewable import schema_of
from tests.bundles import make
from tests.support.bundles import home_with

BAR = wire.Bar("EUR/USD.SIM", "1-HOUR-ASK", 5, 1.1, 1.2, 1.0, 1.15, 3.0)
TOPIC = "md.EUR/USD.SIM.bar"


@pytest.fixture
def recorded(tmp_path):
    """A home, and the session of a champion and a shadow over 40 bars."""
    return home_with("accepted", tmp_path)


def run_of(path):
    (run,) = transcript.read(Session.open(path))
    return run


def events(run):
    return [event for _, event in run.events]


def frame(seq: int, topic: str = TOPIC, epoch: int = 1, event: wire.Event = BAR) -> bytes:
    return wire.pack(topic, "node", epoch, seq, epoch * 1_000 + seq, event)


def written(folder: Path, frames: list[tuple[int, bytes]], **changes: Any) -> Path:
    """A session of these frames, its manifest true unless changed."""
    folder.mkdir()
    file = EventFile(folder)
    for ts_ns, each in frames:
        file.write(ts_ns, each)
    file.close()
    told = file.told(Manifest(id=folder.name, state="recording", started_ns=1), 2)
    msgspec.structs.replace(told, **changes).write(folder)
    return folder


# -- verify ----------------------------------------------------------------------------------------


def test_verify_of_a_recorded_session_says_that_it_is_whole(recorded, capsys):
    home, path = recorded
    assert launch.main(["sessions", "verify", "latest", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert f"whole: {session.read_manifest(path).events:,} events in" in said
    assert session.read_manifest(path).sha256 in said


def beat(seq: int, high: int) -> bytes:
    told = wire.Heartbeat("node", "node", 1, "running", 1.0, {}, {TOPIC: high})
    return frame(seq, "sys.node", event=told)


FAULTS = {
    "a gap": ([(1, frame(1)), (2, frame(4))], "2 to 3 are missing before it"),
    "a twin": ([(1, frame(1)), (2, frame(1))], "it comes after 1: twice, or out of order"),
    "a reversal": ([(1, frame(1)), (2, frame(2)), (3, frame(1))], "it comes after 2"),
    "a loss at the end": ([(1, frame(1)), (2, beat(1, 3))], f"{TOPIC} 2 to 3 are missing"),
    "time that goes back": ([(5, frame(1)), (4, frame(2))], "arrived before the event in front"),
    "a wrong topic": ([(1, frame(1, "decision.S-1"))], "a Bar does not belong on this topic"),
    "no field at all": (
        [(1, TOPIC.encode() + b"\0" + msgpack.packb([1, "node", 1, 1, 1, ["bar"]]))],
        "undecodable frame",
    ),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_verify_names_the_first_fault(tmp_path, fault):
    frames, said = FAULTS[fault]
    with pytest.raises(Fault, match=said):
        verify(written(tmp_path / "x", frames))


def test_verify_finds_an_altered_file_and_an_untrue_manifest(recorded, tmp_path, capsys):
    home, path = recorded
    file = path / session.EVENTS
    data = bytearray(file.read_bytes())
    data[-100] ^= 1  # in the summary, which no reader of ours looks at
    file.write_bytes(data)
    assert launch.main(["sessions", "verify", "latest", "--home", str(home.root)]) == 1
    assert "fault: " in (said := capsys.readouterr().out)
    assert "with sha256" in said
    frames = [(1, frame(1))]
    for changes, told in (
        ({"events": 7}, "7 events expected, 1 found"),
        ({"version": 99}, "protocol version"),
        ({"state": "damaged", "damage": "disk full"}, "a complete session"),
    ):
        with pytest.raises(Fault, match=told):
            verify(written(tmp_path / told.replace(" ", "-"), frames, **changes))
    (tmp_path / "7-events-expected,-1-found" / session.MANIFEST).unlink()
    with pytest.raises(Fault, match="expected a manifest"):
        verify(tmp_path / "7-events-expected,-1-found")


def test_verify_takes_a_recording_that_began_late_for_whole_and_says_so(tmp_path):
    found = verify(written(tmp_path / "x", [(1, frame(5)), (2, frame(6))]))
    assert found.notes == (f"began before the recording: {TOPIC} of node, epoch 1, at 5",)


# -- cut and merge ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "since", "until"),
    [("accepted", 10, 20), ("accepted", 1, 2), ("accepted", None, 15), ("accepted", 30, None),
     ("quotes-slippage", 9, 21), ("paper", 15, 25), ("continuous", 12, 30)],
)  # fmt: skip
def test_cut_is_a_session_that_is_whole_and_replays_bit_for_bit(tmp_path, name, since, until):
    home, path = home_with(name, tmp_path)
    whole = run_of(path)
    span = Span(since, until)
    made = splice.cut(path, span, home.sessions)
    assert verify(made.folder).events == made.events
    cut = run_of(made.folder)
    assert events(cut) == events(part(whole, span))
    assert min(cut.decisions) == (since or 1)
    assert max(cut.decisions) == (until or max(whole.decisions))
    assert cut.missing == 0
    checks = parity.compare(cut, home)
    assert [c for c in checks if not c.equal] == []
    compared = {c.what: c.detail for c in checks}
    assert int(compared["orders: live = replay"].split()[0]) > 0
    assert ("by chance" in compared["fills: live = replay"]) == (name == "quotes-slippage")
    assert session.read_manifest(made.folder).origin == (path.name,)


def test_cut_by_time_takes_what_was_published_then(recorded):
    home, path = recorded
    whole = run_of(path)
    first, last = whole.published_ns[11], whole.published_ns[22]
    made = splice.cut(path, Span(At(first), At(last)), home.sessions)
    assert sorted(run_of(made.folder).decisions) == list(range(11, 22))


def test_cut_where_nothing_was_decided_says_what_there_is(recorded, capsys):
    home, path = recorded
    argv = ["sessions", "cut", "latest", "--from", "100", "--home", str(home.root)]
    assert launch.main(argv) == 2
    assert "expected decisions from 100, there are 1 to 40" in capsys.readouterr().err
    with pytest.raises(SessionError, match="from 2030-01-01 00:00:00 UTC"):
        part(run_of(path), Span(At(1_893_456_000 * 10**9)))
    assert [p.name for p in home.sessions.iterdir()] == [path.name]


def test_parts_that_overlap_are_merged_to_the_whole(recorded, capsys):
    home, path = recorded
    for ends in (["--to", "25"], ["--from", "12", "--to", "30"], ["--from", "28"]):
        argv = ["sessions", "cut", path.name, *ends, "--label", "part", "--home", str(home.root)]
        assert launch.main(argv) == 0
    parts = sorted(p.name for p in home.sessions.glob("*-part*"))
    argv = ["sessions", "merge", *reversed(parts), "--label", "whole", "--home", str(home.root)]
    assert launch.main(argv) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    (merged,) = home.sessions.glob("*-whole")
    assert ", 0 missing" in said
    assert int(said.split(" duplicates")[0].split()[-1].replace(",", "")) > 100
    verify(merged)
    assert events(run_of(merged)) == events(run_of(path))


def test_merge_of_parts_with_a_hole_between_them_says_what_is_missing(recorded):
    home, path = recorded
    first = splice.cut(path, Span(10, 15), home.sessions).folder
    last = splice.cut(path, Span(35, 38), home.sessions).folder
    made = splice.merge([first, last], home.sessions)
    assert made.missing > 50
    run = run_of(made.folder)
    assert sorted(run.before_hole().decisions) == list(range(10, 16))
    with pytest.raises(Fault, match="are missing before it"):
        verify(made.folder)


def test_merge_orders_what_one_recorder_fetched_late(tmp_path):
    early = written(tmp_path / "a", [(10, frame(1)), (40, frame(4)), (50, frame(5))])
    late = written(tmp_path / "b", [(60, frame(2)), (60, frame(3)), (60, frame(4))])
    made = splice.merge([early, late], tmp_path)
    assert (made.duplicates, made.missing) == (1, 0)
    found = [(envelope.seq, ts_ns) for _, envelope, ts_ns in Session.open(made.folder)]
    assert found == [(1, 10), (2, 40), (3, 40), (4, 40), (5, 50)]
    verify(made.folder)


def test_merge_of_sessions_of_two_grids_is_refused(tmp_path):
    one = written(tmp_path / "a", [(1, frame(1))])
    other = written(tmp_path / "b", [(1, frame(1, event=msgspec.structs.replace(BAR, open=2.0)))])
    with pytest.raises(SessionError, match=f"found another event as {TOPIC} 1 of node, epoch 1"):
        splice.merge([one, other], tmp_path / "sessions")
    assert list((tmp_path / "sessions").glob("*")) == []


# -- export ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_export_writes_the_tables_that_the_recording_holds(recorded, tmp_path, form, capsys):
    home, path = recorded
    run = run_of(path)
    argv = ["sessions", "export", "latest", "--format", form, "--out", str(tmp_path / "tables"),
            "--home", str(home.root)]  # fmt: skip
    assert launch.main(argv) == 0
    read = pyarrow.parquet.read_table if form == "parquet" else pyarrow.csv.read_csv
    tables = {
        name: read(tmp_path / "tables" / f"{name}.{form}").to_pylist()
        for name in ("decisions", "actions", "orders", "fills", "positions")
    }
    assert [row["decision"] for row in tables["decisions"]] == sorted(run.decisions)
    assert [row["target"] for row in tables["decisions"]] == [
        run.outcomes[seq].target for seq in sorted(run.decisions)
    ]
    assert len(tables["actions"]) == len(run.acted)
    assert all(row["latency_ns"] > 0 for row in tables["actions"])
    assert len(tables["orders"]) == len(run.orders)
    assert [(row["px"], row["qty"]) for row in tables["fills"]] == [
        (f.px, f.qty) for f in run.fills
    ]
    for before, after in itertools.pairwise(tables["positions"]):
        assert before["after_qty"] == after["before_qty"]
    assert launch.main(argv) == 2
    assert "expected no tables there" in capsys.readouterr().err


def test_recording_opens_in_the_formats_own_reader_and_keeps_to_its_schemas(recorded):
    _, path = recorded
    seen: set[str] = set()
    with (path / session.EVENTS).open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        statistics = reader.get_summary().statistics
        messages = list(reader.iter_messages(log_time_order=False))
    assert statistics.message_count == len(messages) == session.read_manifest(path).events
    for schema, channel, message in messages:
        assert (schema.encoding, channel.message_encoding) == ("jsonschema", "msgpack")
        envelope = msgpack.unpackb(message.data)
        kind = f"{channel.topic} {envelope[-1][0]}"
        if kind not in seen:
            seen.add(kind)
            checker = jsonschema.Draft202012Validator(msgspec.json.decode(schema.data))
            checker.check_schema(checker.schema)
            checker.validate(plain(envelope))
    assert len(seen) > 8


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def test_export_for_a_viewer_holds_objects_of_schemas_that_foxglove_takes(recorded, tmp_path):
    home, path = recorded
    file = tmp_path / "view.mcap"
    argv = ["sessions", "export", "latest", "--format", "foxglove", "--out", str(file),
            "--home", str(home.root)]  # fmt: skip
    assert launch.main(argv) == 0
    with file.open("rb") as opened:
        messages = list(make_reader(opened, validate_crcs=True).iter_messages())
    assert len(messages) == session.read_manifest(path).events
    fills, checked = [], set()
    for schema, channel, message in messages:
        assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
        found = msgspec.json.decode(message.data)
        if schema.name not in checked:
            checked.add(schema.name)
            told = msgspec.json.decode(schema.data)
            jsonschema.validate(found, told, cls=jsonschema.Draft202012Validator)
        if channel.topic == "exec.S-1/fill":
            fills.append((found["px"], found["qty"]))
    assert fills == [(f.px, f.qty) for f in run_of(path).fills]
    assert launch.main(argv) == 2  # nothing is overwritten


@pytest.mark.parametrize("kind", wire.Event.__value__.__args__)
def test_schema_for_a_viewer_is_an_object_of_plain_fields(kind):
    schema = schema_of(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    check_fields(schema, schema.get("$defs", {}))


def check_fields(schema: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Foxglove's rules: objects, typed fields, arrays of one type, references within."""
    for field in schema.get("properties", {}).values():
        if "$ref" in field:
            name = field["$ref"].removeprefix("#/$defs/")
            assert definitions[name]["type"] == "object"
            check_fields(definitions[name], definitions)
            continue
        assert field["type"] in ("string", "number", "integer", "boolean", "object", "array")
        assert not {"prefixItems", "anyOf", "oneOf"} & set(field)
        if field["type"] == "array":
            check_fields({"properties": {"items": field["items"]}}, definitions)


# -- replay ----------------------------------------------------------------------------------------


def test_replay_of_a_part_through_the_engine_is_equal(recorded, capsys):
    home, _ = recorded
    argv = ["replay", "latest", "--from", "10", "--to", "20", "--home", str(home.root)]
    assert launch.main(argv) == 0
    assert "actions: alpha = replay        11 compared" in capsys.readouterr().out


def test_replay_of_a_part_to_the_bus_goes_round_and_tells_what_was_sent(recorded, capsys):
    home, path = recorded
    argv = ["replay", "latest", "--to", "bus", "--from", "10", "--to", "20", "--speed", "0",
            "--loop", "3", "--home", str(home.root)]  # fmt: skip
    assert launch.main(argv) == 0
    said = capsys.readouterr().out
    assert "33 decisions in 3 rounds" in said
    assert "33 answered in time, 33 with the recorded target" in said
    rows = len(part(run_of(path), Span(10, 20)).market)
    assert "sent: 33 decision, " in said
    assert f"{3 * rows} md, " in said
    assert "0 dropped" in said


def test_replay_without_end_is_ended_by_ctrl_c_and_tells_what_was_sent(recorded, capsys):
    home, _ = recorded
    argv = ["replay", "latest", "--to", "bus", "--speed", "0", "--loop", "--home", str(home.root)]
    rounds = home.epochs / "replayer.epoch"

    def interrupt() -> None:
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s and not (
            rounds.exists() and int(rounds.read_text().split()[0]) >= 3
        ):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert launch.main(argv) == 0
    finally:
        thread.join()
    said = capsys.readouterr().out
    assert "interrupted: the rest was not sent" in said
    assert "rounds" in said


def test_replay_of_what_cannot_be_is_a_sentence(recorded, capsys):
    home, _ = recorded
    for words, told in (
        (["--loop"], "expected --to bus beside"),
        (["--to", "bus", "--to", "engine"], "expected --to once for the place"),
        (["--from", "soon"], "expected an ISO date"),
    ):
        try:
            code = launch.main(["replay", "latest", *words, "--home", str(home.root)])
        except SystemExit as e:
            code = e.code
        assert code == 2
        assert told in capsys.readouterr().err


def test_scenarios_of_several_runs_are_read_by_run(tmp_path):
    home, path = home_with("node-restarts", tmp_path)
    first, second = transcript.read(Session.open(path))
    assert part(first, ALL) is first
    cut = part(second, Span(min(second.decisions) + 2))
    assert cut.restored is not None
    assert [c for c in parity.compare(cut, home) if not c.equal] == []
    assert set(make.SCENARIOS)
