"""Files in DBN: a book by order or by price, and the trades in it; what is refused."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from envs.data.dbn import MBO, NO_PRICE, SCHEMAS
from envs.data.importer import import_all
from envs.data.read import read
from envs.data.read_deltas import read_deltas
from envs.data.read_depth import read_depth
from grid.dataset import Dataset
from grid.errors import DataError
from grid.home import Home
from tests.support.sources import ES, best


def dbn(folder: Path, records, version: int = 3, meta: bytes = b"m" * 100) -> Path:
    """A file of DBN with records of (time, action, side, price, size, order id, flags)."""
    rows = np.zeros(len(records), MBO)
    rows["length"], rows["rtype"], rows["instrument"] = 14, 160, 7
    for row, (ts, action, side, price, size, order_id, flags) in zip(rows, records, strict=True):
        row["ts_event"], row["ts_recv"] = ts - 5, ts
        row["action"], row["side"] = ord(action), ord(side)
        row["price"], row["size"] = round(price * 1e9), size
        row["order_id"], row["flags"] = order_id, flags
    head = b"DBN" + bytes([version]) + struct.pack("<I", len(meta)) + meta
    path = folder / "x.dbn.zst"
    path.write_bytes(pa.compress(head + rows.tobytes(), "zstd", asbytes=True))
    return path


TS = 1704067200000000000
RECORDS = [
    (TS + 1, "A", "B", 4000.0, 5, 11, 0),
    (TS + 1, "A", "A", 4000.5, 4, 12, 128),
    (TS + 2, "T", "B", 4000.5, 1, 0, 0),
    (TS + 2, "F", "A", 4000.5, 1, 12, 0),
    (TS + 2, "C", "A", 4000.5, 1, 12, 128),
    (TS + 3, "C", "A", 4000.5, 1, 12, 128),
    (TS + 4, "M", "B", 3999.75, 5, 11, 128),
    (TS + 5, "A", "A", 4000.5, 2, 13, 128),
    (TS + 6, "C", "A", 4000.5, 2, 12, 128),
]


def test_dbn_gives_orders_and_what_is_left_of_them(tmp_path: Path) -> None:
    rows = read_deltas(dbn(tmp_path, RECORDS), ES, every="1", levels=1)
    assert rows.book == "L3"
    assert rows.note == "2 trades and fills left out"
    assert best(rows) == [
        (4000.0, 5.0, 4000.5, 4.0),
        (4000.0, 5.0, 4000.5, 3.0),
        (4000.0, 5.0, 4000.5, 2.0),
        (3999.75, 5.0, 4000.5, 2.0),
        (3999.75, 5.0, 4000.5, 4.0),
        (3999.75, 5.0, 4000.5, 2.0),
    ]
    assert rows.events["action"].tolist() == [1, 1, 2, 2, 2, 1, 3]


def test_dbn_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected DBN of version 1 to 3, found version 9"):
        read_deltas(dbn(tmp_path, RECORDS, version=9), ES)
    path = dbn(tmp_path, RECORDS)
    raw = bytearray(pa.decompress(path.read_bytes(), 8 + 100 + 9 * 56, "zstd", asbytes=True))
    path.write_bytes(raw[:-7])
    with pytest.raises(DataError, match="expected whole records of mbo, found 497 bytes"):
        read_deltas(path, ES)
    raw[108 + 56 + 1] = 10
    path.write_bytes(raw)
    with pytest.raises(DataError, match="record 2: expected one schema, mbo, found record type 10"):
        read_deltas(path, ES)
    raw[108 + 56 + 1], raw[108 + 56 + 4] = 160, 8
    path.write_bytes(raw)
    with pytest.raises(DataError, match="expected one instrument, found 2: numbers 7, 8"):
        read_deltas(path, ES)
    with pytest.raises(DataError, match=r"no\.dbn: cannot be read: No such file"):
        read_deltas(tmp_path / "no.dbn", ES)


def by_price(folder: Path, levels: int, records) -> Path:
    """A file of mbp with records of (time, action, side, price, size, bids, asks)."""
    rows = np.zeros(len(records), SCHEMAS[levels][1])
    rows["length"], rows["rtype"], rows["instrument"] = rows.itemsize // 4, levels, 7
    for side in ("bid", "ask"):
        rows["levels"][f"{side}_px"] = NO_PRICE
    for row, (ts, action, side, price, size, *book) in zip(rows, records, strict=True):
        row["ts_event"], row["ts_recv"] = ts - 5, ts
        row["action"], row["side"] = ord(action), ord(side)
        row["price"], row["size"] = round(price * 1e9), size
        for name, found in zip(("bid", "ask"), book, strict=True):
            for i, (px, qty) in enumerate(found):
                row["levels"][i][f"{name}_px"] = round(px * 1e9)
                row["levels"][i][f"{name}_size"] = qty
    head = b"DBN" + bytes([3]) + struct.pack("<I", 4) + b"meta"
    path = folder / f"mbp{levels}.dbn"
    path.write_bytes(head + rows.tobytes())
    return path


BEST = [(4000.0, 5), (3999.75, 2)]
BOOK = [
    (TS + 1, "A", "B", 4000.0, 5, BEST, [(4000.5, 4)]),
    (TS + 2, "T", "B", 4000.5, 1, BEST, [(4000.5, 4)]),
    (TS + 2, "C", "A", 4000.5, 1, BEST, [(4000.5, 3)]),
    (TS + 3, "T", "A", 4000.0, 5, BEST, [(4000.5, 3)]),
    (TS + 3, "C", "B", 4000.0, 5, BEST[1:], [(4000.5, 3)]),
    (TS + 4, "C", "A", 4000.5, 3, BEST[1:], []),
]


def trades(rows):
    """Time, price, quantity and side of each."""
    columns = [rows.columns[f].tolist() for f in ("ts_event", "price", "qty", "side")]
    return list(zip(*columns, strict=True))


def test_dbn_by_order_gives_its_trades_told_of_who_took(tmp_path: Path) -> None:
    twice = [*RECORDS[:3], RECORDS[2], *RECORDS[3:]]  # of one time, price and size: two trades
    rows = read(dbn(tmp_path, twice), ES, kind="trades")
    assert trades(rows) == [(TS + 2, 4000.5, 1.0, 1.0)] * 2


def test_dbn_by_price_gives_depth_quotes_and_trades(tmp_path: Path) -> None:
    path = by_price(tmp_path, 10, BOOK)
    rows = read_depth(path, ES, levels=2)
    assert rows.columns["ts_event"].tolist() == [TS + 1, TS + 2, TS + 3]
    assert rows.columns["bid_pxs"].tolist() == [[4000.0, 3999.75]] * 2 + [[3999.75, 3999.75]]
    assert rows.columns["bid_qtys"].tolist() == [[5.0, 2.0]] * 2 + [[2.0, 0.0]]
    assert rows.columns["ask_qtys"].tolist() == [[4.0, 0.0], [3.0, 0.0], [3.0, 0.0]]
    assert rows.quality.one_sided == 1
    taken = [(TS + 2, 4000.5, 1.0, 1.0), (TS + 3, 4000.0, 5.0, -1.0)]
    assert trades(read(path, ES, kind="trades")) == taken
    path = by_price(tmp_path, 1, [(*r[:5], r[5][:1], r[6]) for r in BOOK])
    quotes = read(path, ES, kind="quotes")
    assert quotes.columns["ts_event"].tolist() == [TS + 1, TS + 2, TS + 3]
    assert quotes.columns["bid_px"].tolist() == [4000.0, 4000.0, 3999.75]
    assert quotes.columns["ask_qty"].tolist() == [4.0, 3.0, 3.0]
    assert trades(read(path, ES, kind="trades")) == taken
    with pytest.raises(DataError, match="expected schema mbo for deltas, found mbp-1"):
        read_deltas(path, ES)


def test_import_of_dbn_puts_its_trades_beside_the_book_or_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = by_price(tmp_path, 10, BOOK)
    depth, beside = import_all(path, ES, name="es", home=home, kind="depth")
    assert (depth.name, depth.kind, beside.name, beside.kind) == (
        "es", "depth", "es-trades", "trades",
    )  # fmt: skip
    found = Dataset.find(home.datasets, "es-trades")
    found.verify()
    assert found.columns["side"].tolist() == [1.0, -1.0]
    with pytest.raises(DataError, match="es-trades"):
        import_all(path, ES, name="es-trades", home=home, kind="trades")
    import_all(path, ES, name="other-trades", home=home, kind="trades")
    with pytest.raises(DataError, match="other-trades"):
        import_all(path, ES, name="other", home=home, kind="depth")
    assert not (home.datasets / "other").exists()
