"""Between a node and the paper venue."""

from grid.messages.message import Message
from grid.messages.trading import Holdings, VenueOrder
from grid.values import Items, Name, Number, Text, Whole


class OpenAccount(Message, frozen=True, tag="open_account"):
    """Node to venue: I trade this account from now on; made if there is none."""

    account_id: Name
    node_epoch: Whole
    seq: Whole  # of this node's messages to the venue, from 1
    instrument_id: Name
    currency: Name
    currency_digits: Whole  # decimals of money
    price_digits: Whole
    tick: Number
    multiplier: Number
    taker_fee_bps: Number
    capital: Number  # of a new account


class PlaceOrder(Message, frozen=True, tag="place"):
    """Node to venue: an order for the first tick at or after `due_ns` that it can fill on."""

    account_id: Name
    node_epoch: Whole
    seq: Whole
    client_order_id: Name
    signed_qty: Number
    due_ns: Whole
    limit_px: Number = 0.0  # 0: at the market


class CancelOrder(Message, frozen=True, tag="cancel"):
    """Node to venue: take back what is open of an order."""

    account_id: Name
    node_epoch: Whole
    seq: Whole
    client_order_id: Name


class QueryOrder(Message, frozen=True, tag="query"):
    """Node to venue: what became of an order, of whatever age."""

    account_id: Name
    node_epoch: Whole
    seq: Whole
    client_order_id: Name


class Tick(Message, frozen=True, tag="tick"):
    """Node to venue: the market now; it fills what is due of the orders that were sent before."""

    account_id: Name
    node_epoch: Whole
    seq: Whole
    ts_event_ns: Whole
    bid_px: Number
    ask_px: Number
    bid_qty: Number
    ask_qty: Number


class VenueFill(Message, frozen=True, tag="venue_fill"):
    """A fill at the venue; `signed_qty` is positive for a purchase."""

    trade_id: Name
    client_order_id: Name
    signed_qty: Number
    px: Number
    commission: Number
    ts_event_ns: Whole  # of the tick


class VenueReply(Message, frozen=True, tag="venue_reply"):
    """Venue to node: the one reply to the message `seq`; all of it is on the venue's disk."""

    seq: Whole
    holdings: Holdings  # all zero in a refusal
    orders: Items[VenueOrder] = ()
    fills: Items[VenueFill] = ()
    refused: Text = ""
