"""A session in tables of Apache Iceberg, in a catalog on disk."""

import itertools
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import launch
from grid import wire
from grid.bridges import compaction, iceberg
from grid.bridges.lakehouse import LakeSink
from grid.eventfile import EventFile
from grid.mender import Arrived
from grid.session import Session
from tests.support.iceberg_server import RestCatalog, needs_rest_catalog

TOPIC = "md.X.SIM.quote"


def frame(seq: int) -> bytes:
    quote = wire.Quote("X.SIM", seq, 1.0, 1.1, 5.0, 6.0)
    return wire.pack(TOPIC, "node", 1, seq, seq, quote)


def record(folder: Path, first: int, last: int) -> Session:
    folder.mkdir()
    file = EventFile(folder)
    for seq in range(first, last + 1):
        file.write(seq, frame(seq))
    file.close()
    return Session.open(folder)


@pytest.fixture
def catalog(tmp_path: Path) -> Any:
    where = {
        "type": "sql",
        "uri": f"sqlite:///{tmp_path}/catalog.db",
        "warehouse": f"file://{tmp_path}",
    }
    made = iceberg.catalog(where)
    yield made
    made.close()


def seqs(catalog: Any) -> list[int]:
    con = catalog.load_table("eurusd.quotes").scan().to_duckdb("quotes")
    assert isinstance(con, duckdb.DuckDBPyConnection)
    return [n for (n,) in con.sql("select topic_seq from quotes order by 1").fetchall()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sessions_that_overlap_are_in_the_tables_once_even_after_a_crash(
    catalog: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = record(tmp_path / "a", 1, 50), record(tmp_path / "b", 1, 80)
    assert iceberg.to_iceberg(first, catalog, "eurusd") == {"quotes": 50}
    assert iceberg.to_iceberg(first, catalog, "eurusd") == {"quotes": 0}
    monkeypatch.setattr(iceberg, "BATCH_ROWS", 10)
    say = iceberg._say
    commits = itertools.count()

    def dies(*args: Any) -> None:
        if next(commits) == 2:  # the rows are in the table, the position of all is not
            raise KeyboardInterrupt
        say(*args)

    monkeypatch.setattr(iceberg, "_say", dies)
    with pytest.raises(KeyboardInterrupt):
        iceberg.to_iceberg(second, catalog, "eurusd")
    monkeypatch.undo()
    assert seqs(catalog) == list(range(1, 81))
    assert iceberg.IcebergStore(catalog, "eurusd").position[0].seq == 70
    assert iceberg.to_iceberg(second, catalog, "eurusd") == {"quotes": 0}
    assert seqs(catalog) == list(range(1, 81))
    table = catalog.load_table("eurusd.quotes")
    with table.update_schema() as update:
        update.delete_column("history")  # as a table of an older version
    iceberg.to_iceberg(record(tmp_path / "c", 81, 90), catalog, "eurusd")
    found = pl.from_arrow(catalog.load_table("eurusd.quotes").scan().to_arrow())
    assert isinstance(found, pl.DataFrame)
    assert found.sort("topic_seq")["history"].to_list() == [None] * 80 + [False] * 10


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tables_are_compacted_while_others_append_and_no_row_is_lost_or_doubled(
    catalog: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [iceberg.IcebergStore(catalog, "eurusd", compact_files=5) for _ in range(2)]
    sinks = [LakeSink(store, flush_rows=10) for store in stores]
    events = list(record(tmp_path / "a", 1, 120))
    for i, (topic, envelope, _) in enumerate(events):
        for sink in sinks:  # two writers of the same events: each row is there once
            sink.put(Arrived(0, topic, envelope, b""))
        if i % 40 == 20:
            stores[0].compact("quotes")
    for sink in sinks:
        sink.close()
    assert seqs(catalog) == list(range(1, 121))
    write = compaction._dataframe_to_data_files

    def meanwhile(*args: Any) -> Any:
        monkeypatch.undo()
        sinks[0].put(Arrived(0, *wire.unpack(frame(121)), b""))
        sinks[0].flush()
        return write(*args)

    monkeypatch.setattr(compaction, "_dataframe_to_data_files", meanwhile)
    before, after = stores[1].compact("quotes")
    assert after == 1 < before
    assert stores[1].conflicts == 1
    assert stores[1].compact("quotes", 1) == (1, 1)
    assert seqs(catalog) == list(range(1, 122))
    table = catalog.load_table("eurusd.quotes")
    files = len(list(tmp_path.rglob("quotes/data/*.parquet")))
    assert files > 12  # of snapshots that a reader may go back to
    for seq in (122, 123):
        sinks[0].put(Arrived(0, *wire.unpack(frame(seq)), b""))
        sinks[0].flush()
    compaction.compact(table.refresh(), keep_s=-60.0)  # as in an hour
    assert len(list(tmp_path.rglob("quotes/data/*.parquet"))) == 1
    assert seqs(catalog) == list(range(1, 124))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_catalog_that_does_not_answer_is_waited_for(catalog: Any, tmp_path: Path) -> None:
    sink = LakeSink(iceberg.IcebergStore(catalog, "eurusd"), flush_rows=2)
    sink.put(Arrived(0, *wire.unpack(frame(1)), b""))
    away = tmp_path / "away.db"
    catalog.engine.dispose()
    (tmp_path / "catalog.db").rename(away)
    sink.put(Arrived(0, *wire.unpack(frame(2)), b""))
    assert sink.full
    catalog.engine.dispose()
    away.rename(tmp_path / "catalog.db")
    sink.turn(float("inf"))
    assert not sink.full
    assert seqs(catalog) == [1, 2]


@needs_rest_catalog
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rest_catalog_that_is_killed_has_each_row_once(tmp_path: Path) -> None:
    server = RestCatalog(tmp_path / "server")
    try:
        catalog = iceberg.catalog(server.properties)
        catalog.create_namespace_if_not_exists("bronze")
        store = iceberg.IcebergStore(catalog, "bronze.test")
        sink = LakeSink(store, flush_rows=5)
        for seq in range(1, 16):
            sink.put(Arrived(0, *wire.unpack(frame(seq)), b""))
        server.kill()
        for seq in range(16, 21):
            sink.put(Arrived(0, *wire.unpack(frame(seq)), b""))
        assert sink.full
        server.start()
        sink.turn(float("inf"))
        sink.close()
        assert store.compact("quotes") == (4, 1)
        again = iceberg.IcebergStore(iceberg.catalog(server.properties), "bronze.test")
        assert again.position[0].seq == 20
        rows = catalog.load_table("bronze.test.quotes").scan().to_arrow()
        assert sorted(rows["topic_seq"].to_pylist()) == list(range(1, 21))
    finally:
        server.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_command_exports_to_a_catalog_in_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a", 1, 5)
    out = tmp_path / "lake"
    export = ["sessions", "export", str(tmp_path / "a"), "--format", "iceberg", "--name", "eurusd"]
    assert launch.main([*export, "--out", str(out)]) == 0
    assert "5  eurusd.quotes" in capsys.readouterr().out
    where = {"type": "sql", "uri": f"sqlite:///{out}/catalog.db", "warehouse": out.as_uri()}
    made = iceberg.catalog(where)
    assert seqs(made) == [1, 2, 3, 4, 5]
    made.close()
