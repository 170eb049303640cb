"""From a file to a dataset, in one call."""

from collections.abc import Mapping
from pathlib import Path

from envs.data import bar as bars
from envs.data.catalog import Progress
from envs.data.names import Mark
from envs.data.read import DEFAULT_QUOTE_QTY, read
from envs.data.write import check_name, write
from grid.dataset import Kind, Manifest
from grid.home import Home
from grid.instrument import Instrument
from grid.node.instruments import bar_type, to_engine


def import_file(
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
    repair: bool = False,
    replace: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Read `source`, check it, and write it as dataset `name`; nothing is left of a failed import.

    Args:
        source: a CSV or Parquet file.
        instrument: what is traded.
        name: of the new dataset.
        home: where datasets lie.
        kind: what the rows are.
        bar: see `envs.data.read.read`, as for the next four.
        timestamp: the end of a bar that its timestamp marks.
        time_format: as for strptime.
        columns: names of columns by field.
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
    rows = read(
        source,
        instrument,
        kind=kind,
        bar=bar,
        timestamp=timestamp,
        time_format=time_format,
        columns=columns,
        repair=repair,
    )
    said = str(source)
    if rows.absent:
        default = f"{DEFAULT_QUOTE_QTY:,.0f}" if kind == "quotes" else "0"
        said += f" (has no {', '.join(rows.absent)}: set to {default})"
    return write(
        rows,
        instrument,
        kind=kind,
        name=name,
        datasets=home.datasets,
        source=said,
        replace=replace,
        progress=progress,
    )
