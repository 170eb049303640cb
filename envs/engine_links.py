"""What a strategy in an env asks for its decisions: the caller of `envs.engine.SteppedEngine.step`.

A decision switches to the caller's stack, and its answer switches back.
"""

from typing import Any, Final

import greenlet
from nautilus_trader.model import QuoteTick

from envs.fills import EnvFill
from grid.node.settlement import Settlement
from grid.node.strategy import AgentStrategy, Stopped

_PURGE_EVERY: Final = 64  # decisions; without it closed orders slow the engine and fill memory
STOP: Final = object()


class StepLink:
    """Hands each decision to the caller of `SteppedEngine.step`.

    The caller may be ahead: it passes rows on which nothing is ordered and nothing is pending
    without the engine, which then catches up, row by row, when there is something to do.
    """

    wants_ticks = False
    wants_rows = True

    def __init__(self, every: int, keep_history: bool) -> None:
        self.caller = greenlet.getcurrent()
        self.fills: list[EnvFill] = []
        self.refused = 0
        self.error: BaseException | None = None
        self._every = every
        self._keep_history = keep_history
        self._behind = 0
        self._target: Any = None  # a share of max_qty, or commands: what the caller wants done
        self.settlements: list[Settlement] = []

    def begin(self, times_ns: list[int]) -> None:
        """Forget the last run; the next one has rows at `times_ns`."""
        self.caller = greenlet.getcurrent()
        self.fills = []
        self.refused = 0
        self.error = None
        self._behind = 0

    def start(self, strategy: AgentStrategy) -> None:
        """Count rows from here."""
        self._strategy = strategy
        self._due = 1
        self._until_purge = _PURGE_EVERY

    def stop(self) -> None:
        """Nothing to close."""

    def catch_up(self, rows: int, target: Any) -> None:
        """Move to `target` only `rows` rows from now."""
        self._behind = rows
        self._target = target

    def row(self, row: Any) -> Any:
        """Switch to the caller when a decision is due; its answer is the target."""
        if self._behind:
            self._behind -= 1
            return None if self._behind else self._target
        self._due -= 1
        if self._due:
            return None
        self._due = self._every
        return self._ask()

    def tick(self, quote: QuoteTick) -> None:
        """Not asked for."""

    def ordered(self, client_order_id: str, status: str, event: Any) -> None:
        """Count what was refused."""
        if status in ("rejected", "denied"):
            self.refused += 1

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """Keep the fill for the step's info."""
        self.fills.append(
            EnvFill(event.ts_event, signed_qty, px, commission, str(event.client_order_id))
        )

    def failed(self, error: BaseException) -> None:
        """Keep the error for the caller."""
        self.error = error

    def _ask(self) -> Any:
        self._until_purge -= 1
        if not self._until_purge:
            self._until_purge = _PURGE_EVERY
            if not self._keep_history:
                self._purge()
        for settlement in self.settlements:
            settlement.settle(self._strategy.clock.timestamp_ns())
        target = self.caller.switch(True)
        if target is STOP:
            raise Stopped("episode over")
        return target

    def _purge(self) -> None:
        cache, now = self._strategy.cache, self._strategy.clock.timestamp_ns()
        cache.purge_closed_orders(now, 0)
        cache.purge_closed_positions(now, 0)
        cache.purge_account_events(now, 0)


class TimedLink(StepLink):
    """The same by time: an alert at each decision that the caller wants, instead of every row.

    For bars and events of books. On bars an order fills on the quotes of opens alone, so the bars
    need not go through the engine at all; a decision is an alert at the bar's close. A book goes
    through it without a call for each event; a decision is an alert at the row's time.
    """

    wants_rows = False

    def begin(self, times_ns: list[int]) -> None:
        """Forget the last run; the next one has rows at `times_ns`."""
        super().begin(times_ns)
        self._times_ns = times_ns

    def start(self, strategy: AgentStrategy) -> None:
        """Be called at the first row."""
        super().start(strategy)
        self._alert(0)

    def row(self, row: Any) -> Any:
        """Take the alert: act if the caller was ahead, else ask."""
        now, behind = self._at, self._behind
        if behind:
            self._behind = 0
            target = self._target
        else:
            target = self._ask()
            behind = self._behind
            if behind:
                self._alert(now + behind)
                return None
        self._alert(now + self._every)
        return target

    def _alert(self, row: int) -> None:
        self._at = row
        if row < len(self._times_ns):
            self._strategy.clock.set_time_alert_ns("decision", self._times_ns[row])
