"""The recorder as a process: what it keeps, whatever happens to it."""

import random
import sys
import time
from pathlib import Path

import msgspec
import zmq

from grid import session, wire
from grid.bus import Addresses, Publisher, Subscriber, wait_until_flowing
from grid.errors import SessionError
from grid.session import Session
from tests.support.procs import SERVE, Procs, until

type Context = zmq.Context[zmq.Socket[bytes]]

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
    for n in range(20_000):
        publisher.publish(TOPIC, BAR, more=9 < n % 40 < 39)  # alone and in batches
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


def test_recorder_killed_at_a_thousand_events_a_second_loses_a_tenth_of_a_second(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    recorder = procs.serve("record", addresses, tmp_path)
    publisher = Publisher(context, addresses.events_in, "node", 1)
    wait_until_flowing(context, addresses, publisher, 10.0)
    start_s = time.monotonic()
    published_s = []
    while len(published_s) < 700:
        now_s = time.monotonic()
        if now_s - start_s >= len(published_s) / 1_000:
            publisher.publish(TOPIC, BAR)
            published_s.append(now_s)
    recorder.kill()
    killed_s = time.monotonic()
    folder = only_session(tmp_path)
    assert session.state(folder) == "interrupted"
    kept = bars(folder)
    assert kept == [*range(1, len(kept) + 1)]
    # what is older than the flush and the queue's idle time, with room for a busy machine
    safe = sum(at < killed_s - 0.3 for at in published_s)
    assert len(kept) >= safe > 0
    damage = "the file was not closed"
    assert damage in session.info(folder)
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
        return isinstance(beat, wire.Heartbeat) and beat.counters.get("missing") == 3.0

    until(told, "a heartbeat with the loss")
    assert recorder.stop() == 0
    found = Session.open(only_session(tmp_path))
    assert len(list(found)) > 0
    assert [(r.topic, r.first, r.last) for r in found.lost] == [(TOPIC, 2, 4)]
    publisher.close()
    beats.close()


def test_recorder_whose_disk_is_full_ends_loudly_and_keeps_what_was_written(
    procs: Procs, context: Context, addresses: Addresses, tmp_path: Path
) -> None:
    procs.serve("broker", addresses, tmp_path)
    limited = ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", sys.executable, SERVE, "record"]
    where = msgspec.json.encode(addresses).decode()
    recorder = procs.start(*limited, where, tmp_path, lifeline=True)
    recorder.ready()
    publisher = Publisher(context, addresses.events_in, "node", 1, wait_s=10.0)
    wait_until_flowing(context, addresses, publisher, 10.0)
    noise = random.Random(1)

    def ended() -> bool:
        for _ in range(200):
            text = noise.randbytes(200).hex()
            publisher.publish(TOPIC, msgspec.structs.replace(BAR, bar=text))
        return recorder.popen.poll() is not None

    until(ended, "its end")
    assert recorder.wait() == SessionError.exit_code
    witness = Subscriber(context, addresses.events_out, ["md."])
    beats = Subscriber(context, addresses.events_out, ["sys.recorder"])
    until(lambda: publisher.publish(TOPIC, BAR) and witness.frames(1, 0.1), "the witness")
    assert "events.mcap.part: cannot be written: File too large" in recorder.text
    kept = bars(only_session(tmp_path))
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
    assert recorder.stop() == SessionError.exit_code
    assert f"{said}: " in recorder.text
    assert "events were not recorded" in recorder.text
    for end in (publisher, witness, beats, requester):
        end.close()


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
