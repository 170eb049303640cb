"""From a file to a dataset, in one call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from envs.data import bar as bars
from envs.data.book import Book
from envs.data.catalog import Progress
from envs.data.dbn import has_trades
from envs.data.names import Mark
from envs.data.read import DEFAULT_QUOTE_QTY, read
from envs.data.read_deltas import EVERY, read_deltas
from envs.data.read_depth import MAX_LEVELS, read_depth
from envs.data.write import check_name, write
from grid.dataset import Kind, Manifest
from grid.errors import DataError
from grid.home import Home
from grid.instrument import Instrument
from grid.node.instruments import bar_type, to_engine

_WITH_TRADES: Final = ("deltas", "depth", "quotes")
_OPTIONS: Final[dict[str, tuple[Kind, ...]]] = {
    "bar": ("bars",),
    "book": ("deltas",),
    "every": ("deltas",),
    "levels": ("depth", "deltas"),
}


BESIDE: Final = "trades"  # NAME-trades is the dataset of the trades in the file of NAME


def import_file(source: Path, instrument: Instrument, **how: Any) -> Manifest:
    """Import a file as `import_all` does, and return the manifest of dataset `name`."""
    return import_all(source, instrument, **how)[0]


def import_all(
    source: Path,
    instrument: Instrument,
    *,
    name: str,
    home: Home,
    kind: Kind = "bars",
    bar: str | None = None,
    timestamp: Mark = "close",
    time_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    book: Book | None = None,
    every: str | None = None,
    levels: int | None = None,
    repair: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> list[Manifest]:
    """Read `source`, check it, and write it as dataset `name`; nothing is left of a failed import.

    Where a file in DBN holds a book or quotes and trades, the trades become dataset `name`-trades.

    Args:
        source: a CSV or Parquet file, or one in DBN.
        instrument: what is traded.
        name: of the new dataset.
        home: where datasets lie.
        kind: what the rows are.
        bar: see `envs.data.read.read`, as for the next four.
        timestamp: the end of a bar that its timestamp marks.
        time_format: as for strptime.
        columns: names of columns by field.
        book: see `envs.data.read_deltas.read_deltas`, as for the next two.
        every: how often deltas make a row.
        levels: of a book's rows, a side.
        repair: drop, sort and round what is wrong, and count it.
        replace: whether a dataset of that name may be there already.
        progress: called as `progress(rows_written, rows_in_all)`.

    Raises:
        ConfigError: the engine knows no such instrument or bars.
        DataError: the file, the name or an option is not fit; with the place of a first bad row.
    """
    check_name(name, home.datasets, replace)
    to_engine(instrument)  # what the engine refuses is refused before anything is read
    if bar is not None:
        bars.interval_ns(bar)
        bar_type(instrument.id, bar)
    _check_options(kind, {"bar": bar, "book": book, "every": every, "levels": levels})
    common: dict[str, Any] = {"time_format": time_format, "columns": columns, "repair": repair}
    if kind == "deltas":
        rows = read_deltas(
            source,
            instrument,
            book=book,
            every=every or EVERY,
            levels=levels or MAX_LEVELS,
            **common,
        )
    elif kind == "depth":
        rows = read_depth(source, instrument, levels=levels, **common)
    else:
        rows = read(source, instrument, kind=kind, bar=bar, timestamp=timestamp, **common)
    beside = None
    if kind in _WITH_TRADES and has_trades(source):
        check_name(f"{name}-{BESIDE}", home.datasets, replace)
        beside = read(source, instrument, kind="trades", repair=repair)
    said = str(source)
    if rows.note:
        said += f" ({rows.note})"
    if rows.absent:
        default = f"{DEFAULT_QUOTE_QTY:,.0f}" if kind == "quotes" else "0"
        said += f" (has no {', '.join(rows.absent)}: set to {default})"
    written = write(
        rows,
        instrument,
        kind=kind,
        name=name,
        datasets=home.datasets,
        source=said,
        replace=replace,
        progress=progress,
    )
    if beside is None:
        return [written]
    trades = write(
        beside,
        instrument,
        kind="trades",
        name=f"{name}-{BESIDE}",
        datasets=home.datasets,
        source=f"{source} (its trades)",
        replace=replace,
    )
    return [written, trades]


def _check_options(kind: Kind, given: Mapping[str, object]) -> None:
    for option, value in given.items():
        if value is not None and kind not in _OPTIONS[option]:
            kinds = " and ".join(_OPTIONS[option])
            raise DataError(f"{option} {value}: of use with {kinds} only, found {kind}")
