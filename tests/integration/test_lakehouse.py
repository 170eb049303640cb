"""Events of a grid as tables: each once, whatever happens to the bridge."""

import itertools
import os
import signal
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from grid import wire
from grid.bridges import lake as lakes
from grid.bridges.exporting import to_lake
from grid.bridges.lake import Lake, read_manifest
from grid.bridges.lakehouse import LakeSink
from grid.bridges.position import Position
from grid.bridges.tables import arrow
from grid.bus import Addresses
from grid.errors import BridgeError
from grid.mender import Arrived
from grid.session import Session, find
from tests.support.disks import fill, small_disk
from tests.support.grids import LAUNCH, Grid
from tests.support.procs import Procs, until

__all__ = ["small_disk"]

TOPIC = "md.X.SIM.quote"
DAY_NS = 86_400_000_000_000


def quote(seq: int, day: int = 20_000) -> Arrived:
    event = wire.Quote("X.SIM", day * DAY_NS + seq, 1.0, 1.1, 5.0, 6.0)
    frame = wire.pack(TOPIC, "feed", 1, seq, seq, event)
    return Arrived(0, *wire.unpack(frame), frame)


def seqs(folder: Path, table: str = "quotes") -> list[int]:
    rows = duckdb.sql(f"select topic_seq from '{folder}/{table}/*/*.parquet' order by 1").fetchall()
    return [seq for (seq,) in rows]


