"""Arrival prices: what stood on view when a fill's order was decided on."""

from collections.abc import Sequence

from envs.fills import EnvFill
from envs.rewards import Executed


class Arrivals:
    """Remembers, for each order, the price at the decision that changed the target.

    An order in flight keeps its own arrival price, however often the target changes behind it.

    Args:
        multiplier: account currency for one unit at a price of one.
    """

    def __init__(self, multiplier: float) -> None:
        self._multiplier = multiplier
        self.begin()

    def begin(self) -> None:
        """Start an episode without a target."""
        self._target: float | None = None
        self._px = 0.0
        self._px_of: dict[str, float] = {}

    def decided(self, target: float, px: float, order_ids: Sequence[str]) -> None:
        """Take a decision: its target, the price that it saw, and the orders that it gave."""
        if target != self._target:
            self._target, self._px = target, px
        for order_id in order_ids:
            self._px_of[order_id] = self._px

    def executed(self, fill: EnvFill) -> Executed:
        """Return a fill beside its arrival price."""
        arrival_px = self._px_of[fill.client_order_id]
        return Executed(fill.signed_qty, fill.px, arrival_px, fill.commission, self._multiplier)
