"""What a strategy decides, orders and holds."""

from typing import Literal

from grid.messages.message import Message
from grid.values import Items, Name, Number, Text, Whole


class Account(Message, frozen=True, tag="account"):
    """The strategy's own ledger at a decision, in account currency and units."""

    position_qty: Number
    pending_qty: Number  # signed, in orders that are neither filled nor closed
    cash: Number
    equity: Number
    unrealized: Number
    mark_px: Number
    open_orders: Whole


class Decision(Message, frozen=True, tag="decision"):
    """Topic `decision.<strategy_id>`: asks the agents for an action."""

    strategy_id: Name
    epoch: Whole  # of the strategy: a new one for every start
    seq: Whole  # of the decision, from 1 in each epoch
    ts_event_ns: Whole
    market_topic: Name  # the stream that the agents' rows come from
    market_seq: Whole  # the last event of it that this decision rests on
    ttl_ns: Whole  # time to answer
    account: Account


class Outcome(Message, frozen=True, tag="outcome"):
    """Topic `exec.<strategy_id>`: how a decision ended."""

    strategy_id: Name
    epoch: Whole
    decision_seq: Whole
    ts_event_ns: Whole  # of the decision
    how: Literal["action", "fallback"]
    target: Number  # the position sought from now on, as a share of max_qty
    agent_id: Name = ""
    reason: Text = ""
    kept: bool = False  # the position was left as it is, whatever the fallback says


class OrderUpdate(Message, frozen=True, tag="order"):
    """Topic `exec.<strategy_id>`: an order changed its state."""

    strategy_id: Name
    epoch: Whole
    decision_seq: Whole
    client_order_id: Name
    status: Name  # held, submitted, accepted, rejected, denied, canceled, expired
    side: Name  # BUY or SELL
    qty: Number
    ts_event_ns: Whole
    reason: Text = ""


class Fill(Message, frozen=True, tag="fill"):
    """Topic `exec.<strategy_id>`: an order, or a part of it, was filled."""

    strategy_id: Name
    epoch: Whole
    decision_seq: Whole
    client_order_id: Name
    trade_id: Name
    side: Name
    qty: Number
    px: Number
    commission: Number
    currency: Name
    position_qty: Number  # after it
    ts_event_ns: Whole  # the venue's clock: data time in the env, wall time live
    ts_market_ns: Whole = 0  # ts_event of the last market event that the strategy had seen


class Holdings(Message, frozen=True, tag="holdings"):
    """What an account at a venue holds, in account currency and units."""

    cash: Number  # balance if the position were worth nothing
    position_qty: Number
    avg_px: Number  # of the open position
    fees: Number  # paid so far
    traded: Number  # notional, so far
    fills: Whole  # so far


class VenueOrder(Message, frozen=True, tag="venue_order"):
    """An order as the venue knows it; `signed_qty` is positive for a purchase."""

    client_order_id: Name
    status: Literal["open", "filled", "canceled", "rejected"]
    signed_qty: Number
    due_ns: Whole  # fills on the first tick at or after it
    reason: Text = ""
    limit_px: Number = 0.0  # and not at a worse price; 0: at the market


class Restored(Message, frozen=True, tag="restored"):
    """Topic `exec.<strategy_id>`: what the venue kept of earlier runs; this run goes on with it."""

    strategy_id: Name
    epoch: Whole
    holdings: Holdings
    orders: Items[VenueOrder]  # open
