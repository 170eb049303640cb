"""Events in tables of PostgreSQL, each once.

The rows of all tables and the position are one transaction. They travel as Arrow and enter by COPY.
Where an answer was lost, whether of a commit or before, the position in the database says what it
has.
"""

import contextlib
import importlib
import logging
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from grid.bridges.position import Mark, Position
from grid.bridges.tables import later, schema
from grid.errors import BridgeError, ConfigError, UnreachableError

log = logging.getLogger(__name__)

BRIDGE: Final = "bridge"  # the table of the position
WAITS: Final = "connect_timeout=10&tcp_user_timeout=30000&keepalives_idle=10"
STATEMENT_S: Final = 50  # a statement is given up by the server

_TYPES: Final = {
    pa.string(): "text",
    pa.int64(): "int8",
    pa.float64(): "float8",
    pa.bool_(): "bool",
    pa.binary(): "bytea",
}


class PostgresStore:
    """The tables of one schema, which one process writes at a time.

    Args:
        uri: as libpq takes it: `postgresql://USER:PASSWORD@HOST/DATABASE`.
        name: of the schema, made if it is not there.

    Raises:
        BridgeError: the database refuses.
        ConfigError: adbc-driver-postgresql is not installed.
        UnreachableError: it does not answer, or another process writes the schema.
    """

    def __init__(self, uri: str, name: str) -> None:
        try:
            self._driver: Any = importlib.import_module("adbc_driver_postgresql.dbapi")
        except ImportError:
            raise ConfigError(
                "postgres: expected the package adbc-driver-postgresql, found none: install"
                " argonaut-nt[postgres]"
            ) from None
        self._uri = f"{uri}{'&' if '?' in uri else '?'}{WAITS}"
        self._name = name
        self._connection: Any = None
        self._made: set[str] = set()  # tables that have all columns
        self._position = Position()
        self._saved_ns = 0
        self._connects = 0
        self._doubtful = False  # whether a commit has failed, and may be there or not
        self._answered(lambda: None)

    @property
    def position(self) -> tuple[Mark, ...]:
        """Of the last commit."""
        return self._position.marks()

    @property
    def saved_ns(self) -> int:
        """When it was, UNIX ns."""
        return self._saved_ns

    def commit(self, tables: dict[str, Any], position: Position, now_ns: int) -> None:
        """Add rows, and say how far the events have come; see `Store`."""

        def work() -> None:
            known = self._position.marks() if self._doubtful else ()
            self._doubtful = True
            with self._connection.cursor() as cursor:
                for table, rows in tables.items():
                    self._make(cursor, table)
                    new = _clean(later(rows, known))
                    if new.num_rows:
                        cursor.adbc_ingest(table, new, mode="append", db_schema_name=self._name)
                changed = [m for m in position.marks() if not self._position.passed(*_key(m))]
                for mark in changed:
                    cursor.execute(
                        f"insert into {self._at(BRIDGE)} values ($1, $2, $3, $4, $5) on conflict"
                        " (source, epoch, topic) do update set seq = excluded.seq,"
                        " saved_ns = excluded.saved_ns",
                        (*_key(mark), now_ns),
                    )
            self._connection.commit()
            for mark in changed:
                self._position.advance(*_key(mark))
            self._saved_ns, self._doubtful = now_ns, False

        self._answered(work)

    def tidy(self) -> None:
        """Do nothing: the database looks after itself."""

    def counters(self) -> dict[str, float]:
        """Return what is told in heartbeats."""
        return {"connects": float(self._connects)}

    def close(self) -> None:
        """Let the database go."""
        if self._connection is not None:
            with contextlib.suppress(self._driver.Error):
                self._connection.close()
            self._connection = None

    def _answered(self, work: Any) -> None:
        refusals = (
            self._driver.ProgrammingError,
            self._driver.DataError,
            self._driver.IntegrityError,
            self._driver.NotSupportedError,
        )
        try:
            if self._connection is None:
                self._connect()
            work()
        except self._driver.Error as e:
            self.close()
            text = f"postgres, schema {self._name}: {' '.join(str(e).split())}"
            raise (BridgeError if isinstance(e, refusals) else UnreachableError)(text) from e

    def _connect(self) -> None:
        self._connection = self._driver.connect(self._uri)
        self._connects += 1
        self._made.clear()
        with self._connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout = '{STATEMENT_S}s'")
            cursor.execute("set client_min_messages = warning")
            # of the session: it ends with this connection, whatever becomes of this process
            cursor.execute("select pg_try_advisory_lock(hashtext($1))", (f"argonaut {self._name}",))
            if not cursor.fetchone()[0]:
                self.close()
                raise UnreachableError(f"postgres, schema {self._name}: another process writes it")
            cursor.execute(f"create schema if not exists {_quoted(self._name)}")
            cursor.execute(
                f"create table if not exists {self._at(BRIDGE)} (source text, epoch bigint,"
                " topic text, seq bigint not null, saved_ns bigint not null,"
                " primary key (source, epoch, topic))"
            )
            self._connection.commit()
            cursor.execute(f"select source, epoch, topic, seq, saved_ns from {self._at(BRIDGE)}")
            found = cursor.fetchall()
        self._connection.commit()
        self._position = Position(Mark(*row[:4]) for row in found)
        self._saved_ns = max((row[4] for row in found), default=0)

    def _make(self, cursor: Any, table: str) -> None:
        """Make a table, or the columns that it lacks.

        Raises:
            BridgeError: a column is of another type, whose bytes COPY would take for its own.
        """
        if table in self._made:
            return
        columns = {field.name: _type(field.type) for field in schema(table)}
        told = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
        cursor.execute(f"create table if not exists {self._at(table)} ({told})")
        cursor.execute(
            "select column_name, udt_name from information_schema.columns where table_schema = $1"
            " and table_name = $2",
            (self._name, table),
        )
        there = {name: _array(kind) for name, kind in cursor.fetchall()}
        for name, kind in columns.items():
            if name not in there:
                cursor.execute(f"alter table {self._at(table)} add column {_quoted(name)} {kind}")
            elif there[name] != kind:
                raise BridgeError(
                    f"postgres, {self._name}.{table}: expected the column {name} as {kind}, found"
                    f" {there[name]}"
                )
        self._made.add(table)

    def _at(self, table: str) -> str:
        return f"{_quoted(self._name)}.{_quoted(table)}"


def _key(mark: Mark) -> tuple[str, int, str, int]:
    return mark.source, mark.epoch, mark.topic, mark.seq


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type(kind: Any) -> str:
    if pa.types.is_list(kind):
        return f"{_type(kind.value_type)}[]"
    return _TYPES[kind]


def _array(kind: str) -> str:
    """Return the name of a type; PostgreSQL's own for an array begins with an underscore."""
    return f"{kind[1:]}[]" if kind.startswith("_") else kind


def _clean(rows: Any) -> Any:
    """Return rows whose texts have no zero character, which PostgreSQL refuses."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_string(field.type):
            column = rows.column(at)
            if pc.any(pc.match_substring(column, "\0")).as_py():
                rows = rows.set_column(at, field, pc.replace_substring(column, "\0", "\ufffd"))
    return rows
