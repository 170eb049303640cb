"""Action schemes: what an action means, which actions are possible, what is ordered.

A scheme turns an action into commands, looking at the account as it is; it keeps no state.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from grid.errors import ConfigError
from grid.instrument import Instrument
from grid.node.commands import Bracket, Cancel, CancelAll, Command, Limit, Market, OpenOrder

if TYPE_CHECKING:
    import gymnasium

type Mask = NDArray[np.int8]


class Holding(NamedTuple):
    """One instrument as a trader holds it.

    Attributes:
        instrument: what; its id is the one to trade under.
        position_qty: signed.
        pending_qty: signed, in orders under way that open or close a position.
        price: close or mid at the decision.
        orders: open orders, oldest first.
    """

    instrument: Instrument
    position_qty: float
    pending_qty: float
    price: float
    orders: Sequence[OpenOrder]


class Scheme(Protocol):
    """What an action means.

    Attributes:
        resting: whether limit or stop orders are used.
        slots: open orders of each instrument that belong into the observation.
    """

    @property
    def resting(self) -> bool:
        """Whether limit or stop orders are used."""
        ...

    @property
    def slots(self) -> int:
        """Open orders of each instrument that the observation shows."""
        ...

    def space(self, instruments: int) -> "gymnasium.Space[Any]":
        """Return the action space for so many instruments."""
        ...

    def commands(self, action: Any, equity: float, holdings: Sequence[Holding]) -> list[Command]:
        """Return what an action orders.

        Raises:
            ConfigError: it is not in the space.
        """
        ...

    def mask(self, holdings: Sequence[Holding]) -> Mask:
        """Return which actions are possible: int8, flat, as sb3-contrib's MaskablePPO takes it."""
        ...


class Weights(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="weights", tag_field="kind"
):
    """Target weights of equity, one for each instrument, in [-1, 1] times `gross`.

    Attributes:
        gross: notional of a weight of 1, as a multiple of equity.
        band: changes of a weight below this are not traded.
    """

    gross: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    band: Annotated[float, msgspec.Meta(ge=0)] = 0.02

    resting = False
    slots = 0

    def space(self, instruments: int) -> "gymnasium.Space[Any]":
        """Return a Box [instruments] of weights."""
        from gymnasium import spaces  # configs and checkpoints name a scheme, and are light

        return spaces.Box(-1.0, 1.0, (instruments,), np.float32)

    def commands(self, action: Any, equity: float, holdings: Sequence[Holding]) -> list[Command]:
        """Return market orders that bring each instrument to its weight."""
        weights = np.asarray(action, dtype=np.float64).reshape(-1)
        if weights.shape != (len(holdings),) or not (np.abs(weights) <= 1.0).all():
            raise ConfigError(
                f"action: expected {len(holdings)} weights from -1 to 1, found {action!r}"
            )
        found: list[Command] = []
        for weight, h in zip(weights.tolist(), holdings, strict=True):
            unit = h.price * h.instrument.multiplier
            budget = max(equity, 0.0) * self.gross
            qty = h.instrument.whole_lots(weight * budget / unit) - h.position_qty - h.pending_qty
            if abs(qty) * unit >= self.band * budget and abs(qty) >= h.instrument.lot * 0.999:
                qty = round(qty, h.instrument.size_precision)
                found.append(Market(h.instrument.id, qty))
        return found

    def mask(self, holdings: Sequence[Holding]) -> Mask:
        """Continuous actions have no mask: one entry for each instrument."""
        return np.ones(len(holdings), dtype=np.int8)


NOTHING, MARKET, LIMIT, BRACKET, CANCEL, CANCEL_ALL = range(6)
KINDS: Final = ("nothing", "market", "limit", "bracket", "cancel oldest", "cancel all")
COLUMNS: Final = 5  # of an instrument's action: kind, side, size, offset, time in force


