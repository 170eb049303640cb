"""Events per second out of a recorded session.

events   a session played to the bus as fast as it goes, through a broker process to one
         decoding subscriber; beside ready frames of the same size, sent the same way
read     a session read from disk and decoded into a transcript; beside the reader of the
         `mcap` package over the same file, which decodes nothing
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from mcap.reader import NonSeekingReader

from agents.bench.bus import Server, system
from agents.bench.ends import TOPIC
from agents.bench.report import Row
from envs.synthetic import INSTRUMENT
from grid import transcript, wire
from grid.bus import Publisher, Responder, wait_until_flowing
from grid.eventfile import EventFile
from grid.replayer import Replayer
from grid.session import Session
from grid.spec import Spec, TargetRule
from grid.venue import Venue

EVENTS: Final = 60_000
ROUNDS: Final = 5
_STRATEGY: Final = "bench"


def run() -> list[Row]:
    """Measure; takes about twenty seconds.

    Raises:
        BusError: a process did not do its part in time, or events were lost.
    """
    with TemporaryDirectory(prefix="argonaut-") as name:
        folder = Path(name)
        _record(folder)
        read, plain = _reading(folder)
        played, ready = _playing(transcript.read(Session.open(folder))[0])
    return [
        Row.of("events", statistics.median(played), "events/s", statistics.median(ready)),
        Row.of("read", statistics.median(read), "events/s", statistics.median(plain)),
    ]


def _record(folder: Path) -> None:
    file = EventFile(folder)
    spec = Spec(
        instrument_id=INSTRUMENT.id, rows="quote", features=("spread",), mean=(0.0,), std=(1.0,),
        target=TargetRule(max_qty=1.0),
    )  # fmt: skip
    info = wire.StrategyInfo(
        strategy_id=_STRATEGY, epoch=1, spec=msgspec.json.encode(spec),
        instrument=msgspec.json.encode(INSTRUMENT), venue=msgspec.json.encode(Venue()),
        interval_ns=0, versions={},
    )  # fmt: skip
    file.write(0, wire.pack(f"exec.{_STRATEGY}", "node", 1, 1, 0, info))
    for seq in range(1, EVENTS + 1):
        quote = wire.Quote("X.SIM", seq * 1_000_000, 1.1, 1.2, 1e6, 1e6)
        file.write(seq, wire.pack(TOPIC, "node", 1, seq, seq * 1_000_000, quote))
    file.close()


def _reading(folder: Path) -> tuple[list[float], list[float]]:
    ours, plain = [], []
    file = Session.open(folder).path
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        (found,) = transcript.read(Session.open(folder))
        ours.append(len(found.events) / (time.perf_counter() - began_s))
        began_s = time.perf_counter()
        with file.open("rb") as stream:
            n = sum(1 for _ in NonSeekingReader(stream).iter_messages(log_time_order=False))
        plain.append(n / (time.perf_counter() - began_s))
    return ours, plain


def _playing(run: transcript.Transcript) -> tuple[list[float], list[float]]:
    played, ready = [], []
    with system(Server("serve"), "decode", 1, EVENTS) as bench:
        (receiver,) = bench.receivers
        publisher = Publisher(bench.context, bench.addresses.events_in, "replayer", 1, wait_s=10.0)
        responder = Responder(bench.context, bench.addresses.strategies)
        wait_until_flowing(bench.context, bench.addresses, publisher, 10.0)
        for n in range(ROUNDS + 1):
            began_ns = time.monotonic_ns()
            for _ in range(EVENTS):
                bench.sender.carry()
            frames = EVENTS / (receiver.line()[0] - began_ns) * 1e9
            replayer = Replayer(run, publisher, responder, champion="", ttl_s=1.0)
            began_ns = time.monotonic_ns()
            replayer.play(None)
            events = EVENTS / (receiver.line()[0] - began_ns) * 1e9
            if n:  # the first round warms up
                ready.append(frames)
                played.append(events)
        publisher.close()
        responder.close()
    return played, ready
