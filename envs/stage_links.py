"""Links of a stage's traders, which keep each fill with what is known of its order."""

from typing import Any

from envs.engine_links import StepLink, TimedLink
from envs.fills import MarketFill


class OrderLink(StepLink):
    """Keeps fills with what is known of their orders."""

    fills: list[MarketFill]  # type: ignore[assignment]
    _strategy: Any

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """Keep the fill for the step's info."""
        name = str(event.client_order_id)
        order = self._strategy.open[name]
        self.fills.append(
            MarketFill(
                event.ts_event, signed_qty, px, commission, name, order.instrument_id, order.ts_ns
            )
        )


class TimedOrderLink(OrderLink, TimedLink):
    """The same, and called at decision times."""
