"""A lake's market data as a dataset: the engine trades on it as the session did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nautilus_trader.persistence import ParquetDataCatalog

import launch
from envs import rerun
from grid import transcript
from grid.bridges import iceberg
from grid.bridges.exporting import to_lake
from grid.dataset import Dataset
from grid.home import Home
from grid.session import Session
from tests.support.bundles import home_with

NAMES = ("accepted", "continuous", "quotes-slippage")  # bars, quotes; each order filled


def from_lake(home: Home, *argv: str) -> int:
    return launch.main(["data", "from-lake", *argv, "--name", "x", "--home", str(home.root)])


@pytest.mark.parametrize("name", NAMES)
def test_dataset_of_a_lake_gives_the_sessions_own_fills_in_the_engine(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, path = home_with(name, tmp_path)
    session = Session.open(path)
    run = transcript.read(session)[-1]
    to_lake(session, tmp_path / "lake")
    assert from_lake(home, str(tmp_path / "lake")) == 0, capsys.readouterr().err
    dataset = Dataset.find(home.datasets, "x")
    told = rerun.dataset_of(run)
    wanted = told.ticks or told
    assert dataset.manifest.fingerprint == wanted.manifest.fingerprint
    if not run.spec.bars_from:
        steps, fills = rerun.as_env(run, dataset)
        assert (steps, fills) == rerun.as_env(run)
        own = [f._replace(client_order_id="") for f in rerun.own_fills(run)]
        assert fills
        assert fills == own[: len(fills)]
    catalog: Any = ParquetDataCatalog(str(dataset.path / "catalog"))
    kept = catalog.query_bars() if dataset.manifest.kind == "bars" else catalog.query_quote_ticks()
    assert [row.ts_event for row in kept] == dataset.columns["ts_event"].tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_runs_of_a_lake_are_joined_and_can_be_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, path = home_with("node-restarts", tmp_path)
    session = Session.open(path)
    runs = transcript.read(session)
    to_lake(session, tmp_path / "lake")
    where = iceberg.catalog(iceberg.local(tmp_path / "iceberg"))
    iceberg.to_iceberg(session, where, "test")
    where.close()
    assert len(runs) > 1
    lake = str(tmp_path / "lake")
    assert from_lake(home, lake) == 0, capsys.readouterr().err
    joined = Dataset.find(home.datasets, "x")
    ts = joined.columns["ts_event"]
    assert np.all(np.diff(ts) > 0)
    assert set(ts) == {row.ts_event_ns for run in runs for row in run.rows}
    assert joined.manifest.quality.duplicates == sum(len(r.rows) for r in runs) - len(ts)
    assert from_lake(home, str(tmp_path / "iceberg"), "--namespace", "test", "--replace") == 0
    assert Dataset.find(home.datasets, "x").manifest.fingerprint == joined.manifest.fingerprint
    one = runs[0]
    assert from_lake(home, lake, "--run", f"{one.source}:{one.info.epoch}", "--replace") == 0
    ts = Dataset.find(home.datasets, "x").columns["ts_event"]
    assert ts.tolist() == [row.ts_event_ns for row in one.rows]
    capsys.readouterr()
    assert from_lake(home, lake, "--run", "node:99", "--replace") == 2
    assert "expected a strategy node 99, found" in capsys.readouterr().err
    assert from_lake(home, str(tmp_path / "no"), "--replace") == 2
    assert "expected a lake, found none" in capsys.readouterr().err
