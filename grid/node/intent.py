"""The action rule: from a target position to the order that reaches it. Pure."""

from grid.instrument import Instrument
from grid.spec import TargetRule


class Intent:
    """Turns targets into signed order quantities, whole lots and never below the minimum.

    Args:
        rule: the size of a target of 1, and the smallest change that is traded.
        instrument: for its lot size.
    """

    def __init__(self, rule: TargetRule, instrument: Instrument) -> None:
        self._rule = rule
        self._instrument = instrument
        self._min_qty = max(rule.min_trade_qty, instrument.lot) * (1 - 1e-9)
        self._wanted = {level: self._want(level) for level in rule.levels}

    def order_qty(self, target: float, position_qty: float, pending_qty: float) -> float:
        """Return the signed quantity to order now, 0.0 for none.

        What is pending counts as done: an order in flight is not sent twice.
        """
        wanted = self._wanted.get(target)
        if wanted is None:
            wanted = self._want(target)
        qty = wanted - position_qty - pending_qty
        if abs(qty) < self._min_qty:
            return 0.0
        return round(qty, self._instrument.size_precision)

    def _want(self, target: float) -> float:
        return self._instrument.whole_lots(target * self._rule.max_qty)
