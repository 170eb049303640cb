"""What the gateway tells: the rows of its lists, as docs/gateway.md has them. Data only."""

from dataclasses import dataclass, field
from typing import Any, Literal

type Status = Literal[
    "held", "submitted", "accepted", "filled", "rejected", "denied", "canceled", "expired"
]


@dataclass(slots=True)
class Event:
    """A message of docs/protocol.md: `type` is its tag, `data` its fields."""

    n: int
    channel: str
    topic: str
    source: str
    epoch: int
    seq: int
    ts_pub_ns: int
    type: str
    data: dict[str, Any]


@dataclass(slots=True)
class Account:
    """The strategy's ledger, as of its last decision or fill."""

    strategy_id: str
    cash: float
    equity: float
    unrealized: float
    mark_px: float
    position_qty: float
    pending_qty: float
    open_orders: int
    peak_equity: float
    drawdown: float  # equity lost since the peak, as a share of that
    ts_event_ns: int


@dataclass(slots=True)
class Position:
    """What a strategy holds; `qty` is signed."""

    strategy_id: str
    instrument_id: str
    qty: float
    avg_px: float
    mark_px: float
    unrealized: float
    ts_event_ns: int


@dataclass(slots=True)
class Point:
    """Equity at a decision."""

    n: int
    ts_event_ns: int
    equity: float
    position_qty: float
    mark_px: float


@dataclass(slots=True)
class Strategy:
    """Who trades what, and how."""

    strategy_id: str
    epoch: int = 0
    instrument_id: str = ""
    venue: str = ""
    checkpoint: str = ""
    fallback: str = ""
    halted: bool = False
    halted_by: str | None = None
    halt_reason: str | None = None
    decision_seq: int = 0
    holder: str = ""
    max_qty: float = 0.0
    multiplier: float = 1.0


@dataclass(slots=True)
class Agent:
    """An agent that was welcomed; `latency_us` is of its last answer to a decision."""

    agent_id: str
    strategy_id: str
    role: str
    lease: int
    policy: str
    holder: bool = False
    state: str | None = None
    alive: bool = False
    last_beat_ns: int | None = None
    latency_us: float | None = None
    answers: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Decision:
    """A question of the strategy and how it ended; `how` is null while it is open."""

    n: int
    strategy_id: str
    epoch: int
    seq: int
    ts_event_ns: int
    mark_px: float
    position_qty: float
    equity: float
    how: Literal["action", "fallback"] | None = None
    target: float | None = None
    agent_id: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Order:
    """An order; `manual` ones are a person's, `by` that person."""

    n: int
    client_order_id: str
    strategy_id: str
    decision_seq: int
    side: str
    qty: float
    type: Literal["market", "limit"] = "market"
    limit_px: float | None = None
    filled_qty: float = 0.0
    avg_px: float | None = None
    status: Status = "submitted"
    open: bool = True
    manual: bool = False
    by: str | None = None
    reason: str | None = None
    ts_event_ns: int = 0


@dataclass(slots=True)
class Fill:
    """A fill; `position_qty` is after it."""

    n: int
    strategy_id: str
    client_order_id: str
    trade_id: str
    side: str
    qty: float
    px: float
    commission: float
    currency: str
    position_qty: float
    ts_event_ns: int
    ts_market_ns: int  # of the market event before it, on the clock of the bars; 0: not known
    manual: bool


@dataclass(slots=True)
class Control:
    """What people and limits did."""

    n: int
    kind: Literal["halted", "resumed", "flattened", "ordered", "canceled"]
    strategy_id: str
    by: str
    reason: str
    client_order_id: str | None
    done: bool
    ts_event_ns: int


@dataclass(slots=True)
class Process:
    """A process of the grid, by its last heartbeat."""

    name: str
    role: str
    pid: int
    epoch: int
    state: str
    uptime_s: float
    events_per_s: float | None
    alive: bool
    last_beat_ns: int
    counters: dict[str, float]
    streams: dict[str, int]


@dataclass(slots=True)
class Gap:
    """Events of a stream that this gateway missed and nobody had any more."""

    n: int
    source: str
    epoch: int
    topic: str
    first: int
    last: int
    ts_ns: int


@dataclass(slots=True)
class Topic:
    """A market topic and its newest event."""

    topic: str
    instrument_id: str
    kind: str
    last: Event