class Orders(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="orders", tag_field="kind"
):
    """Order by order: for each instrument a kind, side, size, price offset and time in force.

    An action is MultiDiscrete, five numbers an instrument: kind (see `KINDS`), side (0 buy, 1
    sell), index into `sizes`, index into `offsets_ticks`, index into `tifs`. Numbers that a kind
    does not use are ignored.

    Attributes:
        sizes: quantities in units.
        offsets_ticks: distances from the price, in ticks, on the passive side of a limit, and of
            both legs of a bracket.
        tifs: times in force of a limit.
        max_qty: position beyond which orders that add to it are masked and refused.
        slots: open orders an instrument may have, and the observation shows.
    """

    sizes: tuple[Annotated[float, msgspec.Meta(gt=0)], ...]
    max_qty: Annotated[float, msgspec.Meta(gt=0)]
    offsets_ticks: tuple[Annotated[int, msgspec.Meta(ge=1)], ...] = (1, 5, 20)
    tifs: tuple[Literal["GTC", "IOC", "FOK", "DAY"], ...] = ("GTC",)
    slots: Annotated[int, msgspec.Meta(ge=1)] = 4

    resting = True

    def space(self, instruments: int) -> "gymnasium.Space[Any]":
        """Return MultiDiscrete with five numbers for each instrument."""
        from gymnasium import spaces

        return spaces.MultiDiscrete(list(self.counts) * instruments)

    def commands(self, action: Any, equity: float, holdings: Sequence[Holding]) -> list[Command]:
        """Return one command for each instrument that is to do something."""
        numbers = np.asarray(action).reshape(-1)
        counts = np.array(self.counts * len(holdings))
        if numbers.shape != counts.shape or not ((numbers >= 0) & (numbers < counts)).all():
            raise ConfigError(
                f"action: expected {len(counts)} whole numbers below {counts.tolist()}, "
                f"found {action!r}"
            )
        found: list[Command] = []
        for h, part in zip(holdings, numbers.reshape(-1, COLUMNS).tolist(), strict=True):
            command = self._command(h, *(int(x) for x in part))
            if command is not None:
                found.append(command)
        return found

    def mask(self, holdings: Sequence[Holding]) -> Mask:
        """Return which numbers are possible: by kind and side; sizes and offsets always are."""
        parts: list[bool] = []
        for h in holdings:
            room = len(h.orders) < self.slots
            buys, sells = self._room(h, 1) > 0, self._room(h, -1) > 0
            trades = room and (buys or sells)
            some = len(h.orders) > 0
            parts += [True, trades, trades, trades and len(h.orders) + 2 < self.slots, some, some]
            # a row of a mask without any possible number would be no distribution
            parts += [buys or not sells, sells or not buys]
            parts += [True] * (len(self.sizes) + len(self.offsets_ticks) + len(self.tifs))
        return np.array(parts, dtype=np.int8)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each of an instrument's five numbers may have."""
        return len(KINDS), 2, len(self.sizes), len(self.offsets_ticks), len(self.tifs)

    def _room(self, h: Holding, side: int) -> float:
        """What may be added if all that is open on this side fills, and nothing on the other."""
        open_qty = sum(max(0.0, side * o.left_qty) for o in h.orders if not o.exits)
        return self.max_qty - side * h.position_qty - open_qty

    def _command(
        self, h: Holding, kind: int, side: int, size: int, offset: int, tif: int
    ) -> Command | None:
        if kind == NOTHING:
            return None
        if kind == CANCEL:
            return Cancel(h.orders[0].client_order_id) if h.orders else None
        if kind == CANCEL_ALL:
            return CancelAll(h.instrument.id) if h.orders else None
        sign = 1 - 2 * side
        qty = h.instrument.whole_lots(min(self.sizes[size], self._room(h, sign)))
        needed = 3 if kind == BRACKET else 1
        if qty <= 0 or len(h.orders) + needed > self.slots:
            return None
        away = self.offsets_ticks[offset] * h.instrument.tick
        digits = h.instrument.price_precision
        below, above = round(h.price - away, digits), round(h.price + away, digits)
        if kind == MARKET:
            return Market(h.instrument.id, sign * qty)
        if kind == LIMIT:
            px = below if sign > 0 else above
            return Limit(h.instrument.id, sign * qty, _on_tick(px, h), self.tifs[tif])
        gain, loss = (above, below) if sign > 0 else (below, above)
        return Bracket(h.instrument.id, sign * qty, _on_tick(gain, h), _on_tick(loss, h))


def _on_tick(px: float, h: Holding) -> float:
    tick = h.instrument.tick
    return round(round(px / tick) * tick, h.instrument.price_precision)
