"""A session's events in tables of Apache Iceberg, each once.

Rows and the position of a table are one commit of its catalog: the position is a property of the
table, set in the transaction that appends the rows.
"""

import importlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from grid import wire
from grid.bridges.config import TOPICS
from grid.bridges.position import Mark, Position
from grid.bridges.tables import Taken, arrow, schema, tables_of
from grid.errors import BridgeError, ConfigError, ProtocolError, SessionError
from grid.session import Session

BATCH_ROWS: Final = 100_000
POSITION: Final = "argonaut.position"


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
        raise BridgeError(f"iceberg catalog: {' '.join(str(e).split())}") from e


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
        SessionError: the session holds no event of such topics.
    """
    to.create_namespace_if_not_exists(namespace)
    tables: dict[str, _Table] = {}
    found = False
    for name, taken in _rows(session, tuple(prefixes)):
        found = True
        if name not in tables:
            tables[name] = _Table(to, namespace, name)
        tables[name].take(taken)
    if not found:
        raise SessionError(f"{session.path}: expected events, found none of these topics")
    for table in tables.values():
        table.commit()
    return {name: table.rows for name, table in tables.items()}


def _rows(session: Session, prefixes: tuple[str, ...]) -> Iterator[tuple[str, Taken]]:
    for topic, envelope, _ in session:
        if topic.startswith(prefixes):
            try:
                event = wire.event(envelope)
            except ProtocolError:
                continue  # of a kind that only later versions know
            yield from zip(tables_of(event), itertools.repeat((topic, envelope, event)))


class _Table:
    """One table: its rows that wait for the next commit, and how far it has come."""

    def __init__(self, to: Any, namespace: str, name: str) -> None:
        self.rows = 0
        self._name = name
        self._table = to.create_table_if_not_exists(f"{namespace}.{name}", schema(name))
        with self._table.update_schema() as update:
            update.union_by_name(schema(name))
        kept = self._table.properties.get(POSITION, "[]")
        self._position = Position(msgspec.json.decode(kept, type=tuple[Mark, ...]))
        self._gathered: list[Taken] = []

    def take(self, taken: Taken) -> None:
        topic, envelope, _ = taken
        key = (envelope.source, envelope.epoch, topic, envelope.seq)
        if self._position.passed(*key):
            return
        self._position.advance(*key)
        self._gathered.append(taken)
        if len(self._gathered) >= BATCH_ROWS:
            self.commit()

    def commit(self) -> None:
        if not self._gathered:
            return
        position = msgspec.json.encode(self._position.marks()).decode()
        with self._table.transaction() as both:
            both.append(arrow(self._name, self._gathered))
            both.set_properties({POSITION: position})
        self.rows += len(self._gathered)
        self._gathered.clear()
