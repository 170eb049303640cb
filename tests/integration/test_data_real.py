"""Real files, as they are: the demo's, and those that lie beside the repository."""

import subprocess
import sys
from pathlib import Path

import pytest
from nautilus_trader.persistence import ParquetDataCatalog

from envs.data import demo
from envs.data.importer import import_file
from grid import instrument
from grid.dataset import Dataset, Quality, to_iso
from grid.errors import DataError
from grid.home import Home
from tests.support.sources import BARS, EURUSD, ROOT, save, shared


def declared(name: str) -> instrument.Instrument:
    return instrument.load(ROOT / "configs" / "instruments" / f"{name}.toml")


def test_demo_is_clean_and_complete(tmp_path: Path) -> None:
    home = Home(tmp_path)
    m = demo.import_demo(home)
    assert (m.name, m.rows, m.bar) == ("eurusd-1h-2017", 6_225, "1-HOUR-ASK")
    assert to_iso(m.start_ns) == "2017-01-01 23:00:00"  # close of the bar that opens at 22:00
    assert to_iso(m.end_ns) == "2017-12-29 22:00:00"
    q = m.quality
    assert q == Quality(rows_read=6_225, gaps=52, longest_gaps=q.longest_gaps)
    assert len(q.longest_gaps) == 10
    dataset = Dataset.find(home.datasets, m.name)
    dataset.verify()
    assert dataset.columns["close"][:3].tolist() == [1.05227, 1.05282, 1.05281]
    assert len(ParquetDataCatalog(str(dataset.path / "catalog")).query_bars()) == 6_225


def test_demo_that_is_there_is_not_imported_again(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = demo.import_demo(home)
    file = home.datasets / demo.NAME / "dataset.json"
    made = file.stat().st_ino
    assert demo.import_demo(home) == first
    assert file.stat().st_ino == made


def test_demo_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = demo.import_demo(home)
    file = home.datasets / demo.NAME / "columns" / "open.npy"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    assert demo.import_demo(home) == first
    Dataset.find(home.datasets, demo.NAME).verify()


def test_demo_does_not_take_the_place_of_other_data(tmp_path: Path) -> None:
    home = Home(tmp_path)
    import_file(save(tmp_path, BARS), EURUSD, name=demo.NAME, home=home)
    with pytest.raises(DataError, match="already"):
        demo.import_demo(home)


def test_demo_file_is_found_without_importing_its_package() -> None:
    code = "import sys; from envs.data import demo; demo.demo_file(); assert 'gymnasium' not in "
    command = [sys.executable, "-c", code + "sys.modules"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


def test_stock_of_more_decimals_than_its_tick_needs_repair(tmp_path: Path) -> None:
    path = demo.demo_file().with_name("STOCKS_GOOGL.csv")
    options = {"timestamp": "open", "bar": "1-DAY-LAST", "home": Home(tmp_path), "name": "googl"}
    with pytest.raises(DataError, match=r"GOOGL\.csv:2: open: expected a multiple of 0\.01"):
        import_file(path, declared("googl"), **options)  # type: ignore[arg-type]
    m = import_file(path, declared("googl"), repair=True, **options)  # type: ignore[arg-type]
    assert m.rows == m.quality.rows_read == 2_335
    assert m.quality.rounded > 2_000
    assert to_iso(m.start_ns) == "2009-05-23 00:00:00"


@pytest.mark.parametrize(
    ("file", "name", "bar", "rows", "gaps"),
    [
        ("btcusd_perp_1m_2022-01.csv", "btcusd-perp", "1-MINUTE-LAST", 45_031, 0),
        ("gbpusd_1m_bid_2012-02.csv", "gbpusd", "1-MINUTE-BID", 30_117, 4),
        ("gbpusd_1m_ask_2012-02.csv", "gbpusd", "1-MINUTE-ASK", 30_117, 4),
    ],
)
def test_shared_bars_import_clean(
    tmp_path: Path, file: str, name: str, bar: str, rows: int, gaps: int
) -> None:
    path = shared(file)
    home = Home(tmp_path)
    m = import_file(path, declared(name), name="x", home=home, bar=bar)
    assert m.quality == Quality(rows_read=rows, gaps=gaps, longest_gaps=m.quality.longest_gaps)
    columns = Dataset.find(home.datasets, "x").columns
    found = ParquetDataCatalog(str(home.datasets / "x" / "catalog")).query_bars()
    precision = m.instrument.price_precision
    assert [round(float(b.close), precision) for b in found] == columns["close"].tolist()
    assert [b.ts_event for b in found] == columns["ts_event"].tolist()


def test_shared_perpetual_on_a_coarser_tick_names_the_line_and_can_be_rounded(
    tmp_path: Path,
) -> None:
    path = shared("btcusd_perp_1m_2022-01.csv")
    coarse = instrument.CryptoPerpetual(
        id="BTCUSD-PERP.SIM", price_precision=0, base_currency="BTC", quote_currency="USD"
    )
    with pytest.raises(DataError, match=r":244: open: .* found '46821\.75'"):
        import_file(path, coarse, name="x", home=Home(tmp_path))
    m = import_file(path, coarse, name="x", home=Home(tmp_path), repair=True)
    assert (m.rows, m.quality.rounded) == (45_031, 13)


def test_shared_quotes_import_clean_with_the_default_size(tmp_path: Path) -> None:
    path = shared("usdjpy_quotes_2013-01.csv")
    home = Home(tmp_path)
    m = import_file(path, declared("usdjpy"), name="x", home=home, kind="quotes")
    assert m.quality == Quality(rows_read=1_000)
    assert "bid_qty, ask_qty: set to 1,000,000" in m.source
    found = ParquetDataCatalog(str(home.datasets / "x" / "catalog")).query_quote_ticks()
    columns = Dataset.find(home.datasets, "x").columns
    assert [round(float(q.bid_price), 3) for q in found] == columns["bid_px"].tolist()
    assert [q.ts_event for q in found] == columns["ts_event"].tolist()
