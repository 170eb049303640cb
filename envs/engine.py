"""One decision at a time out of the backtest engine.

A whole episode is one `engine.run()` inside a greenlet. At a decision the strategy's callback
switches to the caller, and the caller's answer switches back: no thread, no copy, and the engine
runs exactly as it does unattended. One engine a process: the core keeps its message bus in
thread-local state.
"""

import threading
import weakref
from typing import Any

import greenlet
from nautilus_trader.model import Venue as EngineVenue

from envs.engine_build import build, feed_engine, free
from envs.engine_data import market_data
from envs.engine_links import STOP, StepLink, TimedLink
from envs.fills import EnvFill
from grid.dataset import Columns, Manifest
from grid.errors import EngineError
from grid.instrument import Instrument
from grid.node.books import Book
from grid.node.costs import fill_model
from grid.spec import Spec
from grid.venue import Venue


class _Thread(threading.local):
    holder: "weakref.ref[Any] | None" = None


_thread = _Thread()


def claim(owner: Any) -> None:
    """Make `owner` the one holder of a live engine in this thread.

    Raises:
        EngineError: another one holds it; two engines of a thread would take each other's events.
    """
    holder = _thread.holder() if _thread.holder is not None else None
    if holder is not None and holder is not owner:
        raise EngineError(
            "an env with a live engine exists in this thread: close it first, or give each env "
            "a process of its own"
        )
    _thread.holder = weakref.ref(owner)


def unclaim(owner: Any) -> None:
    """Let another holder have an engine; harmless if `owner` has none."""
    if _thread.holder is not None and _thread.holder() is owner:
        _thread.holder = None


class SteppedEngine:
    """A backtest engine that stops at each decision and waits.

    Args:
        spec: what the strategy does.
        instrument: what it trades.
        venue: what trading costs.
        keep_history: keep closed orders and positions for `reports`, at the price of memory.
        book: which book orders meet, see `envs.books.book_type`.
        by_events: whether they meet every event of it.
    """

    def __init__(
        self,
        spec: Spec,
        instrument: Instrument,
        venue: Venue,
        *,
        keep_history: bool = False,
        book: Book = "L1",
        by_events: bool = False,
    ) -> None:
        claim(self)
        self._timed = spec.timed or spec.rows == "bar" or by_events
        self._link = (TimedLink if self._timed else StepLink)(spec.every, keep_history)
        try:
            self._engine, self.strategy = build(spec, instrument, venue, self._link, book=book)
        except BaseException:
            unclaim(self)
            raise
        self.ledger = self.strategy.ledger
        self._venue = venue
        self._run: greenlet.greenlet | None = None
        self._used = False

    @property
    def fills(self) -> list[EnvFill]:
        """Fills since `start`, in order."""
        return self._link.fills

    @property
    def refused(self) -> int:
        """Orders since `start` that venue or risk checks refused."""
        return self._link.refused

    def start(
        self,
        manifest: Manifest,
        columns: Columns,
        fill_seed: int | None = None,
        *,
        events: Columns | None = None,
        times_ns: list[int] | None = None,
    ) -> None:
        """Run the rows in `columns` up to the first decision.

        Args:
            manifest: of the dataset that the columns are from.
            columns: the rows of the episode, or the ticks that they are made of.
            fill_seed: of the draws of fills, None for the venue's own.
            events: of the dataset, if it has any.
            times_ns: of the decisions, None for those of the rows.

        Raises:
            EngineError: the engine failed, or there was no decision in the data.
        """
        self.stop()
        if self._used:
            self._engine.reset()
            self._engine.clear_data()
        self._used = True
        seed = self._venue.fill_seed if fill_seed is None else fill_seed
        if self._venue.draws:  # the draws go on over a reset of the engine
            name = EngineVenue(self.strategy.instrument.venue)
            self._engine.change_fill_model(name, fill_model(self._venue, seed))
        bars = self.strategy.spec.bar_type
        data = market_data(
            manifest, columns, bars, self._venue, only_quotes=self._timed, events=events
        )
        feed_engine(self._engine, self.strategy, self._venue, data, seed)
        self._link.begin(columns["ts_event"].tolist() if times_ns is None else times_ns)
        self._run = greenlet.greenlet(self._engine.run)
        self._run.switch()
        self._check_alive(self._run)

    def step(self, target: float | None, behind: int = 0) -> None:
        """Move to `target`, None to hold, and run on to the next decision.

        Args:
            target: share of `max_qty`.
            behind: rows to run through first, on which nothing was to be ordered.

        Raises:
            EngineError: the engine failed, or the data ended before a decision.
        """
        run = self._run
        if run is None:
            raise EngineError("step before start")
        if behind:
            self._link.catch_up(behind, target)
            run.switch(None)
        else:
            run.switch(target)
        if run.dead:
            self._check_alive(run)

    def stop(self) -> None:
        """End the run, if one is open; harmless otherwise."""
        run, self._run = self._run, None
        if run is not None and not run.dead:
            run.switch(STOP)

    def reports(self) -> dict[str, Any]:
        """Return the engine's own reports as pandas frames: orders, fills, positions, account."""
        self.stop()
        return {
            "orders": self._engine.generate_orders_report(),
            "fills": self._engine.generate_fills_report(),
            "positions": self._engine.generate_positions_report(),
            "account": self._engine.generate_account_report(
                EngineVenue(self.strategy.instrument.venue)
            ),
        }

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self.stop()
        if self._engine is not None:
            free(self._engine, self.strategy, self._link)
            self._engine = None
            del self.strategy  # or whoever still holds this would have it die on another thread
            unclaim(self)

    def _check_alive(self, run: greenlet.greenlet) -> None:
        if not run.dead:
            return
        self._run = None
        error = self._link.error
        if error is not None:
            raise EngineError(f"the strategy failed: {type(error).__name__}: {error}") from error
        raise EngineError("the data ended before the next decision")