def test_lake_reads_back_in_duckdb_and_polars_with_every_row(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        sink = LakeSink(lake, flush_rows=10)
        for seq in range(1, 26):
            sink.put(quote(seq, 20_000 + seq % 2))
        sink.close()
    assert seqs(tmp_path) == list(range(1, 26))
    found = duckdb.sql(
        f"select date, count(*), min(bid_px) from read_parquet('{tmp_path}/quotes/*/*.parquet',"
        " hive_partitioning = true) group by 1 order by 1"
    ).fetchall()
    assert [(str(day), n, px) for day, n, px in found] == [
        ("2024-10-04", 12, 1.0),
        ("2024-10-05", 13, 1.0),
    ]
    frame = pl.scan_parquet(tmp_path / "quotes", hive_partitioning=True).collect()
    assert sorted(frame["topic_seq"]) == list(range(1, 26))
    assert frame["ask_px"].unique().to_list() == [1.1]


@pytest.mark.parametrize("step", ["write", "show"])
def test_lake_after_a_crash_within_a_commit_has_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with Lake(tmp_path) as lake:
        sink = LakeSink(lake)
        sink.put(quote(1))
        sink.flush()
        sink.put(quote(2))
        sink.put(quote(3, 20_001))
        done = getattr(Lake, f"_{step}")
        calls = itertools.count()

        def dies(self: Lake, *args: object) -> object:
            if next(calls):
                raise KeyboardInterrupt
            return done(self, *args)

        monkeypatch.setattr(Lake, f"_{step}", dies)
        with pytest.raises(KeyboardInterrupt):
            sink.flush()
        monkeypatch.undo()
    with Lake(tmp_path) as lake:
        again = LakeSink(lake)
        kept = lake.manifest.position[0].seq
        assert kept == (1 if step == "write" else 3)
        assert seqs(tmp_path) == list(range(1, kept + 1))
        for seq in range(kept + 1, 5):
            again.put(quote(seq))
        again.close()
    assert seqs(tmp_path) == [1, 2, 3, 4]
    assert not list(tmp_path.rglob("*.new"))


def test_lake_compacted_keeps_every_row_in_one_file_a_partition(tmp_path: Path) -> None:
    with Lake(tmp_path) as lake:
        sink = LakeSink(lake, flush_rows=5)
        for seq in range(1, 31):
            sink.put(quote(seq))
        position = lake.manifest.position
        assert lake.compact() == (6, 1)
        assert lake.manifest.position == position
        with pytest.raises(BridgeError, match="another process writes"):
            Lake(tmp_path)
    assert seqs(tmp_path) == list(range(1, 31))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_lake_of_an_older_schema_is_read_and_compacted_with_the_new_column(
    tmp_path: Path,
) -> None:
    rows = [(TOPIC, q.envelope, wire.event(q.envelope)) for q in map(quote, (1, 2))]
    new = arrow("quotes", rows)
    position = Position()
    with Lake(tmp_path) as lake:
        lake.commit({"quotes": new.drop_columns(["history"]).slice(0, 1)}, position, 1)
        lake.commit({"quotes": new.slice(1)}, position, 2)
        query = f"from read_parquet('{tmp_path}/quotes/*/*.parquet', union_by_name = true)"
        sql = f"select topic_seq, history {query} order by 1"
        assert duckdb.sql(sql).fetchall() == [(1, None), (2, False)]
        lake.compact()
        assert duckdb.sql(sql).fetchall() == [(1, None), (2, False)]
    (file,) = tmp_path.rglob("*.parquet")
    assert pq.read_schema(file).names[-1] == "history"


def test_lake_on_a_full_disk_waits_for_room_and_then_has_every_row_once(small_disk: Path) -> None:
    with Lake(small_disk / "lake") as lake:
        sink = LakeSink(lake, flush_rows=2, flush_s=0.0)
        for seq in (1, 2):
            sink.put(quote(seq))
        filler = fill(small_disk)
        for seq in (3, 4):
            sink.put(quote(seq))
        assert (sink.full, sink.failures) == (True, 1)
        filler.unlink()
        until(lambda: sink.turn(1e12) or not sink.full, "the disk")
        sink.close()
    assert seqs(small_disk / "lake") == [1, 2, 3, 4]


def test_lake_with_a_damaged_manifest_says_so(tmp_path: Path) -> None:
    (tmp_path / lakes.MANIFEST).write_text("{")
    with pytest.raises(BridgeError, match="expected the manifest of a lake"):
        read_manifest(tmp_path)


def test_bridge_killed_while_it_writes_has_every_event_of_the_session_once(
    procs: Procs, addresses: Addresses, tmp_path: Path
) -> None:
    section = "[lakehouse]\nflush_s = 0.05\n"
    grid = Grid(tmp_path, addresses, feed={"speed": 40}, agents=section)
    up = grid.up(procs)
    folder = grid.home.lakes / "test"
    up.expect("ready bridge-lakehouse", 90.0)
    pid = grid.pid_of("bridge-lakehouse")
    until(lambda: read_manifest(folder).commit >= 1, "a commit")
    os.kill(pid, signal.SIGKILL)
    until(lambda: grid.pid_of("bridge-lakehouse") != pid, "its successor")
    assert up.wait(60) == 0
    path = find(grid.home.sessions, "latest")
    recorded = Counter(
        (e.source, e.epoch, topic, e.seq)
        for topic, e, _ in Session.open(path)
        if not topic.startswith("sys.")
    )
    tables = [p.name for p in folder.iterdir() if p.is_dir() and p.name != "positions"]
    assert {"bars", "quotes", "decisions", "outcomes", "actions", "orders", "fills"} <= {*tables}
    union = " union all ".join(
        f"select source, source_epoch, topic, topic_seq from '{folder}/{t}/*/*.parquet'"
        for t in tables
    )
    assert Counter(duckdb.sql(union).fetchall()) == recorded
    # a session that is in the lake already adds nothing to it
    assert not any(to_lake(Session.open(path), folder).values())
    compact = procs.python(
        LAUNCH, "bridge", "lakehouse", "--compact", "--config", grid.config, "--home",
        grid.home.root,
    )  # fmt: skip
    assert compact.wait() == 0, compact.text
    assert Counter(duckdb.sql(union).fetchall()) == recorded
    (run,) = grid.runs()
    fills = duckdb.sql(f"select trade_id, px from '{folder}/fills/*/*.parquet' order by topic_seq")
    assert fills.fetchall() == [(f.trade_id, f.px) for f in run.fills]
    for form, pattern in (("lake", "decisions/*/*.parquet"), ("feather", "decisions.feather")):
        out = tmp_path / form
        home = ("--home", grid.home.root)
        export = ("sessions", "export", "latest", "--format", form, "--out", out)
        exported = procs.python(LAUNCH, *export, *home)
        assert exported.wait() == 0, exported.text
        (files,) = out.glob(pattern)
        read = pl.read_parquet if form == "lake" else pl.read_ipc
        frame = read(files).sort("seq")
        assert frame["seq"].to_list() == sorted(run.decisions)
        mark_px = [run.decisions[seq].account.mark_px for seq in frame["seq"]]
        assert frame["account_mark_px"].to_list() == mark_px
