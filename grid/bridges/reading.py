"""What a lake holds, read back: whole commits, while others may write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from grid.bridges.config import S3Config
from grid.bridges.lake import decode
from grid.bridges.places import S3, Bucket, Folder, Place
from grid.bridges.tables import schema
from grid.errors import BridgeError, DataError

TRIES: Final = 5  # a compaction may take files away that were just named


def read(where: str, table: str, columns: Sequence[str], s3: S3Config | None = None) -> pa.Table:
    """Return columns of a table of a lake; those that it lacks are nulls.

    Args:
        where: a folder, or `s3://BUCKET/PREFIX`.
        table: its name; one that the lake has not is empty.
        columns: their names.
        s3: of the service.

    Raises:
        BridgeError: the manifest is damaged, or a file is missing.
        DataError: there is no lake.
        UnreachableError: the service does not answer.
    """
    if where.startswith(S3):
        place: Place = Bucket(where, s3 or S3Config())
    else:
        place = Folder(Path(where), write=False)
    wanted = pa.schema([schema(table).field(name) for name in columns])
    for left in reversed(range(TRIES)):
        try:
            data = place.read_manifest()
            if data is None:
                raise DataError(f"{where}: expected a lake, found none")
            files = [f.path for f in decode(data, where).files if f.table == table]
            return pa.concat_tables([wanted.empty_table(), *_read(place, files, wanted)])
        except FileNotFoundError as e:
            if not left:
                raise BridgeError(f"{where}: expected the file {e.filename}, found none") from e
        except OSError as e:
            raise place.trouble(e) from e
    raise AssertionError("unreachable")


def _read(place: Place, files: list[str], wanted: pa.Schema) -> list[pa.Table]:
    found = []
    for path in files:
        rows = place.read(path)
        arrays = [
            rows.column(field.name)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in wanted
        ]
        found.append(pa.Table.from_arrays(arrays, schema=wanted))
    return found


def read_iceberg(catalog: Any, namespace: str, table: str, columns: Sequence[str]) -> pa.Table:
    """Return columns of a table of Iceberg; one that is not there is empty.

    Args:
        catalog: of `grid.bridges.iceberg.catalog`.
        namespace: of the table.
        table: its name.
        columns: their names.
    """
    wanted = pa.schema([schema(table).field(name) for name in columns])
    name = f"{namespace}.{table}"
    if not catalog.table_exists(name):
        return wanted.empty_table()
    rows = catalog.load_table(name).scan(selected_fields=tuple(columns)).to_arrow()
    return rows.select(list(columns)).cast(wanted)
