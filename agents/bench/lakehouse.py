"""Rows per second into a lake, as the bridge writes them.

rows     frames of quotes through the bridge's follower and sink, committed and synced to disk;
         beside one call that writes the same columns, already gathered, as one file
rows_cpu the same by seconds of this process's CPU, which other work on the machine does not take
"""

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow.parquet as pq  # type: ignore[import-untyped]

from agents.bench.report import Row
from grid import wire
from grid.bridges.follower import Follower
from grid.bridges.lake import Lake
from grid.bridges.lakehouse import LakeSink
from grid.bridges.position import Position
from grid.bridges.tables import arrow

ROWS: Final = 300_000
ROUNDS: Final = 3
_TOPIC: Final = "md.EUR/USD.SIM.quote"
_START_NS: Final = 1_577_836_800_000_000_000


def run() -> list[Row]:
    """Measure; takes about ten seconds."""
    frames = [_frame(seq) for seq in range(1, ROWS + 1)]
    taken = [(topic, e, wire.event(e)) for topic, e in map(wire.unpack, frames)]
    table = arrow("quotes", taken)
    bridge, cpu, plain = [], [], []
    for _ in range(ROUNDS):
        with TemporaryDirectory(prefix="argonaut-") as name:
            wall_s, cpu_s = _bridged(Path(name) / "lake", frames)
            bridge.append(ROWS / wall_s)
            cpu.append(ROWS / cpu_s)
            started_s = time.perf_counter()
            pq.write_table(table, Path(name) / "plain.parquet", compression="zstd")
            plain.append(ROWS / (time.perf_counter() - started_s))
    baseline = statistics.median(plain)
    return [
        Row.of("rows", statistics.median(bridge), "rows/s", baseline),
        Row.of("rows_cpu", statistics.median(cpu), "rows/s", baseline),
    ]


def _frame(seq: int) -> bytes:
    px = 1.1 + seq % 1_000 / 1e5
    quote = wire.Quote("EUR/USD.SIM", _START_NS + seq * 1_000_000, px, px + 1e-5, 1e6, 1e6)
    return wire.pack(_TOPIC, "node", 1, seq, _START_NS + seq, quote)


def _bridged(folder: Path, frames: list[bytes]) -> tuple[float, float]:
    started_s, began_s = time.perf_counter(), time.process_time()
    with Lake(folder) as lake:
        sink = LakeSink(lake)
        follower = Follower("bench", Position(), ("md.",))
        for frame in frames:
            for event in follower.take(frame, 0.0):
                sink.put(event)
        sink.close()
        assert sink.rows == ROWS
    return time.perf_counter() - started_s, time.process_time() - began_s
