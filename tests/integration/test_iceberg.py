"""A session in tables of Apache Iceberg, in a catalog on disk."""

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import launch
from grid import wire
from grid.bridges import iceberg
from grid.eventfile import EventFile
from grid.session import Session

TOPIC = "md.X.SIM.quote"


def record(folder: Path, first: int, last: int) -> Session:
    folder.mkdir()
    file = EventFile(folder)
    for seq in range(first, last + 1):
        quote = wire.Quote("X.SIM", seq, 1.0, 1.1, 5.0, 6.0)
        file.write(seq, wire.pack(TOPIC, "node", 1, seq, seq, quote))
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
    commit, commits = iceberg._Table.commit, []

    def dies(self: Any) -> None:
        if len(commits) == 2:
            raise KeyboardInterrupt
        commits.append(commit(self))

    monkeypatch.setattr(iceberg._Table, "commit", dies)
    with pytest.raises(KeyboardInterrupt):
        iceberg.to_iceberg(second, catalog, "eurusd")
    monkeypatch.undo()
    assert seqs(catalog) == list(range(1, 71))
    assert iceberg.to_iceberg(second, catalog, "eurusd") == {"quotes": 10}
    assert seqs(catalog) == list(range(1, 81))
    table = catalog.load_table("eurusd.quotes")
    with table.update_schema() as update:
        update.delete_column("history")  # as a table of an older version
    iceberg.to_iceberg(record(tmp_path / "c", 81, 90), catalog, "eurusd")
    found = pl.from_arrow(catalog.load_table("eurusd.quotes").scan().to_arrow())
    assert isinstance(found, pl.DataFrame)
    assert found.sort("topic_seq")["history"].to_list() == [None] * 80 + [False] * 10


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
