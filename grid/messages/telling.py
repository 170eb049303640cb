"""What a strategy tells of its run, and each process of itself."""

from typing import Literal

from grid.messages.acting import Action, Answer
from grid.messages.message import Message
from grid.values import Name, Number, Table, Text, Whole


class StrategyInfo(Message, frozen=True, tag="strategy"):
    """Topic `exec.<strategy_id>`: who trades what, and how; at each start of a node."""

    strategy_id: Name
    epoch: Whole
    spec: bytes  # grid.spec.Spec as JSON
    instrument: bytes  # grid.instrument.Instrument as JSON
    venue: bytes  # grid.venue.Venue as JSON
    interval_ns: Whole
    versions: Table[Name]
    checkpoint: Name = ""
    fallback: Name = "hold"


class Acted(Message, frozen=True, tag="acted"):
    """Topic `exec.<strategy_id>`: an action that arrived, and the answer it got."""

    action: Action
    answer: Answer
    ts_recv_ns: Whole


class Joined(Message, frozen=True, tag="joined"):
    """Topic `exec.<strategy_id>`: an agent was welcomed."""

    strategy_id: Name
    epoch: Whole
    agent_id: Name
    role: Name  # champion or shadow
    lease: Whole
    policy: Name = ""  # digest of its checkpoint, or baseline:NAME


class TookOver(Message, frozen=True, tag="took_over"):
    """Topic `exec.<strategy_id>`: from now on another agent trades, since the lease had lapsed."""

    strategy_id: Name
    epoch: Whole
    agent_id: Name
    lease: Whole
    before: Name  # who traded until now
    lapsed_ns: Whole  # how long its lease had lapsed, a duration


class Halted(Message, frozen=True, tag="halted"):
    """Topic `exec.<strategy_id>`: no action is carried out from now on, until a person resumes."""

    strategy_id: Name
    epoch: Whole
    by: Name  # a person, or `limits`
    reason: Text
    since_ns: Whole  # before this epoch, if the node was halted when it started
    ts_event_ns: Whole  # of the last market event


class Resumed(Message, frozen=True, tag="resumed"):
    """Topic `exec.<strategy_id>`: a person has ended the halt."""

    strategy_id: Name
    epoch: Whole
    by: Name
    reason: Text
    ts_event_ns: Whole  # of the last market event


class Flattened(Message, frozen=True, tag="flattened"):
    """Topic `exec.<strategy_id>`: the position is being closed, by a person or a breach."""

    strategy_id: Name
    epoch: Whole
    by: Name
    reason: Text
    ts_event_ns: Whole  # of the last market event
    client_order_id: Name = ""  # of the order that closes it; empty where nothing was held


class Manual(Message, frozen=True, tag="manual"):
    """Topic `exec.<strategy_id>`: a person's order, or cancel of one; what was refused, too."""

    strategy_id: Name
    epoch: Whole
    act: Literal["order", "cancel"]
    by: Name
    client_order_id: Name
    done: bool  # false where the strategy refused, for the reason given
    reason: Text  # of the refusal, or else the person's
    side: Name  # BUY or SELL; empty for a cancel
    qty: Number
    limit_px: Number  # 0: at the market
    ts_event_ns: Whole  # of the last market event


class EndOfData(Message, frozen=True, tag="end"):
    """Topic `exec.<strategy_id>`: the feed has no more; the session is complete."""

    strategy_id: Name
    epoch: Whole
    decisions: Whole


class Heartbeat(Message, frozen=True, tag="beat"):
    """Topic `sys.<name>`: from the working thread of each process, every second at least."""

    name: Name
    role: Name
    pid: Whole
    state: Text
    uptime_s: Number
    counters: Table[float]
    streams: Table[Whole]  # topic -> last sequence published
