"""A feed for tests, and its data: `feeder.py DATASET ADDRESSES EPOCH CONFIG [BOOKMARK]`."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from grid import feed, process
from grid.bus import Addresses
from grid.dataset import Columns, Dataset, Kind, Manifest, Quality
from grid.errors import ArgonautError
from grid.instrument import CurrencyPair
from grid.topology import FeedConfig
from grid.venue import Venue

PAIR = CurrencyPair(id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD")
START_NS = 1_577_836_800_000_000_000
MINUTE_NS = 60_000_000_000


def write_dataset(folder: Path, kind: Kind, n: int) -> Dataset:
    """Write a dataset whose prices count up, one row a minute."""
    px = 1.0 + np.arange(n) / 1e4
    ts = START_NS + np.arange(1, n + 1, dtype=np.int64) * MINUTE_NS
    columns: Columns = {"ts_event": ts}
    if kind == "bars":
        columns |= {"open": px, "high": px + 0.2, "low": px - 0.2, "close": px + 0.1}
        columns |= {"volume": np.arange(n, dtype=np.float64)}
    else:
        columns |= {"bid_px": px, "ask_px": px + 1e-4}
        columns |= {"bid_qty": np.full(n, 5.0), "ask_qty": np.full(n, 6.0)}
    manifest = Manifest(
        name="test",
        kind=kind,
        instrument=PAIR,
        rows=n,
        start_ns=int(ts[0]),
        end_ns=int(ts[-1]),
        fingerprint="",
        quality=Quality(rows_read=n),
        source="test",
        bar="1-MINUTE-ASK" if kind == "bars" else "",
        interval_ns=MINUTE_NS if kind == "bars" else 0,
    )
    (folder / "columns").mkdir(parents=True)
    for field, values in columns.items():
        np.save(folder / "columns" / f"{field}.npy", values)
    (folder / "dataset.json").write_bytes(msgspec.json.encode(manifest))
    return Dataset.open(folder)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("addresses")
    parser.add_argument("epoch", type=int)
    parser.add_argument("config")
    parser.add_argument("bookmark", type=Path, nargs="?")
    parser.add_argument("--lifeline", type=int)
    args = parser.parse_args()
    life = process.start("feed", args.lifeline)
    tree: dict[str, Any] = {"dataset": "test", **msgspec.json.decode(args.config)}
    try:
        feed.run(
            msgspec.convert(tree, FeedConfig),
            Dataset.open(args.dataset),
            Venue(),
            msgspec.json.decode(args.addresses, type=Addresses),
            life,
            epoch=args.epoch,
            bookmark=args.bookmark,
        )
    except ArgonautError as e:
        sys.stderr.write(f"{e}\n")
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
