"""The real market data of the demo: it comes with an installed package, nothing is downloaded."""

import logging
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from envs.data.catalog import Progress
from envs.data.read import read
from envs.data.write import write
from grid.dataset import Dataset, Manifest, fingerprint, names
from grid.errors import DataError
from grid.home import Home
from grid.instrument import CurrencyPair

log = logging.getLogger(__name__)

NAME: Final = "eurusd-1h-2017"
BAR: Final = "1-HOUR-ASK"
EURUSD: Final = CurrencyPair(
    id="EUR/USD.SIM", price_precision=5, base_currency="EUR", quote_currency="USD"
)

_PACKAGE: Final = "gym_anytrading"
_FILE: Final = "FOREX_EURUSD_1H_ASK.csv"


def demo_file() -> Path:
    """Return the file of hourly EUR/USD ask bars of 2017 inside the package gym-anytrading.

    The package is found, not imported: that would load gymnasium.

    Raises:
        DataError: the package or its file is missing.
    """
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "datasets" / "data" / _FILE
        if path.is_file():
            return path
    raise DataError(f"package gym-anytrading with {_FILE} expected, found none: run uv sync")


def import_demo(home: Home, progress: Progress | None = None) -> Manifest:
    """Import the demo's bars as dataset `eurusd-1h-2017`, unless they are there already.

    The file is clean: of its 6,225 bars none needs repair; its 52 holes are weekends and holidays.
    Its times are GMT and mark the opening of each bar.

    Raises:
        DataError: the file is missing, or a dataset from elsewhere has that name.
    """
    source = f"gym-anytrading {version('gym-anytrading')}: {_FILE}"
    rows = read(
        demo_file(),
        EURUSD,
        kind="bars",
        bar=BAR,
        timestamp="open",
        time_format="%d.%m.%Y %H:%M:%S.%f",
    )
    expected = fingerprint("bars", EURUSD, BAR, rows.columns)
    ours = False
    if NAME in names(home.datasets):
        there = Dataset.find(home.datasets, NAME)
        ours = there.manifest.source == source
        if ours and _is_sound(there, expected):
            return there.manifest
    if ours:
        log.warning("dataset %s is damaged, or of another version: it is made anew", NAME)
    return write(
        rows,
        EURUSD,
        kind="bars",
        name=NAME,
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
