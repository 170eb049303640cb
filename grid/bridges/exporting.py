"""A session's events as tables: a lake of Parquet, or Arrow files to be mapped into memory."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from grid import wire
from grid.bridges.config import TOPICS
from grid.bridges.lake import Lake
from grid.bridges.lakehouse import LakeSink
from grid.bridges.tables import Taken, arrow, schema, tables_of
from grid.durable import sync_folder
from grid.errors import ProtocolError, SessionError
from grid.mender import Arrived
from grid.session import Session

BATCH_ROWS: Final = 50_000


def to_lake(session: Session, folder: Path, prefixes: Iterable[str] = TOPICS) -> dict[str, int]:
    """Add a session's events to a lake, those that it has not; return the rows of each table.

    A session that the lake has already, whole or in part, is not written a second time.

    Raises:
        BridgeError: the disk refused it, or another process writes the lake.
        SessionError: the session holds no event of such topics.
    """
    wanted = tuple(prefixes)
    found = False
    with Lake(folder) as lake:
        sink = LakeSink(lake)
        before = _rows(lake)
        for topic, envelope, _ in session:
            if not topic.startswith(wanted):
                continue
            found = True
            if not sink.position.passed(envelope.source, envelope.epoch, topic, envelope.seq):
                sink.put(Arrived(0, topic, envelope, b""))
        sink.flush()
        after = _rows(lake)
    if not found:
        raise SessionError(f"{session.path}: expected events of {', '.join(wanted)}, found none")
    return {table: rows - before.get(table, 0) for table, rows in after.items()}


def _rows(lake: Lake) -> dict[str, int]:
    rows: dict[str, int] = {}
    for file in lake.manifest.files:
        rows[file.table] = rows.get(file.table, 0) + file.rows
    return rows


def to_feather(session: Session, folder: Path, prefixes: Iterable[str] = TOPICS) -> dict[str, int]:
    """Write `TABLE.feather` for each table that has rows; return their numbers.

    Raises:
        SessionError: the folder holds such a file already, or the session no event of such topics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if there := sorted(folder.glob("*.feather")):
        raise SessionError(f"{folder}: expected no tables there, found {there[0].name}")
    wanted = tuple(prefixes)
    rows: dict[str, int] = {}
    gathered: dict[str, list[Taken]] = {}
    writers: dict[str, Any] = {}
    with ExitStack() as stack:

        def write(table: str) -> None:
            if table not in writers:
                out = stack.enter_context(_draft(folder, table).open("wb"))
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                writer = pa.ipc.new_file(out, schema(table), options=options)
                writers[table] = (stack.enter_context(writer), out)
            writers[table][0].write_table(arrow(table, gathered[table]))
            rows[table] = rows.get(table, 0) + len(gathered[table])
            gathered[table].clear()

        for topic, envelope, _ in session:
            if not topic.startswith(wanted):
                continue
            try:
                event = wire.event(envelope)
            except ProtocolError:
                continue  # of a kind that only later versions know
            for table in tables_of(event):
                gathered.setdefault(table, []).append((topic, envelope, event))
                if len(gathered[table]) == BATCH_ROWS:
                    write(table)
        for table in gathered:
            if gathered[table]:
                write(table)
    if not rows:
        raise SessionError(f"{session.path}: expected events of {', '.join(wanted)}, found none")
    for table in rows:
        draft = _draft(folder, table)
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.rename(folder / f"{table}.feather")
    sync_folder(folder)
    return rows


def _draft(folder: Path, table: str) -> Path:
    return folder / f".{table}.feather"
