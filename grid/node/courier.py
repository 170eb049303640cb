"""Takes orders to a backtest engine's venue, each when it is due.

The engine knows one latency for all, and lets orders that are due meet the book at the next timer
event too, even if the book has not changed since the decision. Here an order is handed over right
before the first market event at or after its arrival, so that this is what it meets.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from grid.latency import Latency

ENGINE_NS: Final = 1  # the engine's own latency: it makes an order wait for the next event


class Courier:
    """Holds each thing that is sent back until its time, by alerts of the engine's clock.

    What is to meet the event at T is handed over at T - 1 ns; the engine's latency does the rest.

    Args:
        strategy: whose orders they are; it has `clock`, `submit_order` and `fail`.
        latency: when things arrive.
        times_ns: instrument id -> times of its market events, int64, in order.
    """

    def __init__(
        self, strategy: Any, latency: Latency, times_ns: Mapping[str, NDArray[np.int64]]
    ) -> None:
        self._strategy = strategy
        self._latency = latency
        self._times_ns = times_ns
        self._waiting: dict[int, list[Callable[[], None]]] = {}  # by time, in the order sent

    def dispatch(self, order: Any) -> None:
        """Submit an order when it is due."""
        self.carry(str(order.instrument_id), lambda: self._strategy.submit_order(order))

    def carry(self, instrument_id: str, hand_over: Callable[[], None]) -> None:
        """Call `hand_over` for the first event of the instrument at or after the arrival.

        If there is none any more, what was sent stays on its way.
        """
        now_ns = self._strategy.clock.timestamp_ns()
        times_ns = self._times_ns[instrument_id]
        row = int(np.searchsorted(times_ns, self._latency.due_ns(now_ns), side="left"))
        if row < len(times_ns):
            self._at(int(times_ns[row]) - ENGINE_NS, hand_over)

    def carry_cancel(self, hand_over: Callable[[], None]) -> None:
        """Call `hand_over` so that it takes effect on arrival, and needs no market event."""
        due_ns = self._latency.due_ns(self._strategy.clock.timestamp_ns())
        self._at(due_ns - ENGINE_NS, hand_over)
        self._at(due_ns, _nothing)  # the venue looks at what is due at every alert

    def _at(self, at_ns: int, hand_over: Callable[[], None]) -> None:
        clock = self._strategy.clock
        if at_ns <= clock.timestamp_ns():
            hand_over()
            return
        if at_ns not in self._waiting:
            clock.set_time_alert_ns(f"order-{at_ns}", at_ns, lambda _: self._arrive(at_ns))
        self._waiting.setdefault(at_ns, []).append(hand_over)

    def _arrive(self, at_ns: int) -> None:
        try:
            for hand_over in self._waiting.pop(at_ns):
                hand_over()
        except BaseException as e:  # the engine would swallow it
            self._strategy.fail(e)


def _nothing() -> None:
    pass
