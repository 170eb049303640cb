"""What a strategy asks for its decisions. Only the link differs between env, replay and live."""

from collections.abc import Callable
from typing import Any, Protocol

from nautilus_trader.model import QuoteTick

from grid.node import strategy as strategies


class Link(Protocol):
    """Between a strategy and whoever decides.

    Attributes:
        wants_ticks: whether quotes that are no rows are to be handed over too.
        wants_rows: whether bars are to be handed over; False where the link sets alerts instead.
    """

    wants_ticks: bool
    wants_rows: bool

    def start(self, strategy: "strategies.AgentStrategy") -> None:
        """The strategy has started."""

    def stop(self) -> None:
        """The strategy is stopping."""

    def row(self, row: Any) -> float | None:
        """A row has come; return the target to move to now, None to leave all as it is.

        `row` is an engine Bar or QuoteTick, or the TimeEvent of an alert that the link has set.
        """

    def tick(self, quote: QuoteTick) -> None:
        """A quote has come that is no row."""

    def ordered(self, client_order_id: str, status: str, event: Any) -> None:
        """An order changed its state, other than by a fill."""

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """An order was filled; the ledger knows it already."""

    def failed(self, error: BaseException) -> None:
        """A callback raised; the strategy has asked the engine to stop."""


class LocalLink:
    """A function decides, in the strategy's own process.

    Args:
        decide: called with the strategy at each decision; returns the target, or None to hold.
        every: rows from one decision to the next.
    """

    wants_ticks = False
    wants_rows = True

    def __init__(
        self, decide: Callable[["strategies.AgentStrategy"], float | None], every: int = 1
    ) -> None:
        self._decide = decide
        self._every = every
        self._due = 1
        self.error: BaseException | None = None

    def start(self, strategy: "strategies.AgentStrategy") -> None:
        """Count rows from here."""
        self._strategy = strategy
        self._due = 1

    def stop(self) -> None:
        """Nothing to close."""

    def row(self, row: Any) -> float | None:
        """Ask the function when a decision is due."""
        self._due -= 1
        if self._due:
            return None
        self._due = self._every
        return self._decide(self._strategy)

    def tick(self, quote: QuoteTick) -> None:
        """Not asked for."""

    def ordered(self, client_order_id: str, status: str, event: Any) -> None:
        """Nobody to tell."""

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """Nobody to tell."""

    def failed(self, error: BaseException) -> None:
        """Keep the error for the caller of the run."""
        self.error = error
