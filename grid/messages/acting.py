"""What an agent asks of a strategy, and what it is told."""

from typing import Literal

from grid.messages.market import Row
from grid.messages.message import VERSION, Message
from grid.values import Items, Name, Number, Text, Whole

type Role = Literal["champion", "standby", "shadow"]


class Hello(Message, frozen=True, tag="hello"):
    """Agent to strategy: let me act, or watch."""

    strategy_id: Name
    agent_id: Name
    role: Role
    spec_digest: Name
    version: Whole = VERSION
    policy: Name = ""  # digest of the agent's checkpoint, or baseline:NAME; for the record


class Welcome(Message, frozen=True, tag="welcome"):
    """Strategy to agent: your lease, and the rows before `market_seq` to warm up with."""

    strategy_id: Name
    agent_id: Name
    role: Role
    epoch: Whole
    lease: Whole  # an action under an older lease of the same agent is fenced
    market_source: Name
    market_epoch: Whole
    market_seq: Whole  # the last row in `history`; live rows up to it are to be dropped
    history: Items[Row]
    holder: Name = ""  # the agent whose actions are traded now
    ttl_ns: Whole = 0  # the lease lapses when it is not renewed for so long; 0: it does not
    decision_seq: Whole = 0  # of the decisions' stream; what comes after it may still be answered
    uptime_s: Number = 0.0  # of the source, as in its heartbeats; 0: not told


class Refused(Message, frozen=True, tag="refused"):
    """Strategy or broker to agent: no, and why; `retry` says whether asking again may help."""

    reason: Text
    retry: bool


class Action(Message, frozen=True, tag="action"):
    """Agent to strategy: the answer to one decision. (agent_id, lease, action_seq) is its key."""

    strategy_id: Name
    epoch: Whole
    decision_seq: Whole
    agent_id: Name
    lease: Whole
    action_seq: Whole  # from 1 in each lease
    target: Number  # position sought, as a share of max_qty, in [-1, 1]
    obs: bytes = b""  # what the policy saw: little-endian float32; for the recording
    policy_ns: Whole = 0  # from the decision's arrival to this action
    policy: Name = ""  # digest of the checkpoint that decided, or baseline:NAME; for the recording


class Answer(Message, frozen=True, tag="answer"):
    """Strategy to agent: what became of an action."""

    status: Literal["accepted", "shadow", "duplicate", "late", "stale", "fenced", "rejected"]
    decision_seq: Whole
    action_seq: Whole
    reason: Text = ""
    client_order_ids: Items[Name] = ()
    retry: bool = False  # it did not reach the strategy: send the same again while it is in time


class Renew(Message, frozen=True, tag="renew"):
    """Agent to strategy: I follow, without a hole, and could act. An `Action` says it, too."""

    strategy_id: Name
    agent_id: Name
    lease: Whole


class Renewed(Message, frozen=True, tag="renewed"):
    """Strategy to agent: your lease, a new one if you trade from now on; 0 if yours is fenced."""

    strategy_id: Name
    agent_id: Name
    lease: Whole
    holder: Name  # the agent whose actions are traded now
    ttl_ns: Whole
