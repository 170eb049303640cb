"""What a grid's trials read: datasets with the holdout cut off, in the grid's own home.

A grid's folder is a home of its own: `datasets/`, `runs/`, `logs/`. Trials know no other, so that
rows of the holdout are in no file that they could open by mistake.
"""

import os
import shutil
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np

from agents.checkpoint import DataRef
from agents.config import Span
from grid.dataset import Dataset, fingerprint, to_ns
from grid.durable import sync_folder, write_synced
from grid.errors import DataError
from grid.home import Home


def seal(source: Dataset, home: Home, holdout: Span | None) -> str:
    """Put a dataset into a grid's home, without the rows from the holdout on.

    Args:
        source: the whole dataset.
        home: of the grid.
        holdout: what is cut off, with all that follows it; None links to the whole dataset.

    Returns:
        The fingerprint of what trials read.

    Raises:
        DataError: nothing is left, or other data lies there.
    """
    target = home.datasets / source.manifest.name
    if target.exists():
        return Dataset.open(target).manifest.fingerprint
    home.datasets.mkdir(parents=True, exist_ok=True)
    if holdout is None:
        target.symlink_to(os.path.relpath(source.path.resolve(), home.datasets.resolve()))
        return source.manifest.fingerprint
    rows = source.rows_between(0, to_ns(holdout[0]))[1]
    if rows < 2:
        raise DataError(f"{source.path}: {rows} rows lie before the holdout, expected 2 or more")
    draft = home.datasets / f".draft-{uuid4().hex}"
    try:
        cut = cut_to(source, rows)
        (draft / "columns").mkdir(parents=True)
        for field, values in cut.columns.items():
            with (draft / "columns" / f"{field}.npy").open("wb") as out:
                np.save(out, np.ascontiguousarray(values))
                out.flush()
                os.fsync(out.fileno())
        raw = msgspec.json.format(msgspec.json.encode(cut.manifest), indent=1)
        write_synced(draft / "dataset.json", raw)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(home.datasets)
    return cut.manifest.fingerprint


def home_of(data: DataRef, home: Home) -> Home:
    """Return the home with the datasets that a checkpoint was trained on.

    That is `home`, or that of a grid in it, whose trials have read datasets without the holdout;
    `home` where there is none, for whoever opens a dataset says what is wrong with it.

    Args:
        data: of the checkpoint.
        home: where to look.
    """
    wanted = {data.name: data.fingerprint, **data.others}
    grids = sorted((home.root / "grids").glob("*/datasets"))
    for found in (home, *(Home(folder.parent) for folder in grids)):
        if all(_fingerprint(found.datasets / name) == wanted[name] for name in wanted):
            return found
    return home


def _fingerprint(folder: Path) -> str:
    try:
        return Dataset.open(folder).manifest.fingerprint
    except DataError:
        return ""


def cut_to(source: Dataset, rows: int) -> Dataset:
    """Return the first `rows` of a dataset, as a dataset with a fingerprint of its own."""
    columns = {field: values[:rows] for field, values in source.columns.items()}
    m = source.manifest
    manifest = msgspec.structs.replace(
        m,
        rows=rows,
        end_ns=int(columns["ts_event"][-1]),
        fingerprint=fingerprint(m.kind, m.instrument, m.bar, columns),
        source=f"{m.source}; first {rows} of {m.rows} rows of {m.fingerprint}",
    )
    return Dataset(source.path, manifest, columns)


def find(home: Home, name: str) -> Dataset:
    """Return a verified dataset.

    Raises:
        DataError: there is none of that name, or it is damaged.
    """
    dataset = Dataset.find(home.datasets, name)
    dataset.verify()
    return dataset


def size_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder, links not followed."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
