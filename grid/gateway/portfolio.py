"""Positions, accounts and equity curves of the strategies of one grid. Pure."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from grid import wire
from grid.gateway import rows

_POINTS: Final = 5_000  # of a curve


class Portfolio:
    """By strategy: what each holds, has, and had at its newest decisions.

    Args:
        numbers: of the rows, in the order in which they came.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        self.accounts: dict[str, rows.Account] = {}
        self.positions: dict[str, rows.Position] = {}
        self.points: dict[str, deque[rows.Point]] = {}
        self._n = numbers

    def mark(self, event: wire.Decision, strategy: rows.Strategy) -> None:
        """Take the account as it was at a decision."""
        account, name = event.account, event.strategy_id
        before = self.accounts.get(name)
        peak = max(account.equity, before.peak_equity if before else account.equity)
        self.accounts[name] = rows.Account(
            strategy_id=name,
            cash=account.cash,
            equity=account.equity,
            unrealized=account.unrealized,
            mark_px=account.mark_px,
            position_qty=account.position_qty,
            pending_qty=account.pending_qty,
            open_orders=account.open_orders,
            peak_equity=peak,
            drawdown=1.0 - account.equity / peak if peak > 0.0 else 0.0,
            ts_event_ns=event.ts_event_ns,
        )
        points = self.points.setdefault(name, deque(maxlen=_POINTS))
        points.append(
            rows.Point(
                next(self._n),
                event.ts_event_ns,
                account.equity,
                account.position_qty,
                account.mark_px,
            )
        )
        self._hold(strategy, account.position_qty, account.mark_px, event.ts_event_ns)

    def fill(self, event: wire.Fill, strategy: rows.Strategy, open_orders: int) -> None:
        """Follow the position through a fill, as the strategy's own ledger does."""
        name = event.strategy_id
        signed = event.qty if event.side == "BUY" else -event.qty
        known = self.positions.get(name)
        after, before = event.position_qty, round(event.position_qty - signed, 12)
        avg_px = known.avg_px if known is not None else 0.0
        if after == 0.0:
            avg_px = 0.0
        elif before * signed >= 0.0:
            avg_px = (before * avg_px + signed * event.px) / after
        elif before * after < 0.0:
            avg_px = event.px
        account = self.accounts.get(name)
        mark_px = account.mark_px if account else event.px
        unrealized = after * (mark_px - avg_px) * strategy.multiplier
        self.positions[name] = rows.Position(
            name, strategy.instrument_id, after, avg_px, mark_px, unrealized, event.ts_event_ns
        )
        if account is None:
            return
        account.cash -= signed * event.px * strategy.multiplier + event.commission
        account.position_qty = after
        account.equity = account.cash + after * mark_px * strategy.multiplier
        account.unrealized = unrealized
        account.ts_event_ns = event.ts_event_ns
        account.open_orders = open_orders

    def restore(self, event: wire.Restored, strategy: rows.Strategy) -> None:
        """Take the position that a node found at the venue when it began."""
        held = event.holdings
        self.positions[event.strategy_id] = rows.Position(
            event.strategy_id, strategy.instrument_id, held.position_qty, held.avg_px,
            held.avg_px, 0.0, 0,
        )  # fmt: skip

    def _hold(self, strategy: rows.Strategy, qty: float, mark_px: float, ts_ns: int) -> None:
        name = strategy.strategy_id
        known = self.positions.get(name)
        avg_px = known.avg_px if known is not None and qty else 0.0
        unrealized = qty * (mark_px - avg_px) * strategy.multiplier if avg_px else 0.0
        self.positions[name] = rows.Position(
            name, strategy.instrument_id, qty, avg_px, mark_px, unrealized, ts_ns
        )
