"""What is written is what the engine's own catalog gives back."""

from pathlib import Path

import numpy as np
import pytest
from nautilus_trader import model
from nautilus_trader.persistence import ParquetDataCatalog

from envs.data import catalog
from envs.data.importer import import_file
from grid import instrument
from grid.dataset import Columns, Dataset
from grid.errors import ConfigError, DataError
from grid.home import Home
from grid.instrument import CryptoPerpetual, CurrencyPair, Equity, Instrument
from grid.node.instruments import bar_type, to_engine
from tests.support.sources import BARS, ES, EURUSD, QUOTES, ROOT, TRADES, save

DECLARED = sorted((ROOT / "configs" / "instruments").glob("*.toml"))


def imported(home: Home, text: str, kind: str, declared: Instrument = EURUSD) -> Dataset:
    path = save(home.root, text)
    import_file(path, declared, name="x", home=home, kind=kind)  # type: ignore[arg-type]
    return Dataset.find(home.datasets, "x")


def reread(dataset: Dataset) -> ParquetDataCatalog:
    return ParquetDataCatalog(str(dataset.path / "catalog"))


def test_catalog_of_bars_gives_equal_bars_and_instrument(tmp_path: Path) -> None:
    dataset = imported(Home(tmp_path), BARS, "bars")
    found = reread(dataset).query_bars()
    c = dataset.columns
    for field in ("open", "high", "low", "close"):
        assert [round(float(getattr(bar, field)), 5) for bar in found] == c[field].tolist()
    assert [float(bar.volume) for bar in found] == c["volume"].tolist()
    assert [bar.ts_event for bar in found] == c["ts_event"].tolist()
    assert [bar.ts_init for bar in found] == c["ts_event"].tolist()
    assert {str(bar.bar_type) for bar in found} == {"EUR/USD.SIM-1-MINUTE-MID-EXTERNAL"}
    assert reread(dataset).instruments() == [to_engine(EURUSD)]


def test_catalog_of_quotes_gives_equal_quotes_in_order(tmp_path: Path) -> None:
    dataset = imported(Home(tmp_path), QUOTES, "quotes")
    found = reread(dataset).query_quote_ticks()
    c = dataset.columns
    assert [round(float(q.bid_price), 5) for q in found] == c["bid_px"].tolist()
    assert [round(float(q.ask_price), 5) for q in found] == c["ask_px"].tolist()
    assert [float(q.bid_size) for q in found] == c["bid_qty"].tolist()
    assert [float(q.ask_size) for q in found] == c["ask_qty"].tolist()
    assert [(q.ts_event, q.ts_init) for q in found] == [(t, t) for t in c["ts_event"].tolist()]


def test_catalog_of_trades_gives_equal_trades_in_order(tmp_path: Path) -> None:
    dataset = imported(Home(tmp_path), TRADES, "trades")
    found = reread(dataset).query_trade_ticks()
    side = {1.0: model.AggressorSide.BUY, -1.0: model.AggressorSide.SELL}
    c = dataset.columns
    assert [round(float(t.price), 5) for t in found] == c["price"].tolist()
    assert [float(t.size) for t in found] == c["qty"].tolist()
    assert [t.ts_event for t in found] == c["ts_event"].tolist()
    nobody = model.AggressorSide.NO_AGGRESSOR
    assert [t.aggressor_side for t in found] == [side.get(s, nobody) for s in c["side"].tolist()]


def test_catalog_written_in_chunks_gives_all_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "CHUNK_ROWS", 100)
    rng = np.random.default_rng(0)
    times = 1_700_000_000_000_000_000 + np.sort(rng.integers(0, 300, 2_000))  # many of one time
    bids = rng.integers(100_000, 110_000, 2_000) / 1e5
    rows = "".join(f"{t},{b},1.2\n" for t, b in zip(times, bids, strict=True))
    dataset = imported(Home(tmp_path), "ts,bid,ask\n" + rows, "quotes")
    found = reread(dataset).query_quote_ticks()
    assert [q.ts_event for q in found] == times.tolist()
    assert [round(float(q.bid_price), 5) for q in found] == bids.tolist()
    assert len(list((dataset.path / "catalog").rglob("*.parquet"))) > 10


def test_chunks_never_part_rows_of_one_time() -> None:
    ts = np.array([1, 1, 2, 3, 3, 3, 3, 4, 5])
    assert list(catalog.chunks(ts, 2)) == [(0, 2), (2, 7), (7, 9)]
    assert list(catalog.chunks(ts[:1], 2)) == [(0, 1)]


def test_import_tells_progress_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "CHUNK_ROWS", 3)
    told: list[tuple[int, int]] = []
    import_file(
        save(tmp_path, BARS),
        EURUSD,
        name="x",
        home=Home(tmp_path),
        progress=lambda done, rows: told.append((done, rows)),
    )
    assert told == [(3, 4), (4, 4)]


@pytest.mark.parametrize("path", DECLARED, ids=lambda p: p.stem)
def test_instrument_as_declared_is_one_of_the_engine(path: Path, tmp_path: Path) -> None:
    declared = instrument.load(path)
    made = to_engine(declared)
    assert str(made.id) == declared.id
    assert float(made.price_increment) == declared.tick
    assert made.price_precision == declared.price_precision
    assert float(made.multiplier) == declared.multiplier
    assert str(made.quote_currency) == declared.quote_currency
    assert float(made.margin_init) == declared.margin_init
    assert float(made.margin_maint) == declared.margin_maint
    (tmp_path / "c").mkdir()
    written = ParquetDataCatalog(str(tmp_path / "c"))
    written.write_instruments([made])
    assert written.instruments() == [made]


def test_instruments_declared_are_of_every_kind() -> None:
    kinds = {type(instrument.load(path)) for path in DECLARED}
    assert kinds == {CurrencyPair, CryptoPerpetual, type(ES), Equity}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            Equity(id="A.SIM", price_precision=1, tick_size=0.25, quote_currency="USD"),
            "tick_size 0.25 expected to have at most 1 decimals",
        ),
        (
            Equity(id="A.SIM", price_precision=2, size_precision=2, quote_currency="USD"),
            "size_precision 0 expected",
        ),
    ],
)
def test_instrument_that_the_engine_cannot_have_is_refused(
    declared: Instrument, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        to_engine(declared)
    with pytest.raises(ConfigError, match=said):
        import_file(tmp_path / "none.csv", declared, name="x", home=Home(tmp_path))


def test_bars_that_the_engine_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bars '7-MINUTE-ASK'"):
        bar_type("EUR/USD.SIM", "7-MINUTE-ASK")
    seven = "ts,o,h,l,c\n" + "".join(f"{1_700_000_000 + 420 * i},1,1,1,1\n" for i in range(3))
    with pytest.raises(ConfigError, match="bars '7-MINUTE-MID'"):
        imported(Home(tmp_path), seven, "bars")
    with pytest.raises(DataError, match="there are: none yet"):
        Dataset.find(Home(tmp_path).datasets, "x")


def test_columns_are_memory_mapped_and_fingerprinted(tmp_path: Path) -> None:
    dataset = imported(Home(tmp_path), BARS, "bars")
    columns: Columns = dataset.columns
    assert all(isinstance(values, np.memmap) for values in columns.values())
    dataset.verify()
    file = dataset.path / "columns" / "close.npy"
    changed = np.load(file)
    changed[2] += 1e-5
    np.save(file, changed)
    with pytest.raises(DataError, match="fingerprint"):
        Dataset.open(dataset.path).verify()
