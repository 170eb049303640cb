"""What the paper venue keeps on disk: accounts, every order and every fill, for ever.

SQLite in WAL mode with full syncs: what a transaction has written is on the disk when it returns,
and a process that is killed leaves all of it or nothing. A double keeps its bits.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from grid import wire
from grid.errors import BusError, DataError
from grid.paper.book import Account, Order, Place, Terms

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS accounts (
    account_id TEXT PRIMARY KEY, terms TEXT, epoch INTEGER,
    cash REAL, position_qty REAL, avg_px REAL, fees REAL, traded REAL, fills INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    account_id TEXT, client_order_id TEXT, signed_qty REAL, due_ns INTEGER,
    epoch INTEGER, seq INTEGER, status TEXT, reason TEXT, limit_px REAL DEFAULT 0.0,
    PRIMARY KEY (account_id, client_order_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fills (
    account_id TEXT, trade_id TEXT, client_order_id TEXT, signed_qty REAL, px REAL,
    commission REAL, ts_event_ns INTEGER, epoch INTEGER, seq INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS open_orders ON orders (account_id) WHERE status = 'open';
CREATE INDEX IF NOT EXISTS fills_by_tick ON fills (account_id, epoch, seq);
CREATE INDEX IF NOT EXISTS fills_by_order ON fills (account_id, client_order_id);
PRAGMA user_version = 2;
"""
_ORDER: Final = "client_order_id, signed_qty, due_ns, epoch, seq, status, reason, limit_px"
_FILL: Final = "trade_id, client_order_id, signed_qty, px, commission, ts_event_ns"


class Journal:
    """The venue's file.

    Args:
        file: made if there is none.

    Raises:
        DataError: it is no journal of this version, or damaged.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, 1, 2):
                raise DataError(f"{file}: a journal of version 2 expected, found {version}")
            if version == 1:
                self._db.execute("ALTER TABLE orders ADD COLUMN limit_px REAL DEFAULT 0.0")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as e:
            self._db.close()
            raise DataError(f"{file}: cannot be used as the venue's journal: {e}") from e

    def accounts(self) -> dict[str, Account]:
        """Return all accounts with their open orders."""
        found = {}
        for account_id, terms, epoch, *held in self._db.execute("SELECT * FROM accounts"):
            rows = self._db.execute(
                f"SELECT {_ORDER} FROM orders WHERE account_id = ? AND status = 'open'"
                " ORDER BY epoch, seq",
                (account_id,),
            )
            found[account_id] = Account(
                account_id,
                msgspec.json.decode(terms, type=Terms),
                epoch,
                wire.Holdings(*held),
                tuple(_order(row) for row in rows),
            )
        return found

    def order(self, account_id: str, client_order_id: str) -> Order | None:
        """Return an order of whatever age, None if there never was one."""
        row = self._db.execute(
            f"SELECT {_ORDER} FROM orders WHERE account_id = ? AND client_order_id = ?",
            (account_id, client_order_id),
        ).fetchone()
        return _order(row) if row else None

    def fills_of(self, account_id: str, client_order_id: str) -> list[wire.VenueFill]:
        """Return the fills of an order."""
        rows = self._db.execute(
            f"SELECT {_FILL} FROM fills WHERE account_id = ? AND client_order_id = ?"
            " ORDER BY rowid",
            (account_id, client_order_id),
        )
        return [wire.VenueFill(*row) for row in rows]

    def fills_at(self, account_id: str, at: Place) -> list[wire.VenueFill]:
        """Return the fills that a node's message has made."""
        rows = self._db.execute(
            f"SELECT {_FILL} FROM fills WHERE account_id = ? AND epoch = ? AND seq = ?"
            " ORDER BY rowid",
            (account_id, *at),
        )
        return [wire.VenueFill(*row) for row in rows]

    def write(
        self,
        account: Account,
        at: Place,
        orders: Sequence[Order] = (),
        fills: Sequence[wire.VenueFill] = (),
    ) -> None:
        """Keep an account as it is, with what the message `at` has changed: all, on the disk.

        Raises:
            BusError: the disk refused; nothing of it was kept.
        """
        try:
            self._write(account, at, orders, fills)
        except sqlite3.Error as e:
            raise BusError(f"the venue's journal cannot be written: {e}") from e

    def _write(
        self,
        account: Account,
        at: Place,
        orders: Sequence[Order],
        fills: Sequence[wire.VenueFill],
    ) -> None:
        name = account.account_id
        held = msgspec.structs.astuple(account.ledger.holdings)
        terms = msgspec.json.encode(account.terms).decode()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, terms, account.epoch, *held),
            )
            self._db.executemany(
                f"INSERT INTO orders (account_id, {_ORDER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE"
                " SET status = excluded.status, reason = excluded.reason",
                [
                    (
                        name,
                        o.client_order_id,
                        o.signed_qty,
                        o.due_ns,
                        *o.placed,
                        o.status,
                        o.reason,
                        o.limit_px,
                    )
                    for o in orders
                ],
            )
            self._db.executemany(
                "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(name, *msgspec.structs.astuple(fill), *at) for fill in fills],
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _order(row: tuple[str, float, int, int, int, str, str, float]) -> Order:
    name, signed_qty, due_ns, epoch, seq, status, reason, limit_px = row
    return Order(
        client_order_id=name,
        signed_qty=signed_qty,
        due_ns=due_ns,
        placed=(epoch, seq),
        status=status,  # type: ignore[arg-type]  # written by `Journal.write` alone
        reason=reason,
        limit_px=limit_px,
    )
