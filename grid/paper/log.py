"""What a paper venue's journal says of one account, read by others, while the venue works or not.

The venue's own side is `grid.paper.journal`.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import NamedTuple

import msgspec

from grid import wire
from grid.errors import DataError


class LoggedOrder(NamedTuple):
    """An order as the venue has it."""

    client_order_id: str
    signed_qty: float
    node_epoch: int  # of the node that placed it
    status: str  # open, filled, canceled or rejected


class VenueLog(msgspec.Struct, frozen=True):
    """One account: its orders by id, and its fills, oldest first."""

    orders: dict[str, LoggedOrder]
    fills: tuple[wire.VenueFill, ...]


def read(file: Path, account_id: str) -> VenueLog:
    """Return what the journal in `file` has of an account; nothing where it never traded.

    Raises:
        DataError: the file is missing, or no journal.
    """
    if not file.is_file():
        raise DataError(f"{file}: expected the journal of a paper venue, found no file")
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            orders = db.execute(
                "SELECT client_order_id, signed_qty, epoch, status FROM orders"
                " WHERE account_id = ? ORDER BY epoch, seq",
                (account_id,),
            ).fetchall()
            fills = db.execute(
                "SELECT trade_id, client_order_id, signed_qty, px, commission, ts_event_ns"
                " FROM fills WHERE account_id = ? ORDER BY rowid",
                (account_id,),
            ).fetchall()
    except sqlite3.Error as e:
        raise DataError(f"{file}: cannot be read as the journal of a paper venue: {e}") from e
    return VenueLog(
        {row[0]: LoggedOrder(*row) for row in orders}, tuple(wire.VenueFill(*row) for row in fills)
    )
