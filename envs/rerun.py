"""A recorded run through the engine again: with the recorded decisions, or as an env."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from nautilus_trader.model import BarType, InstrumentId, QuoteTick

from envs.data.check import GAP_INTERVALS, TICK_GAP_NS, gaps
from envs.engine_build import build, feed_engine, free
from envs.fitting import timed_rows
from envs.trading import TradingEnv
from grid import wire
from grid.dataset import Dataset, Manifest, Quality, fingerprint
from grid.errors import EngineError, SessionError
from grid.node.books import Book, best_of, depth_packet
from grid.node.convert import SIDES, engine_bar, engine_quote, quote_of
from grid.node.links import LocalLink
from grid.node.strategy import AgentStrategy
from grid.transcript import Transcript, columns_of
from grid.wire import Row


class Order(NamedTuple):
    """An order as it left the strategy."""

    client_order_id: str
    side: str
    qty: float


class Filled(NamedTuple):
    """A fill, without what is of one run alone: times and trade ids."""

    client_order_id: str
    side: str
    qty: float
    px: float
    commission: float


class Rerun(NamedTuple):
    """What the engine made of a recorded run."""

    orders: list[Order]
    fills: list[Filled]
    cash: float
    position_qty: float


def recorded(run: Transcript) -> Rerun:
    """Return what the recording says, in the same form.

    Orders that were open when the run began are left out, and one whose decision had no outcome any
    more when the node was killed.
    """
    explained = {event.client_order_id for _, event in run.flattened}
    first: dict[str, Order] = {}
    for update in run.orders:
        name = update.client_order_id
        if name not in run.inherited_ids and (
            update.decision_seq in run.outcomes or name in explained
        ):
            first.setdefault(name, Order(name, update.side, update.qty))
    cash, position = run.spec.capital, 0.0
    if run.restored is not None:
        cash, position = run.restored.holdings.cash, run.restored.holdings.position_qty
    for f in run.fills:
        signed = f.qty if f.side == "BUY" else -f.qty
        cash -= signed * f.px * run.instrument.multiplier + f.commission
        position = f.position_qty
    return Rerun(list(first.values()), own_fills(run), cash, position)


def own_fills(run: Transcript) -> list[Filled]:
    """Return the recorded fills of orders that the run itself has given."""
    return [
        Filled(f.client_order_id, f.side, f.qty, f.px, f.commission)
        for f in run.fills
        if f.client_order_id not in run.inherited_ids
    ]


def rerun(run: Transcript) -> Rerun:
    """Run the recorded market through the backtest engine with the recorded decisions.

    Raises:
        EngineError: the strategy failed in it.
    """
    link = _Scripted(run)
    book: Book = "L2" if run.spec.book else "L1"
    engine, strategy = build(run.spec, run.instrument, run.venue, link, book=book)
    try:
        feed_engine(engine, strategy, run.venue, _engine_data(run), run.venue.fill_seed)
        engine.run()
        if link.error is not None:
            raise EngineError(f"the strategy failed in the replay: {link.error}") from link.error
        untold = link.untold(own_fills(run))
        cash, position = link.held[len(link.held) - 1 - untold]
        return Rerun(link.orders, link.fills[: len(link.fills) - untold], cash, position)
    finally:
        free(engine, strategy, link)


def dataset_of(run: Transcript, name: str = "session") -> Dataset:
    """Return the rows of a run as a dataset in memory.

    Raises:
        SessionError: there are none, or the recording lacks some.
    """
    rows = run.rows
    if not rows:
        raise SessionError("the session holds no rows")
    spec = run.spec
    ticks = _rows_as_dataset(run, name, run.ticks, bars=False) if spec.bars_from else None
    return msgspec.structs.replace(_rows_as_dataset(run, name, rows), ticks=ticks)


def _rows_as_dataset(run: Transcript, name: str, rows: list[Row], *, bars: bool = True) -> Dataset:
    spec = run.spec
    wanted = spec.rows if bars else spec.bars_from
    kind: Any = "depth" if wanted == "depth" else f"{wanted}s"
    bar, interval_ns = (spec.bar, run.info.interval_ns) if bars else ("", 0)
    columns = columns_of(rows)
    longer_than_ns = GAP_INTERVALS * interval_ns or TICK_GAP_NS
    count, longest = gaps(columns["ts_event"], longer_than_ns)
    manifest = Manifest(
        name=name,
        kind=kind,
        instrument=run.instrument,
        rows=len(rows),
        start_ns=rows[0].ts_event_ns,
        end_ns=rows[-1].ts_event_ns,
        fingerprint=fingerprint(kind, run.instrument, bar, columns),
        quality=Quality(rows_read=len(rows), gaps=count, longest_gaps=longest),
        source=f"session of {run.info.strategy_id}, epoch {run.info.epoch}",
        bar=bar,
        interval_ns=interval_ns,
        book="L2" if spec.book else "",
        levels=spec.book.levels if spec.book else 0,
    )
    return Dataset(Path(name), manifest, columns)


class EnvStep(NamedTuple):
    """One decision as the env shows it."""

    seq: int
    obs: bytes
    equity: float


def as_env(run: Transcript, dataset: Dataset | None = None) -> tuple[list[EnvStep], list[Filled]]:
    """Play the recorded targets in a `TradingEnv` over the recorded rows, or those of a dataset.

    Returns the observation at every decision that the env can make one for, and all fills before
    the row at which the env stands still; their order ids are the env's own and left out.
    """
    dataset = dataset or dataset_of(run)
    history = sum(row.history for row in run.rows)
    # a live account is stopped by its node's limits alone
    venue = msgspec.structs.replace(run.venue, ruin=0.0, liquidation=False)
    env = TradingEnv(dataset, run.spec, venue, rows=(history, dataset.manifest.rows))
    try:
        return _play(env, run, history)
    finally:
        env.close()


def still_ns(run: Transcript) -> int:
    """Return the time of the last decision that an env can make: there it stands still."""
    times_ns = np.array([row.ts_event_ns for row in run.rows])
    if run.spec.timer_ns:
        _, times_ns = timed_rows(times_ns, 0, run.spec.timer_ns)
    else:
        times_ns = times_ns[sum(row.history for row in run.rows) :: run.spec.every]
    return int(times_ns[-1]) if len(times_ns) else 0


def _play(env: TradingEnv, run: Transcript, history: int) -> tuple[list[EnvStep], list[Filled]]:
    every = run.spec.every
    short = max(0, env.pipeline.warmup - 1 - history)
    skipped = -(-short // every)  # decisions before the first whose window is whole
    seq = run.first_decision + skipped
    row = history + skipped * every
    obs, info = env.reset(options={"row": row, "fill_seed": run.venue.fill_seed})
    if run.spec.timer_ns:
        seq = next(s for s, d in run.decisions.items() if d.ts_event_ns == info["ts_event_ns"])
    until_ns = still_ns(run)
    steps = [EnvStep(seq, obs.astype("<f4").tobytes(), info["equity"])]
    fills: list[Filled] = []
    over = False
    while not over and seq in run.outcomes:
        obs, _, terminated, truncated, info = env.step(_action(run, run.outcomes[seq].target))
        over = terminated or truncated
        seq += 1
        steps.append(EnvStep(seq, obs.astype("<f4").tobytes(), info["equity"]))
        for fill in info["fills"]:
            if fill.ts_event_ns >= until_ns:
                continue
            side = "BUY" if fill.signed_qty > 0 else "SELL"
            fills.append(Filled("", side, abs(fill.signed_qty), fill.px, fill.commission))
    return steps, fills


def _action(run: Transcript, target: float) -> Any:
    rule = run.spec.target
    if rule.kind == "discrete":
        return rule.levels.index(target)
    return np.array([target])


class _Scripted(LocalLink):
    """Repeats the recorded decisions and interventions, and keeps the orders and fills."""

    def __init__(self, run: Transcript) -> None:
        super().__init__(self._repeat, run.spec.every)
        self.orders: list[Order] = []
        self.fills: list[Filled] = []
        self._script = self._targets(run)
        # decisions between the market's events are alerts at their times
        self.wants_rows = not run.spec.timed
        self._times_ns = iter([d.ts_event_ns for _, d in sorted(run.decisions.items())])
        self._flattened = {
            at: event.client_order_id for at, event in run.flattened if event.client_order_id
        }
        restored = run.restored.orders if run.restored else ()
        self._limits = {order.client_order_id for order in restored if order.limit_px}
        self._inherited: dict[int, list[wire.Fill]] = {}
        for at, fill in run.inherited:
            self._inherited.setdefault(at, []).append(fill)
        self._abandoned: dict[int, float] = {}
        for at, left in run.abandoned:
            self._abandoned[at] = self._abandoned.get(at, 0.0) + left
        self._run = run
        self._seen = 0
        self._filled_ns: list[int] = []
        self.held: list[tuple[float, float]] = []  # cash and position, at first and after each fill
        self.wants_ticks = bool(run.flattened or run.inherited or run.abandoned)

    def untold(self, told: list[Filled]) -> int:
        """Return how many fills came with the last event of a run that was cut off right there."""
        if self._run.ended or not self._run.market:
            return 0
        last_ns = self._run.market[-1].ts_event_ns
        return sum(ts_ns >= last_ns for ts_ns in self._filled_ns[len(told) :])

    def start(self, strategy: AgentStrategy) -> None:
        """Begin with what the run began with; look at each order on its way out."""
        super().start(strategy)
        if (restored := self._run.restored) is not None:
            strategy.ledger.restore(
                restored.holdings, [o.signed_qty for o in restored.orders if not o.limit_px]
            )
        self.held = [(strategy.ledger.cash, strategy.ledger.position_qty)]
        submit = strategy.dispatch

        def dispatch(order: Any) -> None:
            qty = float(order.quantity)
            self.orders.append(Order(str(order.client_order_id), SIDES[order.side], qty))
            submit(order)

        strategy.dispatch = dispatch
        if not self.wants_rows:
            self._alert()

    def row(self, row: Any) -> None:
        """Repeat what was decided on this row, and what was done after it."""
        if not self.wants_rows:
            self._repeat(self._strategy)
            self._alert()
            return
        super().row(row)
        self._intervene()

    def _alert(self) -> None:
        if (at_ns := next(self._times_ns, None)) is not None:
            self._strategy.clock.set_time_alert_ns("decision", at_ns)

    def tick(self, quote: QuoteTick) -> None:
        """Repeat what was done after this quote."""
        self._intervene()

    def filled(self, signed_qty: float, px: float, commission: float, event: Any) -> None:
        """Keep the fill."""
        side = SIDES[event.order_side]
        self.fills.append(Filled(str(event.client_order_id), side, abs(signed_qty), px, commission))
        self._filled_ns.append(event.ts_event)
        ledger = self._strategy.ledger
        self.held.append((ledger.cash, ledger.position_qty))

    def _repeat(self, strategy: AgentStrategy) -> None:
        target, order_id = next(self._script)
        if target is not None:
            strategy.move_to(target, order_id)

    def _intervene(self) -> None:
        self._seen += 1
        ledger = self._strategy.ledger
        for fill in self._inherited.get(self._seen, ()):
            signed = fill.qty if fill.side == "BUY" else -fill.qty
            if fill.client_order_id in self._limits:  # did not count as pending until now
                ledger.order(signed)
            ledger.fill(signed, fill.px, fill.commission)
            self.held.append((ledger.cash, ledger.position_qty))
        if left := self._abandoned.get(self._seen):
            ledger.release(left)
        if order_id := self._flattened.get(self._seen):
            self._strategy.move_to(0.0, order_id)

    @staticmethod
    def _targets(run: Transcript) -> Iterator[tuple[float | None, str]]:
        ids = {
            a.answer.decision_seq: f"{a.action.agent_id}-{a.action.lease}-{a.action.action_seq}"
            for a in run.acted
            if a.answer.status == "accepted"
        }
        seq = run.first_decision - 1
        while True:
            seq += 1
            outcome = run.outcomes.get(seq)
            fallback = f"fallback-{run.info.epoch}-{seq}"
            held = outcome is None or outcome.kept or run.info.fallback == "hold"
            if outcome is None or (outcome.how == "fallback" and held):
                yield None, fallback
            else:
                yield outcome.target, ids.get(seq, fallback)


def _engine_data(run: Transcript) -> list[Any]:
    instrument = run.instrument
    precisions = (instrument.price_precision, instrument.size_precision)
    instrument_id = InstrumentId.from_str(instrument.id)
    bars = BarType.from_str(run.spec.bar_type) if run.spec.source == "bar" else None
    data: list[Any] = []
    for event in run.market:
        if event.history:
            continue
        if isinstance(event, wire.Trade):
            made = quote_of(event, instrument, run.venue)
            data.append(engine_quote(made, instrument_id, precisions))
        elif isinstance(event, wire.Depth):
            quote = engine_quote(best_of(event), instrument_id, precisions)
            # the engine may see an order before the first of a row's quotes: it needs a price
            data += [quote] * (not data) + [depth_packet(instrument, event), quote]
        elif isinstance(event, wire.Quote):
            data.append(engine_quote(event, instrument_id, precisions))
        elif bars is not None:
            data.append(engine_bar(event, bars, precisions))
    return data
