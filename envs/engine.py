"""One decision at a time out of the backtest engine.

A whole episode is one `engine.run()` inside a greenlet. At a decision the strategy's callback
switches to the caller, and the caller's answer switches back: no thread, no copy, and the engine
runs exactly as it does unattended. One engine a process: the core keeps its message bus in
thread-local state.
"""

import threading
import weakref
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import greenlet
import numpy as np
from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import CacheConfig, LoggerConfig, LogLevel
from nautilus_trader.execution import StaticLatencyModel
from nautilus_trader.model import (
    AccountType,
    BarType,
    Currency,
    InstrumentId,
    Money,
    OmsType,
    QuoteTick,
)
from nautilus_trader.model import Venue as EngineVenue
from nautilus_trader.portfolio import PortfolioConfig
from nautilus_trader.risk import RiskEngineConfig
from numpy.typing import NDArray

from envs.books import book_data
from grid.dataset import Columns, Manifest
from grid.errors import ConfigError, EngineError
from grid.instrument import Instrument
from grid.latency import Latency
from grid.node.books import BOOKS, Book
from grid.node.convert import alternate, engine_bars, engine_quotes
from grid.node.costs import fee_model, fill_model
from grid.node.courier import ENGINE_NS, Courier
from grid.node.instruments import to_engine
from grid.node.links import Link
from grid.node.settlement import Settlement
from grid.node.strategy import AgentStrategy, Stopped
from grid.spec import Spec
from grid.venue import Floats, Venue, quotes_from_opens, quotes_from_trades

STRATEGY_ID: Final = "AGENT-001"
_PURGE_EVERY: Final = 64  # decisions; without it closed orders slow the engine and fill memory
STOP: Final = object()


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


class EnvFill(NamedTuple):
    """One fill as the env reports it."""

    ts_event_ns: int
    signed_qty: float
    px: float
    commission: float
    client_order_id: str


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


def build(
    spec: Spec, instrument: Instrument, venue: Venue, link: Link, *, book: Book = "L1"
) -> tuple[Any, AgentStrategy]:
    """Return a silent engine with one venue, one instrument and the strategy.

    Its data come by `feed_engine`.
    """
    if venue.account == "cash" and min(spec.target.levels, default=0.0) < 0:
        raise ConfigError("a cash account cannot go short: expected levels from 0, found below")
    engine = silent_engine()
    latency_ns = ENGINE_NS if _needs_courier(spec, venue) else venue.latency_ns
    settlement = Settlement(venue, instrument.currency) if venue.charges else None
    add_venue(
        engine, instrument.venue, instrument.currency, spec.capital, venue,
        latency_ns=latency_ns, book=book, settlement=settlement,
    )  # fmt: skip
    engine.add_instrument(to_engine(instrument))
    strategy = AgentStrategy(spec, instrument, link, STRATEGY_ID)
    engine.add_strategy(strategy)
    if settlement is not None:
        name, ledger = instrument.id, strategy.ledger
        settlement.attach({name: ledger}, lambda: ledger.equity(settlement.mids[name]))
        if isinstance(link, StepLink):
            link.settlements = [settlement]
    return engine, strategy


def feed_engine(
    engine: Any, strategy: AgentStrategy, venue: Venue, data: Sequence[Any], seed: int
) -> None:
    """Give an engine of `build` its data, and its strategy the latencies that it draws on them."""
    engine.add_data(data, validate=False)
    if _needs_courier(strategy.spec, venue):
        times_ns = {strategy.instrument.id: times_of(data)}
        strategy.dispatch = Courier(strategy, Latency(venue, seed), times_ns).dispatch


def _needs_courier(spec: Spec, venue: Venue) -> bool:
    return venue.latency_varies or spec.timed  # an alert between two events lets orders through


def times_of(data: Sequence[Any]) -> NDArray[np.int64]:
    """Return the times of engine data, int64."""
    return np.fromiter((datum.ts_event for datum in data), np.int64, len(data))


def silent_engine() -> BacktestEngine:
    """Return an engine that logs nothing below an error and refuses no order for its pace."""
    return BacktestEngine(
        BacktestEngineConfig(
            logging=LoggerConfig(stdout_level=LogLevel.ERROR, print_config=False),
            risk_engine=RiskEngineConfig(max_order_submit_rate="1000000/00:00:01"),
            cache=CacheConfig(tick_capacity=2, bar_capacity=2),  # nothing here reads older ones
            portfolio=PortfolioConfig(equity_curve=False),
            run_analysis=False,
        )
    )


