"""`Player`: one trader on a stage, as its agent sees it."""

from collections.abc import Sequence
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs import rewards
from envs.fills import MarketFill
from envs.market_spec import ACCOUNT, HOLDING, ORDER
from envs.schemes import Holding, Mask, Scheme
from envs.stage import Stage
from envs.tape import Tape
from envs.views import View
from grid.node.commands import CancelAll, Command, Market
from grid.venue import Venue

type Obs = dict[str, NDArray[np.float32]] | NDArray[np.float32]

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
        tape: Tape,
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
