"""What an agent sees and may do on several instruments, or order by order. Plain: no engine."""

import hashlib
from typing import Annotated, Final

import msgspec

from envs.schemes import Orders, Weights
from grid.spec import Spec

ACCOUNT: Final = ("equity_log_pct", "exposure")
HOLDING: Final = ("weight", "pending_weight", "unrealized_pct")  # of each instrument
ORDER: Final = ("left_weight", "distance_pct", "age")  # of each slot of an open order


class SeenView(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the observation, with what was learned for it.

    Attributes:
        name: of the part.
        dataset: name of the dataset that it shows.
        spec: rows, features, window and normalization; its target and clock mean nothing here.
        fitted_ns: times of the first and the last row that it was fitted on, UNIX ns.
    """

    name: str
    dataset: str
    spec: Spec
    fitted_ns: tuple[int, int]


class MarketSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Observation and action of an agent in a `MarketEnv`, complete enough to rebuild both.

    Attributes:
        views: what is seen, in order.
        traded: views on whose datasets orders fill, in the order of the action.
        trades: names of datasets of trades beside the quotes of what is traded.
        action: what an action means.
        every: rows of the first view from one decision to the next.
        timer_s: in place of them, seconds; 0 for rows.
        clip: bound of every number in an observation.
        capital: starting balance, in account currency.
    """

    views: Annotated[tuple[SeenView, ...], msgspec.Meta(min_length=1)]
    traded: tuple[str, ...]
    action: Weights | Orders
    trades: tuple[str, ...] = ()
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    timer_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    clip: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    capital: Annotated[float, msgspec.Meta(gt=0)] = 100_000.0

    @property
    def digest(self) -> str:
        """32 hex digits that change with any field."""
        canonical = msgspec.json.encode(self, order="deterministic")
        return hashlib.blake2b(canonical, digest_size=16).hexdigest()

    @property
    def instruments(self) -> tuple[str, ...]:
        """Ids of what is traded, in the order of the action."""
        ids = {view.name: view.spec.instrument_id for view in self.views}
        return tuple(ids[name] for name in self.traded)

    @property
    def obs_size(self) -> int:
        """Numbers in an observation as one flat array; see `envs.market`."""
        n = len(self.traded)
        shown = sum(view.spec.window * len(view.spec.features) for view in self.views)
        return shown + len(ACCOUNT) + n * (len(HOLDING) + self.action.slots * len(ORDER))

    @property
    def described(self) -> str:
        """The action, for people."""
        match self.action:
            case Weights(gross=gross):
                kind = f"a weight in [-1, 1] times {gross:g} of equity for each"
            case Orders(max_qty=max_qty):
                kind = f"orders one by one, up to {max_qty:g} of each"
        return f"{kind} of {', '.join(self.instruments)}"
