"""A backtest engine with one venue, one instrument and the strategy, and how it is freed."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
from nautilus_trader.backtest import BacktestEngine, BacktestEngineConfig
from nautilus_trader.common import CacheConfig, LoggerConfig, LogLevel
from nautilus_trader.execution import StaticLatencyModel
from nautilus_trader.model import AccountType, Currency, Money, OmsType
from nautilus_trader.model import Venue as EngineVenue
from nautilus_trader.portfolio import PortfolioConfig
from nautilus_trader.risk import RiskEngineConfig
from numpy.typing import NDArray

from envs.engine_links import StepLink
from grid.dataset import Manifest
from grid.errors import ConfigError
from grid.instrument import Instrument
from grid.latency import Latency
from grid.node.books import BOOKS, Book
from grid.node.costs import fee_model, fill_model
from grid.node.courier import ENGINE_NS, Courier
from grid.node.instruments import to_engine
from grid.node.links import Link
from grid.node.settlement import Settlement
from grid.node.strategy import AgentStrategy
from grid.spec import Spec
from grid.venue import Venue

STRATEGY_ID: Final = "AGENT-001"


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
