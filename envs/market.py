"""`MarketEnv`: several instruments, several views, any scheme of actions.

Where `TradingEnv` is one position at full speed, this is the general case: Dict or flat
observations of several datasets, target weights or single orders, decisions on bars, on quotes or
on a timer, with open orders in the observation and masks for impossible actions.
"""

from collections.abc import Sequence
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs import rewards
from envs.market_spec import ACCOUNT, HOLDING, ORDER
from envs.schemes import Holding, Mask, Scheme
from envs.stage import MarketFill, Stage, split
from envs.views import Clock, Rows, View, decision_times
from grid.dataset import Dataset, to_iso
from grid.errors import ConfigError, DataError
from grid.latency import bounds_ns
from grid.node.commands import CancelAll, Command, Market
from grid.venue import Venue

type Obs = dict[str, NDArray[np.float32]] | NDArray[np.float32]

_LEAST_REACH: Final = 4  # decisions after an episode, for an account to be closed out on
_AGE_UNIT: Final = 10.0  # decisions


class Player:
    """One trader on a stage, as its agent sees it: observation, reward, end.

    Args:
        stage: where it trades.
        trader: which trader of the stage it is.
        tape: the prices at each decision.
        views: what it sees.
        scheme: what its actions mean.
        reward: name or dotted path, see `envs.rewards`.
        flat: one Box in place of a Dict.
        clip: bound of every number in an observation.
    """

    def __init__(
        self,
        stage: Stage,
        trader: int,
        tape: "Tape",
        views: Sequence[View],
        scheme: Scheme,
        *,
        reward: str,
        flat: bool,
        clip: float,
        capital: float,
    ) -> None:
        self._stage = stage
        self._trader = trader
        self._tape = tape
        self._views = views
        self._scheme = scheme
        self._reward = rewards.find(reward)
        self._flat = flat
        self._clip = clip
        self._capital = capital
        self._names = [stage.name_of(i, trader) for i in stage.instruments]
        self.action_space = scheme.space(len(self._names))
        self.observation_space = self._space()

    def begin(self) -> None:
        """Start an episode."""
        self._equity = self._peak = self._capital
        self._traded = 0.0
        self._seen = 0
        self._reward.reset()

    def holdings(self, prices: Sequence[float]) -> list[Holding]:
        """Return what it holds at `prices`, one for each instrument of the stage."""
        trader = self._stage.traders[self._trader]
        return [
            Holding(
                trader.instruments[name],
                trader.ledgers[name].position_qty,
                trader.ledgers[name].pending_qty,
                price,
                [order for order in trader.open.values() if order.instrument_id == name],
            )
            for name, price in zip(self._names, prices, strict=True)
        ]

    def commands(self, action: Any, prices: Sequence[float]) -> list[Any]:
        """Return what an action orders at `prices`."""
        return self._scheme.commands(action, self._equity, self.holdings(prices))

    def is_due(self, prices: Sequence[float], venue: Venue) -> bool:
        """Whether its account is to be closed out at `prices`: ruin, or too little margin."""
        trader = self._stage.traders[self._trader]
        equity = trader.equity(dict(zip(self._names, prices, strict=True)))
        needed = sum(
            abs(h.position_qty)
            * h.price
            * h.instrument.multiplier
            * venue.maintenance(h.instrument)
            for h in self.holdings(prices)
        )
        return equity <= venue.ruin * self._capital or equity < needed

    def is_flat(self) -> bool:
        """Whether nothing is held, and nothing ordered."""
        trader = self._stage.traders[self._trader]
        held = any(ledger.position_qty for ledger in trader.ledgers.values())
        return not held and not trader.open

    def closing(self, prices: Sequence[float]) -> list[Command]:
        """Return what brings it nearer to being flat: first no orders, then no position."""
        found: list[Command] = []
        for h in self.holdings(prices):
            if any(order.px is not None for order in h.orders):
                found.append(CancelAll(h.instrument.id))
            elif h.position_qty and not h.orders:
                found.append(Market(h.instrument.id, -h.position_qty))
        return found

    def mask(self, prices: Sequence[float]) -> Mask:
        """Return which actions are possible."""
        return self._scheme.mask(self.holdings(prices))

    def rewarded(self, prices: Sequence[float]) -> float:
        """Book the step that ends at `prices` and return its reward."""
        trader = self._stage.traders[self._trader]
        equity = trader.equity(dict(zip(self._names, prices, strict=True)))
        traded = sum(ledger.traded for ledger in trader.ledgers.values())
        fills = [self._executed(fill) for fill in self._new_fills()]
        step = rewards.Step(
            self._equity, equity, self._peak, self._capital, traded - self._traded, fills
        )
        self._equity, self._traded = equity, traded
        self._peak = max(self._peak, equity)
        return self._reward(step)

    @property
    def equity(self) -> float:
        """Equity at the last step."""
        return self._equity

    def observe(
        self, rows: Sequence[int], prices: Sequence[float], now_ns: int, step_ns: int
    ) -> Obs:
        """Return the observation; every array is fresh."""
        parts = {view.name: view.show(row) for view, row in zip(self._views, rows, strict=True)}
        holdings = self.holdings(prices)
        parts["account"] = self._account(holdings)
        if self._scheme.slots:
            parts["orders"] = self._orders(holdings, now_ns, step_ns)
        if not self._flat:
            return parts
        return np.concatenate([part.ravel() for part in parts.values()])

    def info(self, prices: Sequence[float]) -> dict[str, Any]:
        """Return equity, positions, fees, open orders and the fills since the last call."""
        trader = self._stage.traders[self._trader]
        new = self._new_fills()
        self._seen += len(new)
        return {
            "equity": self._equity,
            "positions": {name: trader.ledgers[name].position_qty for name in self._names},
            "prices": dict(zip(self._names, prices, strict=True)),
            "fees": sum(ledger.fees for ledger in trader.ledgers.values()),
            "funding": sum(ledger.funding for ledger in trader.ledgers.values()),
            "traded": self._traded,
            "open_orders": len(trader.open),
            "refused": trader.refused,
            "fills": new,
        }

    def _new_fills(self) -> list[MarketFill]:
        return self._stage.fills(self._trader)[self._seen :]

    def _executed(self, fill: MarketFill) -> rewards.Executed:
        """The fill beside the price at the decision that gave its order."""
        i = self._names.index(fill.instrument_id)
        arrival_px = self._tape.prices_at(fill.decided_ns)[i]
        multiplier = self._stage.instruments[i].multiplier
        return rewards.Executed(fill.signed_qty, fill.px, arrival_px, fill.commission, multiplier)

    def _account(self, holdings: Sequence[Holding]) -> NDArray[np.float32]:
        equity = max(self._equity, 1e-9 * self._capital)
        trader = self._stage.traders[self._trader]
        numbers = [100.0 * float(np.log(equity / self._capital)), 0.0]
        for h in holdings:
            unit = h.price * h.instrument.multiplier / equity
            unrealized = trader.ledgers[h.instrument.id].unrealized(h.price)
            numbers += [
                h.position_qty * unit,
                h.pending_qty * unit,
                100.0 * unrealized / self._capital,
            ]
            numbers[1] += abs(h.position_qty * unit)
        return np.asarray(np.clip(numbers, -self._clip, self._clip), dtype=np.float32)

    def _orders(
        self, holdings: Sequence[Holding], now_ns: int, step_ns: int
    ) -> NDArray[np.float32]:
        slots = self._scheme.slots
        table = np.zeros((len(holdings) * slots, len(ORDER)))
        equity = max(self._equity, 1e-9 * self._capital)
        for i, h in enumerate(holdings):
            for j, order in enumerate(h.orders[:slots]):
                away = 0.0 if order.px is None else 100.0 * (order.px / h.price - 1.0)
                age = (now_ns - order.ts_ns) / step_ns / _AGE_UNIT
                left = order.left_qty * h.price * h.instrument.multiplier / equity
                table[i * slots + j] = left, away, age
        return np.asarray(np.clip(table, -self._clip, self._clip), dtype=np.float32)

    def _space(self) -> gymnasium.Space[Any]:
        n = len(self._names)
        shapes: dict[str, tuple[int, ...]] = {view.name: view.shape for view in self._views}
        shapes["account"] = (len(ACCOUNT) + len(HOLDING) * n,)
        if self._scheme.slots:
            shapes["orders"] = (n * self._scheme.slots, len(ORDER))
        if self._flat:
            size = sum(int(np.prod(shape)) for shape in shapes.values())
            return spaces.Box(-self._clip, self._clip, (size,), np.float32)
        boxes: dict[str, gymnasium.Space[Any]] = {
            name: spaces.Box(-self._clip, self._clip, shape, np.float32)
            for name, shape in shapes.items()
        }
        return spaces.Dict(boxes)


