"""Small files of an Iceberg table made one, while others go on to append.

What is replaced is named file by file, so that rows which come meanwhile stay. Snapshots older than
`KEEP_S` are then forgotten, and the files that only they knew are deleted.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files

SMALL_BYTES: Final = 16_000_000
ROUND_ROWS: Final = 500_000  # at a time: they are held in memory
KEEP_S: Final = 3_600.0  # a reader may go back so far, or take so long


def compact(table: Any, min_files: int = 2, keep_s: float = KEEP_S) -> tuple[int, int]:
    """Rewrite a table's small files, up to `ROUND_ROWS`, as one; return files before and after.

    Args:
        table: of pyiceberg, as it is now.
        min_files: where fewer are small, nothing is done.
        keep_s: snapshots that are older are forgotten.

    Raises:
        CommitFailedException: another has changed the table meanwhile: nothing was done.
    """
    tasks = list(table.scan().plan_files())
    small: list[Any] = []
    rows = 0
    for task in sorted(tasks, key=lambda t: t.file.file_size_in_bytes):
        rows += task.file.record_count
        if task.file.file_size_in_bytes >= SMALL_BYTES or (len(small) > 1 and rows > ROUND_ROWS):
            break
        small.append(task)
    if len(small) < max(2, min_files):
        return len(tasks), len(tasks)
    scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
    together = scan.to_table(small).combine_chunks()
    made: list[Any] = []
    try:
        with table.transaction() as change:
            made += _dataframe_to_data_files(change.table_metadata, together, table.io)
            with change.update_snapshot().overwrite() as both:
                for task in small:
                    both.delete_data_file(task.file)
                for file in made:
                    both.append_data_file(file)
    except CommitFailedException:
        for file in made:
            table.io.delete(file.file_path)
        raise
    _forget(table, keep_s)
    return len(tasks), len(tasks) - len(small) + len(made)


def _forget(table: Any, keep_s: float) -> None:
    """Expire old snapshots, and delete what only they knew."""
    before = datetime.now(UTC) - timedelta(seconds=keep_s)
    head = table.current_snapshot().snapshot_id
    old_ms = before.timestamp() * 1_000
    old = [s for s in table.snapshots() if s.timestamp_ms < old_ms and s.snapshot_id != head]
    if not old:
        return
    known = [_files(table, s) for s in old]
    table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in old]).commit()
    table.refresh()
    kept = set().union(*(_files(table, s) for s in table.snapshots()))
    for path in set().union(*known) - kept:
        table.io.delete(path)


def _files(table: Any, snapshot: Any) -> set[str]:
    """Return the files that a snapshot consists of: lists, manifests, data."""
    found = {snapshot.manifest_list}
    for manifest in snapshot.manifests(table.io):
        found.add(manifest.manifest_path)
        entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        found.update(entry.data_file.file_path for entry in entries)
    return found
