"""Charges funding and borrowing in the engine's account and in the strategy's ledgers alike."""

from collections.abc import Callable, Mapping
from typing import Any, Self

from nautilus_trader.backtest import SimulationModule, SimulationModuleContext
from nautilus_trader.model import Currency, Money, QuoteTick

from grid.financing import charges
from grid.node.ledger import Ledger
from grid.venue import Venue

_NS_PER_H = 3_600_000_000_000


class Settlement(SimulationModule):
    """A module of one simulated venue: on the multiples of `settle_every_h` positions are paid for.

    A position counts as it is when all events up to that time are done, at the mid of the venue's
    newest quote, and the charge shows at the first event or decision after it.

    Args:
        venue: the rates.
        currency: of the account.
    """

    def __new__(cls, venue: Venue, currency: str) -> Self:
        """The engine's own constructor takes nothing."""
        return super().__new__(cls)

    def __init__(self, venue: Venue, currency: str) -> None:
        self._venue = venue
        self._currency = Currency.from_str(currency)
        self._every_ns = round(venue.settle_every_h * _NS_PER_H)
        self.reset()

    def attach(self, ledgers: Mapping[str, Ledger], equity: Callable[[], float]) -> None:
        """Charge these ledgers, by instrument id; `equity` is asked for that of the account."""
        self._ledgers = ledgers
        self._equity = equity

    def reset(self) -> None:
        """Forget the last run."""
        self.mids: dict[str, float] = {}
        self._next_ns = 0
        self._due: list[Money] = []

    def settle(self, now_ns: int) -> None:
        """Charge all settlements before `now_ns` that were not charged yet."""
        if not self._next_ns:
            self._next_ns = -(-now_ns // self._every_ns) * self._every_ns
        while self._next_ns < now_ns:
            self._next_ns += self._every_ns
            self._charge()

    def pre_process(self, data: Any) -> None:
        """Charge what is due before a market event, and look at its price."""
        self.settle(data.ts_event)
        if isinstance(data, QuoteTick):
            mid = (float(data.bid_price) + float(data.ask_price)) / 2.0
            self.mids[str(data.instrument_id)] = mid

    def process(self, ts_now: int, context: SimulationModuleContext) -> list[Money] | None:
        """Hand the engine what is to be taken from its account."""
        due, self._due = self._due, []
        return due or None

    def _charge(self) -> None:
        held = {n: x for n, x in self._ledgers.items() if x.position_qty and n in self.mids}
        if not held:
            return
        notionals = [x.position_qty * self.mids[n] * x.multiplier for n, x in held.items()]
        amounts = charges(self._venue, notionals, self._equity())
        for ledger, amount in zip(held.values(), amounts, strict=True):
            paid = round(amount, self._currency.precision)
            if paid:
                ledger.charge(paid)
                self._due.append(Money(-paid, self._currency))
