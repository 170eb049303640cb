"""What a live node needs to know: data only, free of the engine."""

from pathlib import Path
from typing import Literal

import msgspec

from grid.bus import Addresses
from grid.instrument import Instrument
from grid.limits import Limits
from grid.spec import Spec
from grid.venue import Venue


class NodeSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a node needs to know.

    Attributes:
        name: of the process, the source of its events.
        strategy_id: the engine's strategy id, as in `AGENT-001`.
        spec: rows, action rule, capital.
        instrument: what is traded.
        venue: costs of the sandbox venue.
        interval_ns: length of a bar, 0 for quotes.
        warmup: rows of history that agents need.
        champion: id of the agent that trades.
        standbys: ids of those that take over when its lease lapses.
        agents: ids of all agents, the champion's among them.
        addresses: of the bus and the feed.
        epochs: folder of the epoch counters.
        halt: file of the halt in force: see `grid.halt`.
        audit: file of the audit log: see `grid.audit`.
        marks: file of what losses are counted from, over restarts at the paper venue.
        ttl_ns: time to answer a decision.
        lease_ttl_ns: a lease lapses when it is not renewed for so long.
        fallback: what to do without an action.
        wait_for_agents_s: how long the first row waits for the agents.
        stop_at_end: end the process when the feed has ended.
        lockstep: let the next event come only when decision and orders are settled.
        limits: on orders and losses.
        ring_bytes: of its own events that it keeps for those who missed some.
        recorded: whether a recorder has to have all events before the process may end.
        paper: account at the paper venue; empty to trade at the engine's sandbox.
        no_manual_orders: why it takes no orders of people; empty if it does.
        checkpoint: where spec and venue came from, for the record.
    """

    name: str
    strategy_id: str
    spec: Spec
    instrument: Instrument
    venue: Venue
    interval_ns: int
    warmup: int
    champion: str
    standbys: tuple[str, ...]
    agents: tuple[str, ...]
    addresses: Addresses
    epochs: Path
    halt: Path
    audit: Path
    marks: Path
    ttl_ns: int
    lease_ttl_ns: int
    fallback: Literal["hold", "flatten"] = "hold"
    wait_for_agents_s: float = 30.0
    stop_at_end: bool = True
    lockstep: bool = True
    limits: Limits = Limits()
    ring_bytes: int = 32 << 20
    recorded: bool = False
    paper: str = ""
    checkpoint: str = ""
    no_manual_orders: str = ""
