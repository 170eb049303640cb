"""The real market data of the demo: it comes with an installed package, nothing is downloaded."""

import logging
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from envs.data.catalog import Progress
from envs.data.read import Rows, read
from envs.data.write import write
from grid.dataset import Dataset, Manifest, fingerprint, names
from grid.errors import DataError
from grid.home import Home
from grid.instrument import CurrencyPair, Equity, Instrument

log = logging.getLogger(__name__)

NAME: Final = "eurusd-1h-2017"
BAR: Final = "1-HOUR-ASK"
EURUSD: Final = CurrencyPair(
    id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD"
)

SECOND: Final = "googl-1d"
SECOND_BAR: Final = "1-DAY-LAST"
GOOGL: Final = Equity(
    id="GOOGL.SIM", price_precision=2, quote_currency="USD", margin_init=0.5, margin_maint=0.25
)

_PACKAGE: Final = "gym_anytrading"
_FILE: Final = "FOREX_EURUSD_1H_ASK.csv"
_SECOND_FILE: Final = "STOCKS_GOOGL.csv"


def demo_file(name: str = _FILE) -> Path:
    """Return a file of market data inside the package gym-anytrading: of EUR/USD by default.

    The package is found, not imported: that would load gymnasium.

    Raises:
        DataError: the package or its file is missing.
    """
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "datasets" / "data" / name
        if path.is_file():
            return path
    raise DataError(f"package gym-anytrading with {name} expected, found none: run uv sync")


def import_demo(home: Home, progress: Progress | None = None) -> Manifest:
    """Import the demo's bars as dataset `eurusd-1h-2017`, unless they are there already.

    The file is clean: of its 6,225 bars none needs repair; its 52 holes are weekends and holidays.
    Its times are GMT and mark the opening of each bar.

    Raises:
        DataError: the file is missing, or a dataset from elsewhere has that name.
    """
    rows = read(
        demo_file(),
        EURUSD,
        kind="bars",
        bar=BAR,
        timestamp="open",
        time_format="%d.%m.%Y %H:%M:%S.%f",
    )
    return _import(rows, EURUSD, NAME, _FILE, home, progress)


def import_second(home: Home, progress: Progress | None = None) -> Manifest:
    """Import daily GOOGL of 2009 to 2018 as dataset `googl-1d`, unless it is there already.

    Its prices are rounded to cents, its days begin at midnight, UTC.

    Raises:
        DataError: the file is missing, or a dataset from elsewhere has that name.
    """
    file = demo_file(_SECOND_FILE)
    rows = read(file, GOOGL, kind="bars", bar=SECOND_BAR, timestamp="open", repair=True)
    return _import(rows, GOOGL, SECOND, _SECOND_FILE, home, progress)


def _import(
    rows: Rows, instrument: Instrument, name: str, file: str, home: Home, progress: Progress | None
) -> Manifest:
    source = f"gym-anytrading {version('gym-anytrading')}: {file}"
    expected = fingerprint("bars", instrument, rows.bar, rows.columns)
    ours = False
    if name in names(home.datasets):
        there = Dataset.find(home.datasets, name)
        ours = there.manifest.source == source
        if ours and _is_sound(there, expected):
            return there.manifest
    if ours:
        log.warning("dataset %s is damaged, or of another version: it is made anew", name)
    return write(
        rows,
        instrument,
        kind="bars",
        name=name,
        datasets=home.datasets,
        source=source,
        replace=ours,
        progress=progress,
    )


def _is_sound(dataset: Dataset, expected: str) -> bool:
    try:
        dataset.verify()
    except DataError:
        return False
    return dataset.manifest.fingerprint == expected
