"""An engine with several instruments and one or more traders, stopped at given times.

What `envs.engine` is to one position, this is to orders: the whole episode is one run of the
engine in a greenlet, which waits at each decision time until the caller says what every trader
does. Each trader has an account of its own, and so a venue of its own on which the same market
is played: traders do not move each other's prices.
"""

from collections.abc import Sequence
from typing import Any

import greenlet
from nautilus_trader.model import Venue as EngineVenue

from envs.books import book_type
from envs.engine import claim, unclaim
from envs.engine_build import add_venue, check_latency, silent_engine, times_of
from envs.engine_links import STOP
from envs.fills import MarketFill
from envs.stage_links import OrderLink, TimedOrderLink
from envs.stage_markets import at_venue, books_of, check_together, engine_rows, split, trades_within
from grid.config import checked
from grid.dataset import Dataset, check_finite
from grid.errors import EngineError
from grid.instrument import Instrument
from grid.latency import Latency
from grid.node.commands import Command
from grid.node.costs import fill_model
from grid.node.courier import ENGINE_NS, Courier
from grid.node.instruments import to_engine
from grid.node.orders import OrderStrategy
from grid.node.settlement import Settlement
from grid.venue import Venue

type Commands = Sequence[Command]


class Stage:
    """Traders in one engine.

    Args:
        markets: one dataset for each instrument: what its orders fill on; beside its quotes also
            its trades, if limits are to fill on them, and a queue to move.
        venue: costs.
        capital: starting balance of every trader.
        traders: how many.
        resting: whether limit and stop orders are used: then bars move the market within
            themselves, and not only the quotes of their opens.
        keep_history: keep closed orders and positions for `reports`, at the price of memory.

    Raises:
        ConfigError: the instruments do not settle in one currency, or stand twice.
    """

    def __init__(
        self,
        markets: Sequence[Dataset],
        venue: Venue,
        capital: float,
        *,
        traders: int = 1,
        resting: bool = False,
        keep_history: bool = False,
    ) -> None:
        markets, self._prints = split(markets)
        self.instruments = [m.manifest.instrument for m in markets]
        check_together(self.instruments)
        for market in markets:
            check_latency(market.manifest, venue)
        self._markets = markets
        self._venue = venue
        self._resting = resting
        checked(venue, "venue")
        for market in [*markets, *self._prints.values()]:
            check_finite(market, 0, market.manifest.rows)
        self._copies = [
            [at_venue(i, n if traders > 1 else None) for i in self.instruments]
            for n in range(traders)
        ]
        # the first trader is called at decision times, for all
        self.links: list[OrderLink] = [
            (OrderLink if n else TimedOrderLink)(1, keep_history) for n in range(traders)
        ]
        self.traders: list[OrderStrategy] = []
        self._run: greenlet.greenlet | None = None
        self._used = False
        claim(self)
        self._engine: Any = silent_engine()
        try:
            self._build(capital)
        except BaseException:
            self.close()
            raise

    def _build(self, capital: float) -> None:
        venue, resting, currency = self._venue, self._resting, self.instruments[0].currency
        books = [book_type(market.manifest, venue) for market in self._markets]
        for n, (copies, link) in enumerate(zip(self._copies, self.links, strict=True)):
            settlements: dict[str, Settlement] = {}
            for name, book in sorted(books_of(copies, books).items()):
                if venue.charges:
                    settlements[name] = Settlement(venue, currency)
                add_venue(
                    self._engine, name, currency, capital, venue,
                    latency_ns=ENGINE_NS, bar_execution=resting, book=book,
                    settlement=settlements.get(name),
                )  # fmt: skip
            for instrument in copies:
                self._engine.add_instrument(to_engine(instrument))
            trader = OrderStrategy(copies, capital, link, f"AGENT-{n + 1:03d}")
            trader.books = frozenset(
                i.id for i, book in zip(copies, books, strict=True) if book != "L1"
            )
            self.traders.append(trader)
            self._engine.add_strategy(trader)
            for name, settlement in settlements.items():
                _attach(settlement, trader, name)
            self.links[0].settlements += settlements.values()
        self.traders[0].perform = self._perform

    def name_of(self, instrument: Instrument, trader: int) -> str:
        """The id under which a trader trades an instrument."""
        return self._copies[trader][self.instruments.index(instrument)].id

    def start(
        self, times_ns: Sequence[int], rows: Sequence[tuple[int, int]], fill_seed: int = 0
    ) -> None:
        """Run to the first of `times_ns`.

        Args:
            times_ns: of the decisions.
            rows: half-open range of each market's rows, from before the first time to after the
                last.
            fill_seed: of the draws of fills, where they depend on chance.

        Raises:
            EngineError: the engine failed.
        """
        self.stop()
        if self._used:
            self._engine.reset()
            self._engine.clear_data()
        self._used = True
        if self._venue.draws:  # the draws go on over a reset of the engine
            for name in sorted({i.venue for copies in self._copies for i in copies}):
                self._engine.change_fill_model(
                    EngineVenue(name), fill_model(self._venue, fill_seed)
                )
        for n, (trader, copies) in enumerate(zip(self.traders, self._copies, strict=True)):
            events_ns = {}
            for market, copy, span in zip(self._markets, copies, rows, strict=True):
                data = engine_rows(market, copy, span, self._venue, resting=self._resting)
                events_ns[copy.id] = times_of(data)
                self._engine.add_data(data, validate=False, sort=False)
                if (prints := self._prints.get(market.manifest.instrument.id)) is not None:
                    trades = trades_within(prints, copy, events_ns[copy.id])
                    self._engine.add_data(trades, validate=False, sort=False)
            trader.courier = Courier(trader, Latency(self._venue, fill_seed + n), events_ns)
        self._engine.sort_data()
        for link in self.links:
            link.begin(list(times_ns))
        self._run = greenlet.greenlet(self._engine.run)
        self._run.switch()
        self._check_alive()

    def step(self, commands: Sequence[Commands], behind: int = 0) -> None:
        """Let each trader carry out its commands, and run on to the next decision time.

        Args:
            commands: of each trader, in order.
            behind: decision times to pass first, at which nobody did anything.

        Raises:
            EngineError: the engine failed, or there is no further decision time.
        """
        run = self._run
        if run is None:
            raise EngineError("step before start")
        if behind:
            self.links[0].catch_up(behind, commands)
            run.switch(None)
        else:
            run.switch(commands)
        self._check_alive()

    def is_quiet(self) -> bool:
        """Whether nothing can happen in the engine until somebody orders something."""
        if any(trader.open for trader in self.traders):
            return False
        held = (x.position_qty for trader in self.traders for x in trader.ledgers.values())
        return not (self._venue.charges and any(held))

    def fills(self, trader: int) -> list[MarketFill]:
        """Fills of a trader since `start`, in order."""
        return self.links[trader].fills

    def reports(self, trader: int) -> dict[str, Any]:
        """Return the engine's own reports of a trader's episode so far, and end it.

        pandas frames: orders, fills, positions, and one of the account at each venue. The first two
        are whole only with `keep_history`.
        """
        self.stop()
        venues = sorted({i.venue for i in self._copies[trader]})
        return {
            "orders": self._engine.generate_orders_report(),
            "fills": self._engine.generate_fills_report(),
            "positions": self._engine.generate_positions_report(),
            **{
                f"account-{name}": self._engine.generate_account_report(EngineVenue(name))
                for name in venues
            },
        }

    def stop(self) -> None:
        """End the run, if one is open; harmless otherwise."""
        run, self._run = self._run, None
        if run is not None and not run.dead:
            run.switch(STOP)

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self.stop()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
            unclaim(self)
            # they hold each other, and the engine's objects must die on their own thread
            for part in (*self.traders, *self.links):
                part.__dict__.clear()
            # nor may whoever still holds the stage have them die on another
            self.traders.clear()
            self.links.clear()

    def _perform(self, commands: Sequence[Commands]) -> None:
        for trader, own in zip(self.traders, commands, strict=True):
            trader.execute(own)

    def _check_alive(self) -> None:
        if self._run is None or not self._run.dead:
            return
        self._run = None
        for error in (link.error for link in self.links):
            if error is not None:
                raise EngineError(f"a trader failed: {type(error).__name__}: {error}") from error
        raise EngineError("the data ended before the next decision")


def _attach(settlement: Settlement, trader: OrderStrategy, venue: str) -> None:
    """Let a settlement charge what a trader holds at a venue."""

    def equity() -> float:
        prices = {n: settlement.mids.get(n, x.avg_px) for n, x in trader.ledgers.items()}
        return trader.equity(prices)

    instruments = trader.instruments.values()
    here = {i.id: trader.ledgers[i.id] for i in instruments if i.venue == venue}
    settlement.attach(here, equity)
