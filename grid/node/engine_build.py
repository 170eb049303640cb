"""Builds the engine's LiveNode around a strategy: market data from the feed, orders to a venue."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from nautilus_trader.adapters.sandbox import (
    SandboxExecutionClientConfig,
    SandboxExecutionClientFactory,
)
from nautilus_trader.common import Environment, LoggerConfig, LogLevel
from nautilus_trader.live import (
    DataClientConfig,
    ExecutionClientConfig,
    LiveExecutionEngineConfig,
    LiveNode,
    LiveRiskEngineConfig,
    RoutingConfig,
)
from nautilus_trader.model import AccountType, BookType, Currency, Money, OmsType, TraderId
from nautilus_trader.model import Venue as EngineVenue

from grid.instrument import Instrument
from grid.node.costs import fee_model, fill_model
from grid.node.data_client import Wiring, factory
from grid.node.exec_client import PaperWiring, paper_factory
from grid.node.setup import NodeSetup
from grid.node.strategy import AgentStrategy

_KEPT_MINS: Final = 1  # what is closed stays in the engine's cache for so long


def build_node(
    setup: NodeSetup, wiring: Wiring, paper: PaperWiring | None, strategy: AgentStrategy
) -> Any:
    """Return the engine's node, to be run and disposed of.

    Args:
        setup: capital and costs of the sandbox venue.
        wiring: to the feed.
        paper: to the paper venue; None to trade at the engine's sandbox.
        strategy: what it runs.
    """
    builder = LiveNode.builder("ARGONAUT", TraderId("ARGONAUT-001"), Environment.SANDBOX)
    builder = builder.with_logging(
        LoggerConfig(stdout_level=LogLevel.WARNING, is_colored=False, print_config=False)
    )
    builder = builder.with_timeout_connection(30)
    builder = builder.with_delay_post_stop_secs(0).with_delay_shutdown_secs(0)
    builder = builder.with_risk_engine_config(
        LiveRiskEngineConfig(max_order_submit_rate="10000/00:00:01")
    )
    builder = builder.add_data_client(
        "FEED", factory(wiring)(), DataClientConfig(), RoutingConfig(default=True)
    )
    if paper is None:
        builder = builder.add_simulated_exec_client(
            "SANDBOX", SandboxExecutionClientFactory(), _sandbox(setup)
        )
    else:
        builder = builder.add_exec_client(
            "PAPER",
            paper_factory(paper)(),
            ExecutionClientConfig(),
            RoutingConfig(default=True),
        )
    # the paper client repeats what has no reply, and the sandbox replies at once: the engine
    # need not ask again; what is closed it would keep for ever
    builder = builder.with_exec_engine_config(
        LiveExecutionEngineConfig(
            inflight_check_interval_ms=0 if paper else None,
            purge_closed_orders_interval_mins=1,
            purge_closed_orders_buffer_mins=_KEPT_MINS,
            purge_closed_positions_interval_mins=1,
            purge_closed_positions_buffer_mins=_KEPT_MINS,
            purge_account_events_interval_mins=1,
            purge_account_events_lookback_mins=_KEPT_MINS,
        )
    )
    node = builder.build()
    node.add_strategy(strategy)
    return node


def as_traded(setup: NodeSetup) -> Instrument:
    """Return the instrument as the engine is to know it."""
    instrument = setup.instrument
    if not setup.paper:
        return instrument
    # an account that is reported to the engine has no leverage there: it goes into the margins
    return msgspec.structs.replace(
        instrument,
        margin_init=instrument.margin_init / setup.venue.leverage,
        margin_maint=instrument.margin_maint / setup.venue.leverage,
    )


def _sandbox(setup: NodeSetup) -> SandboxExecutionClientConfig:
    currency = Currency.from_str(setup.instrument.currency)
    margin = setup.venue.account == "margin"
    return SandboxExecutionClientConfig(
        venue=EngineVenue(setup.instrument.venue),
        starting_balances=[Money(setup.spec.capital, currency)],
        base_currency=currency if margin else None,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN if margin else AccountType.CASH,
        default_leverage=Decimal(str(setup.venue.leverage)),
        fee_model=fee_model(setup.venue),
        fill_model=fill_model(setup.venue, setup.venue.fill_seed),
        book_type=BookType.L2_MBP if setup.spec.book else BookType.L1_MBP,
        bar_execution=False,
        queue_position=setup.venue.queue_position,
        liquidity_consumption=setup.venue.liquidity_consumption,
    )