def add_venue(
    engine: BacktestEngine,
    name: str,
    currency: str,
    capital: float,
    venue: Venue,
    *,
    latency_ns: int,
    bar_execution: bool = False,
    book: Book = "L1",
    settlement: Settlement | None = None,
) -> None:
    """Add a venue with its costs and one account of `capital`.

    `latency_ns` is what the engine itself lets pass; `ENGINE_NS` where a courier takes the orders.
    """
    money = Currency.from_str(currency)
    margin = venue.account == "margin"
    engine.add_venue(
        EngineVenue(name),
        OmsType.NETTING,
        AccountType.MARGIN if margin else AccountType.CASH,
        [Money(capital, money)],
        base_currency=money if margin else None,
        default_leverage=Decimal(str(venue.leverage)) if margin else None,
        fee_model=fee_model(venue),
        fill_model=fill_model(venue, venue.fill_seed),
        latency_model=StaticLatencyModel(latency_ns),
        book_type=BOOKS[book],
        bar_execution=bar_execution,
        queue_position=venue.queue_position,
        liquidity_consumption=venue.liquidity_consumption,
        modules=[settlement] if settlement is not None else None,
    )


def free(engine: Any, strategy: AgentStrategy, link: Link) -> None:
    """Dispose of what `build` gave.

    Strategy and link hold each other: left to the garbage collector they would be freed on
    whatever thread it runs, and the engine's objects must die on their own.
    """
    engine.dispose()
    strategy.__dict__.clear()
    link.__dict__.clear()


def check_latency(manifest: Manifest, venue: Venue) -> None:
    """Refuse a latency that the data cannot tell: bars have one price in a bar.

    Raises:
        ConfigError: with what was expected.
    """
    if manifest.kind != "bars":
        return
    if venue.latency_varies:
        raise ConfigError(
            f"venue: expected a fixed latency, since all orders fill on the next open of the bars "
            f"of {manifest.name}, found one that is drawn"
        )
    if venue.latency_ns >= manifest.interval_ns:
        raise ConfigError(
            f"venue.latency_ms: expected less than a bar of {manifest.interval_ns / 1e6:g} ms, "
            f"found {venue.latency_ms:g}"
        )


def market_data(
    manifest: Manifest,
    columns: Columns,
    bars: str,
    venue: Venue,
    *,
    only_quotes: bool = False,
    events: Columns | None = None,
) -> list[Any]:
    """Return the engine's view of dataset rows: quotes, or each bar after its open's quote.

    Of trades the engine sees the quotes that they make; of a book see `envs.books`.

    Args:
        manifest: of the dataset.
        columns: the rows.
        bars: the engine's name of the bars, as in `EUR/USD.SIM-1-HOUR-ASK-EXTERNAL`.
        venue: for the quotes that are made from bars.
        only_quotes: leave out the bars, but for the last, which carries the time to its close.
        events: of the dataset, if it has any.
    """
    instrument = manifest.instrument
    if manifest.book:
        return book_data(manifest, columns, events, venue)
    precisions = (instrument.price_precision, instrument.size_precision)
    instrument_id = InstrumentId.from_str(instrument.id)
    if manifest.kind == "quotes":
        return list(engine_quotes(instrument_id, columns, precisions))
    if manifest.kind == "trades":
        bid, ask = quotes_from_trades(columns["price"], columns["side"], instrument, venue)
        return list(engine_quotes(instrument_id, _made(columns, bid, ask, venue), precisions))
    ts, bid, ask = quotes_from_opens(
        columns["ts_event"], columns["open"], manifest.bar, manifest.interval_ns, instrument, venue
    )
    opens = _made({"ts_event": ts}, bid, ask, venue)
    quotes = engine_quotes(instrument_id, opens, precisions)
    bar_type = BarType.from_str(bars)
    if only_quotes:
        last = {field: values[-1:] for field, values in columns.items()}
        return [*quotes, *engine_bars(bar_type, last, precisions)]
    return alternate(quotes, engine_bars(bar_type, columns, precisions))


def _made(columns: Columns, bid: Floats, ask: Floats, venue: Venue) -> Columns:
    deep = np.full(len(bid), venue.depth_qty)
    ts = columns["ts_event"]
    return {"ts_event": ts, "bid_px": bid, "ask_px": ask, "bid_qty": deep, "ask_qty": deep}
