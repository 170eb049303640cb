"""Files of market data as people have them, and instruments to read them with."""

import gzip
from pathlib import Path

import pytest

from grid.instrument import CurrencyPair, Future

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"

EURUSD = CurrencyPair(
    id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD"
)
ES = Future(
    id="ESH4.SIM",
    price_precision=2,
    tick_size=0.25,
    quote_currency="USD",
    underlying="ES",
    contract_size=50.0,
)

BARS = """\
timestamp,open,high,low,close,volume
2024-01-01 00:01:00,1.10000,1.10020,1.09990,1.10010,5
2024-01-01 00:02:00,1.10010,1.10030,1.10000,1.10020,6
2024-01-01 00:03:00,1.10020,1.10040,1.10010,1.10030,7
2024-01-01 00:04:00,1.10030,1.10050,1.10020,1.10040,8
"""
QUOTES = """\
timestamp,bid,ask,bid_size,ask_size
2024-01-01 00:00:00.000000001,1.10000,1.10010,100,200
2024-01-01 00:00:00.000000001,1.10001,1.10010,100,200
2024-01-01 00:00:00.000000002,1.10001,1.10010,100,200
"""
TRADES = """\
timestamp,price,size,side,trade_id
2024-01-01 00:00:00.1,1.10000,3,buy,17
2024-01-01 00:00:00.1,1.10000,3,buy,18
2024-01-01 00:00:00.2,1.10001,2,SELL,19
2024-01-01 00:00:00.3,1.10002,1,,20
"""


def save(folder: Path, text: str, name: str = "rows.csv") -> Path:
    """Write `text` to a file, compressed if its name says so."""
    path = folder / name
    content = text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def line(text: str, number: int, new: str) -> str:
    """Return `text` with its line `number`, counted from 1, replaced; an empty `new` removes it."""
    lines = text.splitlines()
    lines[number - 1 : number] = [new] if new else []
    return "\n".join(lines) + "\n"


def shared(name: str) -> Path:
    """Return a file of the real data beside the repository, or skip the test."""
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"real market data is not there: {path}")
    return path


def best(rows):
    """Best bid, its size, best ask, its size, of each row."""
    return [
        tuple(rows.columns[f][i][0] for f in ("bid_pxs", "bid_qtys", "ask_pxs", "ask_qtys"))
        for i in range(len(rows.columns["ts_event"]))
    ]
