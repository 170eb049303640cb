"""A session as tables for analysis: decisions, actions, orders, fills, positions."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from grid import transcript
from grid.durable import write_atomic
from grid.errors import SessionError
from grid.session import Session
from grid.transcript import Transcript

type Format = Literal["parquet", "csv"]
type Row = dict[str, Any]


def export(path: Path, folder: Path, form: Format) -> dict[str, int]:
    """Write the tables of a session, all its runs together, into a folder; return their rows.

    Times are UNIX ns. A row of a run has its strategy and its epoch.

    Raises:
        SessionError: the session holds no run, or the folder holds such tables already.
    """
    runs = transcript.read(Session.open(path))
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.{form}" for name in TABLES}
    there = [str(file) for file in files.values() if file.exists()]
    if there:
        raise SessionError(f"{folder}: expected no tables there, found {', '.join(there)}")
    written = {}
    for name, rows_of in TABLES.items():
        rows = [row for run in runs for row in rows_of(run)]
        write_atomic(files[name], _packed(pa.Table.from_pylist(rows), form))
        written[name] = len(rows)
    return written


def _packed(table: pa.Table, form: Format) -> bytes:
    out = pa.BufferOutputStream()
    if form == "parquet":
        pyarrow.parquet.write_table(table, out)
    elif table.num_columns:
        pyarrow.csv.write_csv(table, out)
    packed: bytes = out.getvalue().to_pybytes()
    return packed


def _decisions(run: Transcript) -> Iterable[Row]:
    for seq, decision in sorted(run.decisions.items()):
        outcome = run.outcomes.get(seq)
        yield {
            "strategy": run.info.strategy_id,
            "epoch": run.info.epoch,
            "decision": seq,
            "published_ns": run.published_ns[seq],
            "ts_event_ns": decision.ts_event_ns,
            **{name: getattr(decision.account, name) for name in _ACCOUNT},
            "how": outcome.how if outcome else "",
            "target": outcome.target if outcome else None,
            "agent": outcome.agent_id if outcome else "",
            "reason": outcome.reason if outcome else "",
        }


def _actions(run: Transcript) -> Iterable[Row]:
    for acted in run.acted:
        action, answer = acted.action, acted.answer
        published_ns = run.published_ns.get(action.decision_seq)
        yield {
            "strategy": run.info.strategy_id,
            "epoch": run.info.epoch,
            "decision": action.decision_seq,
            "agent": action.agent_id,
            "lease": action.lease,
            "action": action.action_seq,
            "received_ns": acted.ts_recv_ns,
            "latency_ns": acted.ts_recv_ns - published_ns if published_ns else None,
            "policy_ns": action.policy_ns,
            "target": action.target,
            "status": answer.status,
            "reason": answer.reason,
            "orders": " ".join(answer.client_order_ids),
        }


def _orders(run: Transcript) -> Iterable[Row]:
    for update in run.orders:
        yield {"strategy": run.info.strategy_id, **_plain(update)}


def _fills(run: Transcript) -> Iterable[Row]:
    for fill in run.fills:
        yield {"strategy": run.info.strategy_id, **_plain(fill)}


def _positions(run: Transcript) -> Iterable[Row]:
    qty = run.restored.holdings.position_qty if run.restored else 0.0
    for fill in run.fills:
        signed = fill.qty if fill.side == "BUY" else -fill.qty
        yield {
            "strategy": run.info.strategy_id,
            "epoch": run.info.epoch,
            "instrument": run.instrument.id,
            "ts_event_ns": fill.ts_event_ns,
            "ts_market_ns": fill.ts_market_ns,
            "before_qty": qty,
            "traded_qty": signed,
            "after_qty": fill.position_qty,
            "px": fill.px,
        }
        qty = fill.position_qty


def _plain(event: msgspec.Struct) -> Row:
    row = msgspec.structs.asdict(event)
    row.pop("strategy_id")
    return row


_ACCOUNT: Final = ("position_qty", "pending_qty", "cash", "equity", "unrealized", "mark_px")
TABLES: Final[dict[str, Callable[[Transcript], Iterable[Row]]]] = {
    "decisions": _decisions,
    "actions": _actions,
    "orders": _orders,
    "fills": _fills,
    "positions": _positions,
}