class Tape:
    """Decision times with the rows and prices that belong to them, and episodes cut from it.

    Args:
        views: what is seen.
        markets: what is traded, one dataset for each instrument.
        clock: when decisions are taken.
        span_ns: half-open span of decision times, None for all.
    """

    def __init__(
        self,
        views: Sequence[View],
        markets: Sequence[Dataset],
        clock: Clock,
        span_ns: tuple[int, int] | None,
    ) -> None:
        times = decision_times(clock, views)
        if span_ns is not None:
            times = times[(times >= span_ns[0]) & (times < span_ns[1])]
        if len(times) < 2:
            raise DataError("no two decision times in the span asked for")
        self.times_ns = times
        self.rows = np.stack([view.rows_at(times) for view in views], axis=1)
        self.step_ns = _usual_step_ns(times, views[0].fitted_ns)
        by_id = {view.dataset.manifest.instrument.id: view for view in reversed(views)}
        ids = [m.manifest.instrument.id for m in markets]
        missing = [i for i in ids if i not in by_id]
        if missing:
            raise ConfigError(f"no view of {missing[0]}, which is traded; its price is not known")
        self.prices = np.stack([by_id[i].prices[by_id[i].rows_at(times)] for i in ids], axis=1)
        self._market_times = [np.asarray(m.columns["ts_event"]) for m in markets]
        for market, rows_ns in zip(markets, self._market_times, strict=True):
            if not ((rows_ns >= times[0]) & (rows_ns <= times[-1])).any():
                m, start, end = market.manifest, *(to_iso(int(times[k])) for k in (0, -1))
                raise DataError(
                    f"{m.name}: no row of {m.instrument.id} between {start} and {end}, where "
                    "decisions are taken"
                )

    def prices_at(self, ts_ns: int) -> list[float]:
        """Return the prices at the newest decision that is not after `ts_ns`."""
        at = int(np.searchsorted(self.times_ns, ts_ns, side="right")) - 1
        prices: list[float] = self.prices[at].tolist()
        return prices

    def reach(self, last: int, venue: Venue) -> int:
        """Return the last decision that an engine is given, to be closed out on, after `last`."""
        if not venue.liquidation:
            return last
        _, longest_ns = bounds_ns(venue)
        # what is under way, the cancellation, the closing order, each with its latency
        until_ns = self.times_ns[last] + 3 * longest_ns
        end = max(last + _LEAST_REACH, int(np.searchsorted(self.times_ns, until_ns, side="right")))
        return min(len(self.times_ns) - 1, end)

    def market_rows(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the rows of each market from just before decision `first` to `last`."""
        start, end = self.times_ns[first], self.times_ns[last]
        ranges = []
        for times in self._market_times:
            lo = int(np.searchsorted(times, start, side="right")) - 1
            hi = int(np.searchsorted(times, end, side="right")) + 1
            ranges.append((max(0, lo), min(len(times), hi)))
        return ranges


class MarketEnv(gymnasium.Env[Obs, Any]):
    """One trader, several instruments, an episode a span of decision times.

    Observation: each view under its name; `account` (see `ACCOUNT`, then `HOLDING` for each
    instrument); with order-level actions `orders`, slots of open orders (see `ORDER`).
    `terminated` means liquidation, at ruin or below the maintenance margin: the engine cancels all
    orders and closes all positions at the market, as far as there are decision times, and reward
    and `info["liquidated"]` tell of it. `truncated` means the end of the episode's times.

    Args:
        views: what is seen; the first view of an instrument gives its price.
        markets: what is traded, one dataset for each instrument, and beside its quotes its trades,
            which fill limits and move their queues; None for the first view of each.
        scheme: what actions mean, see `envs.schemes`.
        venue: costs.
        clock: when decisions are taken, see `envs.views`.
        capital: starting balance.
        steps: decisions an episode, from a random time; None for one episode over all.
        span_ns: half-open span of decision times, None for all.
        reward: name or dotted path, see `envs.rewards`.
        reward_scale: factor on the reward.
        flat: one Box in place of a Dict.
        clip: bound of every number in an observation.
        keep_history: keep closed orders and positions for `reports`, at the price of memory.

    Attributes:
        times_ns: int64 [decisions], of the decisions.
        prices: float64 [decisions, instruments], at the decisions, as they are traded.

    Raises:
        ConfigError: the parts do not fit together.
        DataError: there are too few decision times.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(
        self,
        views: Sequence[View],
        scheme: Scheme,
        venue: Venue,
        *,
        markets: Sequence[Dataset] | None = None,
        clock: Clock = Rows(),  # noqa: B008 - frozen
        capital: float = 100_000.0,
        steps: int | None = None,
        span_ns: tuple[int, int] | None = None,
        reward: str = "log_equity",
        reward_scale: float = 1.0,
        flat: bool = False,
        clip: float = 5.0,
        keep_history: bool = False,
    ) -> None:
        traded = list(markets) if markets is not None else first_of_each(views)
        self.views = tuple(views)
        self.markets = tuple(traded)
        self.scheme = scheme
        self.venue = venue
        self._tape = Tape(views, split(traded)[0], clock, span_ns)
        self.times_ns = self._tape.times_ns
        self.prices = self._tape.prices
        self._capital = capital
        self._scale = reward_scale
        available = len(self._tape.times_ns) - 1
        if steps is not None and not 1 <= steps <= available:
            raise DataError(f"1 to {available} steps an episode possible, found {steps}")
        self._steps = steps
        self._stage = Stage(
            traded, venue, capital, resting=scheme.resting, keep_history=keep_history
        )
        try:
            self._player = Player(
                self._stage, 0, self._tape, views, scheme,
                reward=reward, flat=flat, clip=clip, capital=capital,
            )  # fmt: skip
        except BaseException:
            self._stage.close()
            raise
        self.action_space = self._player.action_space
        self.observation_space = self._player.observation_space
        self._at = self._last = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start an episode at `options["decision"]`, else at a random one, else at the first."""
        super().reset(seed=seed)
        count = len(self._tape.times_ns)
        steps = self._steps
        first = (options or {}).get("decision")
        if first is None:
            first = 0 if steps is None else int(self.np_random.integers(count - steps))
        if not 0 <= first < count - (steps or 1):
            raise DataError(
                f"first decision: expected 0 to {count - (steps or 1) - 1}, found {first}"
            )
        self._at = first
        self._last = count - 1 if steps is None else first + steps
        self._end = self._tape.reach(self._last, self.venue)
        self._liquidated = False
        self._stage.start(
            self._tape.times_ns[first : self._end + 1].tolist(),
            self._tape.market_rows(first, self._end),
            int(self.np_random.integers(1 << 31)),
        )
        self._behind = 0
        self._player.begin()
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Carry out the action and run to the next decision.

        Raises:
            ConfigError: the action is not in the action space.
            EngineError: the engine failed.
        """
        if self._at >= self._last:
            raise gymnasium.error.ResetNeeded("step after the end of an episode: call reset first")
        self._advance(self._player.commands(action, self._prices()))
        terminated = self._player.is_due(self._prices(), self.venue)
        if terminated and self.venue.liquidation:
            self._liquidated = True
            while not self._player.is_flat() and self._at < self._end:
                self._advance(self._player.closing(self._prices()))
        reward = self._scale * self._player.rewarded(self._prices())
        truncated = self._at >= self._last and not terminated
        if terminated:
            self._last = self._at
        return self._observe(), reward, terminated, truncated, self._info()

    def _advance(self, commands: list[Command]) -> None:
        if commands or not self._stage.is_quiet():
            self._stage.step([commands], self._behind)
            self._behind = 0
        else:
            self._behind += 1
        self._at += 1

    def action_masks(self) -> Mask:
        """Return which actions are possible now, as sb3-contrib's MaskablePPO asks."""
        return self._player.mask(self._prices())

    def reports(self) -> dict[str, Any]:
        """Return the engine's own reports of the episode so far, and end it; see `envs.stage`."""
        self._last = self._at
        return self._stage.reports(0)

    def close(self) -> None:
        """Free the engine; harmless when closed already."""
        self._stage.close()
        self._last = self._at

    def _prices(self) -> list[float]:
        prices: list[float] = self._tape.prices[self._at].tolist()
        return prices

    def _observe(self) -> Obs:
        tape = self._tape
        return self._player.observe(
            tape.rows[self._at].tolist(),
            self._prices(),
            int(tape.times_ns[self._at]),
            tape.step_ns,
        )

    def _info(self) -> dict[str, Any]:
        info = self._player.info(self._prices())
        info["ts_event_ns"] = int(self._tape.times_ns[self._at])
        info["decision"] = self._at
        info["liquidated"] = self._liquidated
        return info


def _usual_step_ns(times_ns: NDArray[np.int64], fitted_ns: tuple[int, int]) -> int:
    """The unit of an order's age; like normalization, learned from training rows and no other."""
    known = times_ns[(times_ns >= fitted_ns[0]) & (times_ns <= fitted_ns[1])]
    return int(np.median(np.diff(known if len(known) > 1 else times_ns[:2])))


def first_of_each(views: Sequence[View]) -> list[Dataset]:
    """Return what is traded where nothing else is named: the dataset of each first view.

    Of bars that were made it is the ticks that they were made of.
    """
    found: dict[str, Dataset] = {}
    for view in views:
        dataset = view.dataset
        found.setdefault(dataset.manifest.instrument.id, dataset.ticks or dataset)
    return list(found.values())
