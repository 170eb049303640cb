"""Events in tables of Apache Iceberg, each once.

Rows and the position of a table are one commit of its catalog: the position is a property of the
table, set in the transaction that appends the rows. How far all tables have come is a property of
one more table, `bridge`, set after them: a commit that was cut off in between is made again, and a
table that has its rows already is given none of them twice. Others may write the same tables:
whoever finds that a table has changed looks again at what it has.
"""

import importlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from grid.bridges.config import TOPICS
from grid.bridges.lakehouse import LakeSink
from grid.bridges.position import Mark, Position
from grid.bridges.tables import later, schema
from grid.errors import BridgeError, ConfigError, SessionError, UnreachableError
from grid.mender import Arrived
from grid.session import Session

BATCH_ROWS: Final = 100_000
POSITION: Final = "argonaut.position"
SAVED: Final = "argonaut.saved-ns"
BRIDGE: Final = "bridge"  # the table whose properties tell how far all have come
TRIES: Final = 10  # against others that write the same table
OURS: Final = {
    "commit.retry.num-retries": "0",  # it must look again at the position, which pyiceberg does not
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


def catalog(properties: dict[str, str]) -> Any:
    """Return the catalog of these properties, as pyiceberg knows them: `type`, `uri`, `warehouse`.

    Raises:
        BridgeError: it cannot be reached.
        ConfigError: pyiceberg is not installed.
    """
    try:
        module = importlib.import_module("pyiceberg.catalog")
    except ImportError:
        raise ConfigError(
            "iceberg: expected the package pyiceberg, found none: install argonaut-nt[lakehouse]"
        ) from None
    try:
        return module.load_catalog("argonaut", **properties)
    except Exception as e:  # of whatever library the catalog needs
        raise BridgeError(f"iceberg catalog: {_line(e)}") from e


def local(folder: Path) -> dict[str, str]:
    """Return the properties of a catalog of SQLite in a folder, which is made if need be."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalog.db",
        "warehouse": folder.as_uri(),
    }


def to_iceberg(
    session: Session, to: Any, namespace: str, prefixes: Iterable[str] = TOPICS
) -> dict[str, int]:
    """Add a session's events to the tables of a namespace, those that they have not.

    Tables are made where there are none, and get the columns that they lack.

    Args:
        session: what is written.
        to: of `catalog`.
        namespace: of the tables.
        prefixes: of the topics.

    Returns:
        The rows that were added, by table.

    Raises:
        BridgeError: the catalog or its files do not answer.
        SessionError: the session holds no event of such topics.
    """
    wanted = tuple(prefixes)
    store = IcebergStore(to, namespace)
    sink = LakeSink(store, BATCH_ROWS)
    found = False
    for topic, envelope, _ in session:
        if topic.startswith(wanted):
            found = True
            if not sink.position.passed(envelope.source, envelope.epoch, topic, envelope.seq):
                sink.put(Arrived(0, topic, envelope, b""))
    sink.flush()
    if not found:
        raise SessionError(f"{session.path}: expected events, found none of these topics")
    return {name: store.rows.get(name, 0) for name in store.table_names()}


class IcebergStore:
    """The tables of a namespace.

    Args:
        to: of `catalog`.
        namespace: made if it is not there.
        compact_files: see `grid.bridges.compaction`; 0: never.

    Attributes:
        rows: added by this process, by table.
        conflicts: commits that another writer came before.

    Raises:
        UnreachableError: the catalog or its files do not answer.
    """

    def __init__(self, to: Any, namespace: str, compact_files: int = 0) -> None:
        self.rows: dict[str, int] = {}
        self.conflicts = 0
        self.compacted = 0
        self._catalog = to
        self._namespace = namespace
        self._compact_files = compact_files
        self._tables: dict[str, Any] = {}
        self._known: dict[str, str] = {}  # the position that this process gave to a table
        self._next_to_tidy = 0
        self._answered(lambda: to.create_namespace_if_not_exists(namespace))
        self._position: tuple[Mark, ...] = self._answered(lambda: _marks(self._bridge()))

    @property
    def position(self) -> tuple[Mark, ...]:
        """How far all tables have come."""
        return self._position

    @property
    def saved_ns(self) -> int:
        """When the position was saved, UNIX ns."""
        return int(self._bridge().properties.get(SAVED, "0"))

    def commit(self, tables: dict[str, Any], position: Position, now_ns: int) -> None:
        """Add rows to the tables, then say how far all have come; see `Store`."""
        for name, rows in tables.items():
            self._answered(partial(self._append, name, rows, position))
        saved = {SAVED: str(now_ns)}
        self._answered(lambda: self._alone(self._bridge, lambda t: _say(t, position, saved)))
        self._position = position.marks()

    def tidy(self) -> None:
        """Compact the next of the tables, if it has many small files."""
        if not self._compact_files or not self._tables:
            return
        names = sorted(self._tables)
        name = names[self._next_to_tidy % len(names)]
        self._next_to_tidy += 1
        self.compact(name, self._compact_files)

    def compact(self, name: str, min_files: int = 2) -> tuple[int, int]:
        """Make one of a table's small files; return how many files it had and has.

        Another process may append meanwhile.

        Args:
            name: of the table.
            min_files: where fewer are small, they are left as they are.
        """
        from grid.bridges.compaction import compact

        counts: list[tuple[int, int]] = []
        self._answered(
            lambda: self._alone(
                lambda: self._table(name), lambda t: counts.append(compact(t, min_files))
            )
        )
        before, after = counts[-1]
        self.compacted += before - after
        return before, after

    def table_names(self) -> list[str]:
        """Return the names of the tables that hold rows."""
        found = self._answered(lambda: self._catalog.list_tables(self._namespace))
        return sorted(name for *_, name in found if name != BRIDGE)

    def close(self) -> None:
        """Let the catalog go."""
        self._catalog.close()

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {"conflicts": float(self.conflicts), "compacted": float(self.compacted)}

    def _append(self, name: str, rows: Any, position: Position) -> None:
        def add(table: Any) -> None:
            kept = table.properties.get(POSITION, "")
            new = rows if kept and kept == self._known.get(name) else later(rows, _marks(table))
            with table.transaction() as both:
                if new.num_rows:
                    both.append(new)
                both.set_properties({POSITION: _merged(table, position)})
            self._known[name] = table.properties[POSITION]
            self.rows[name] = self.rows.get(name, 0) + new.num_rows

        self._alone(lambda: self._table(name), add)

    def _alone(self, load: Callable[[], Any], change: Callable[[Any], None]) -> None:
        """Change a table as it is now, again and again if others do meanwhile."""
        failed = importlib.import_module("pyiceberg.exceptions").CommitFailedException
        for left in reversed(range(TRIES)):
            try:
                return change(load())
            except failed:
                self.conflicts += 1
                if not left:
                    raise
                time.sleep(0.05)

    def _table(self, name: str) -> Any:
        if name in self._tables:
            return self._tables[name].refresh()
        where = f"{self._namespace}.{name}"
        table = self._catalog.create_table_if_not_exists(where, schema(name), properties=OURS)
        with table.update_schema() as update:
            update.union_by_name(schema(name))
        if lacking := {k: v for k, v in OURS.items() if table.properties.get(k) != v}:
            with table.transaction() as change:
                change.set_properties(lacking)
        self._tables[name] = table
        return table

    def _bridge(self) -> Any:
        where = f"{self._namespace}.{BRIDGE}"
        columns = pa.schema([("note", pa.string())])
        return self._catalog.create_table_if_not_exists(where, columns, properties=OURS)

    def _answered[T](self, ask: Callable[[], T]) -> T:
        """Return the catalog's answer, or say that there is none.

        Raises:
            UnreachableError: whatever library does the asking has failed.
        """
        try:
            return ask()
        except (BridgeError, TypeError, AttributeError):
            raise
        except Exception as e:  # of SQL, HTTP, files: any of them may work again later
            self._tables.clear()
            self._known.clear()
            raise UnreachableError(f"iceberg, {self._namespace}: {_line(e)}") from e


def _say(table: Any, position: Position, more: dict[str, str]) -> None:
    with table.transaction() as change:
        change.set_properties({POSITION: _merged(table, position), **more})


def _marks(table: Any) -> tuple[Mark, ...]:
    kept = table.properties.get(POSITION, "[]")
    try:
        return msgspec.json.decode(kept, type=tuple[Mark, ...])
    except msgspec.MsgspecError as e:
        raise BridgeError(f"iceberg, {table.name()}: expected a position: {e}") from e


def _merged(table: Any, position: Position) -> str:
    """Return what a table has for good, once it has all up to a position, as JSON."""
    both = Position(_marks(table))
    for mark in position.marks():
        if not both.passed(mark.source, mark.epoch, mark.topic, mark.seq):
            both.advance(mark.source, mark.epoch, mark.topic, mark.seq)
    return msgspec.json.encode(both.marks()).decode()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
