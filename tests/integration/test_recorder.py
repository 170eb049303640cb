"""The recorder as a process: what it keeps, whatever happens to it."""

import contextlib
import random
import sys
import time
from pathlib import Path

import msgspec
import pytest
import zmq

from grid import session, wire
from grid.bus import Addresses, Publisher, Requester, Subscriber, wait_until_flowing
from grid.errors import RecordingError
from grid.mender import PATIENCE_S
from grid.session import Session
from tests.support.disks import small_disk
from tests.support.procs import SERVE, Procs, until

type Context = zmq.Context[zmq.Socket[bytes]]

__all__ = ["small_disk"]

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.0, 1.0, 1.0, 1.0, 0.0)
TOPIC = "md.X.SIM.bar"


def only_session(folder: Path) -> Path:
    (found,) = (folder / "sessions").iterdir()
    return found


def bars(path: Path) -> list[int]:
    return [e.seq for topic, e, _ in Session.open(path) if topic == TOPIC]


def test_recorder_keeps_every_event_and_closes_its_session_on_sigterm(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    witness = Subscriber(context, addresses.events_out, ["md.", "sys.node"])
    publisher = Publisher(context, addresses.events_in, "node", 1, wait_s=10.0)
    wait_until_flowing(context, addresses, publisher, 10.0)
    until(lambda: publisher.heartbeat("running") and witness.recv(0.1), "a heartbeat")
    for _ in range(500):  # alone and in batches
        for _ in range(10):
            publisher.publish(TOPIC, BAR)
        publisher.publish_all(TOPIC, [BAR] * 30)
    frames: list[bytes] = []
    while len(frames) < 20_000:
        more = witness.frames(256, 10.0)
        assert more
        frames += [frame for frame in more if frame.startswith(b"md.")]
    assert recorder.stop() == 0
    folder = only_session(tmp_path)
    found = Session.open(folder)
    kept = [t.encode() + b"\0" + wire.encode(e) for t, e, _ in found if t == TOPIC]
    assert kept == frames
    assert found.damage is None
    assert found.lost == []
    assert found.manifest is not None
    assert found.manifest.state == "complete"
    assert found.manifest.counts[TOPIC] == 20_000
    assert not (folder / session.PART).exists()
    publisher.close()
    witness.close()


def test_recorder_killed_while_it_waits_for_what_is_missing_keeps_what_it_has(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    publisher = Publisher(context, addresses.events_in, "node", 1)
    wait_until_flowing(context, addresses, publisher, 10.0)
    publisher.publish(TOPIC, BAR)
    publisher.high[TOPIC] += 3  # as if the bus had lost three; nobody has them
    for _ in range(500):
        publisher.publish(TOPIC, BAR)
    folder = only_session(tmp_path)
    until(lambda: len(bars(folder)) == 501, "all to be in the files", PATIENCE_S)
    assert (folder / session.HELD).stat().st_size > 500 * 50
    recorder.kill()
    assert bars(folder) == [1, *range(5, 505)]
    publisher.close()


def test_recorder_that_comes_back_begins_a_session_of_its_own(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    procs.serve("record", addresses, tmp_path).kill()
    second = procs.serve("record", addresses, tmp_path)
    assert second.stop() == 0
    states = {session.state(f) for f in (tmp_path / "sessions").iterdir()}
    assert states == {"interrupted", "complete"}


def test_recorder_counts_and_writes_down_what_the_bus_lost(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    beats = Subscriber(context, addresses.events_out, ["sys.recorder"])
    publisher = Publisher(context, addresses.events_in, "node", 1)
    wait_until_flowing(context, addresses, publisher, 10.0)
    publisher.publish(TOPIC, BAR)
    publisher.high[TOPIC] += 3  # as if the bus had lost three
    publisher.publish(TOPIC, BAR)

    def told() -> bool:
        event = beats.recv(0.1)
        if event is None:
            return False
        beat = wire.event(event[1])
        return (
            isinstance(beat, wire.Heartbeat)
            and beat.counters.get("missing") == 3.0
            and beat.counters["synced"] >= 2.0
        )

    until(told, "a heartbeat with the loss")
    assert recorder.stop() == 0
    found = Session.open(only_session(tmp_path))
    assert len(list(found)) > 0
    assert [(r.topic, r.first, r.last) for r in found.lost] == [(TOPIC, 2, 4)]
    publisher.close()
    beats.close()


@pytest.mark.parametrize("limit", ["disk", "file"])
def test_recorder_whose_disk_is_full_says_so_and_keeps_what_was_written(
    procs: Procs,
    context: Context,
    addresses: Addresses,
    tmp_path: Path,
    limit: str,
    request: pytest.FixtureRequest,
) -> None:
    procs.serve("broker", addresses, tmp_path)
    if limit == "disk":
        home, said, shell = request.getfixturevalue("small_disk"), "disk full", 'exec "$@"'
    else:
        home, said, shell = tmp_path, "file too large", 'ulimit -f 300; exec "$@"'
    where = msgspec.json.encode(addresses).decode()
    serve = (sys.executable, SERVE, "record", where, home)
    recorder = procs.start("sh", "-c", shell, "sh", *serve, lifeline=True)
    recorder.ready()
    publisher = Publisher(context, addresses.events_in, "node", 1, wait_s=10.0)
    wait_until_flowing(context, addresses, publisher, 10.0)
    witness = Subscriber(context, addresses.events_out, ["md."])
    beats = Subscriber(context, addresses.events_out, ["sys.recorder"])
    until(lambda: publisher.publish(TOPIC, BAR) and witness.frames(1, 0.1), "the witness")
    noise = random.Random(1)
    beat = None

    def told() -> bool:
        nonlocal beat
        text = noise.randbytes(1_000).hex()
        publisher.publish(TOPIC, msgspec.structs.replace(BAR, bar=text))
        while (received := beats.recv(0.002)) is not None:
            beat = wire.event(received[1])
        return beat is not None and beat.state == f"damaged: {said}"

    until(told, "its heartbeat to tell")
    assert beat.counters["unrecorded"] > 0
    assert beat.counters["dropped"] >= beat.counters["unrecorded"]  # the column of `status`
    assert "recording has stopped, trading goes on" in recorder.text
    folder = only_session(home)
    assert session.state(folder) == f"damaged: {said}"
    assert session.read_manifest(folder).damage == said
    assert f"recording stopped: {said}" in session.info(folder)
    assert f"damaged: {said}" in session.table(folder.parent)
    kept = bars(folder)
    assert kept == [*range(1, len(kept) + 1)]
    assert len(kept) >= beat.counters["flushed"] * 0.5 > 0

    # the bus goes on, and so does the recorder's history
    seen = len(witness.frames(1_000_000, 1.0))
    last = publisher.publish(TOPIC, BAR)
    assert last - len(kept) > 0
    until(lambda: witness.frames(1, 0.1), "an event after it")
    assert seen > 0
    requester = Requester(context, addresses.requests)
    ask = wire.Fetch("history", "test", "node", 1, TOPIC, last, last)
    until(lambda: requester.send(ask) and _frames(requester), "an answer of the history")
    assert recorder.stop() == RecordingError.exit_code == 1
    assert f"{said}: " in recorder.text
    assert "events were not recorded" in recorder.text
    for end in (publisher, witness, beats, requester):
        end.close()


def test_recorder_that_finds_no_room_to_begin_ends_with_a_sentence(
    procs: Procs, addresses: Addresses, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    disk: Path = request.getfixturevalue("small_disk")
    (disk / "sessions").mkdir()
    with contextlib.suppress(OSError):
        (disk / "full").write_bytes(bytes(1 << 20))
    (tmp_path / "sessions").symlink_to(disk / "sessions")
    where = msgspec.json.encode(addresses).decode()
    recorder = procs.start(sys.executable, SERVE, "record", where, tmp_path, lifeline=True)
    assert recorder.wait() == RecordingError.exit_code
    assert "no session can begin: No space left on device" in recorder.text


def _frames(requester: Requester) -> bool:
    deadline_s = time.monotonic() + 0.1
    while time.monotonic() < deadline_s:
        if isinstance(requester.recv(), wire.Frames):
            return True
    return False


def test_recorder_beats_from_its_loop(procs: Procs, addresses: Addresses, tmp_path: Path) -> None:
    procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    recorder.beats()
    until(recorder.beats, "a beat", 5.0)
