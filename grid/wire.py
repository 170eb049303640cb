"""Messages on the wire: all that one process may say to another. No I/O here.

Structs travel as MessagePack arrays whose first item is the tag. Fields are only added, last, with
a default; a change of meaning bumps `VERSION`. Times end in `_ns`: UNIX ns, but `ttl_ns` is a
duration. Prices and quantities are doubles, those nearest to their decimal form. Law:
docs/protocol.md.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from grid.errors import ProtocolError
from grid.values import Items, Name, Number, Table, Text, Whole

Role = Literal["champion", "standby", "shadow"]

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 1 << 20


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of every message; immutable once made."""


# -- events: published, one sequence a stream --------------------------------------------------


class Bar(Message, frozen=True, tag="bar"):
    """Topic `md.<instrument_id>.bar`: one bar, at its close."""

    instrument_id: Name
    bar: Name  # step and price, as in 1-HOUR-ASK
    ts_event_ns: Whole
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    history: bool = False  # from before the run: for warm-up, nothing is decided on it


class Quote(Message, frozen=True, tag="quote"):
    """Topic `md.<instrument_id>.quote`: best bid and ask."""

    instrument_id: Name
    ts_event_ns: Whole
    bid_px: Number
    ask_px: Number
    bid_qty: Number
    ask_qty: Number
    history: bool = False


class Trade(Message, frozen=True, tag="trade"):
    """A trade between others."""

    instrument_id: Name
    ts_event_ns: Whole
    price: Number
    qty: Number
    side: Whole  # who took: 1 the buyer, -1 the seller, 0 unknown
    history: bool = False


class Depth(Message, frozen=True, tag="depth"):
    """Topic `md.<instrument_id>.depth`: the best levels of a book, best first, as many each."""

    instrument_id: Name
    ts_event_ns: Whole
    bid_pxs: Items[Number]  # a level that the book has not repeats the one before, with qty 0
    ask_pxs: Items[Number]
    bid_qtys: Items[Number]
    ask_qtys: Items[Number]
    history: bool = False


type Row = Bar | Quote | Trade | Depth


def topic_of(row: Row) -> str:
    """Return the topic of a market event, as in `md.EUR/USD.SIM.quote`."""
    return f"md.{row.instrument_id}.{row.__struct_config__.tag}"


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

    action: "Action"
    answer: "Answer"
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


type Event = (
    Bar
    | Quote
    | Trade
    | Depth
    | Decision
    | Outcome
    | OrderUpdate
    | Fill
    | StrategyInfo
    | Acted
    | Joined
    | TookOver
    | Halted
    | Resumed
    | Flattened
    | Manual
    | Restored
    | EndOfData
    | Heartbeat
)


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Around every event: where it comes from and its place in its stream.

    A stream is (source, epoch, topic); `seq` counts it from 1 without a hole.
    """

    version: Whole
    source: Name
    epoch: Whole
    seq: Whole
    ts_pub_ns: Whole
    body: msgspec.Raw


# -- requests and replies: each request has exactly one reply ----------------------------------


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


class Fetch(Message, frozen=True, tag="fetch"):
    """Anyone to a history: the events `first` to `last` of one stream."""

    at: Name  # `history`, the recorder's, or `history.<source>`, what that process itself keeps
    client: Name  # name of the process that asks
    source: Name
    epoch: Whole
    topic: Name
    first: Whole
    last: Whole


class Tail(Message, frozen=True, tag="tail"):
    """Anyone to a history: the last `n` events on a topic."""

    at: Name
    client: Name
    topic: Name
    n: Whole


class Frames(Message, frozen=True, tag="frames"):
    """History: whole frames of one stream, in order from `first`; when they end early, ask on."""

    source: Name
    epoch: Whole
    topic: Name
    first: Whole
    frames: Items[bytes]


class Evicted(Message, frozen=True, tag="evicted"):
    """History: not kept, now or ever; what is kept lies from `low` to `high`, 0 if nothing."""

    source: Name
    epoch: Whole
    topic: Name
    low: Whole
    high: Whole


class Halt(Message, frozen=True, tag="halt"):
    """Person to strategy: carry out no action from now on."""

    strategy_id: Name
    request_id: Name  # of the asker's choice: the same one again gets the same reply again
    by: Name
    reason: Text = ""


class Resume(Message, frozen=True, tag="resume"):
    """Person to strategy: go on after a halt; losses are counted from here."""

    strategy_id: Name
    request_id: Name
    by: Name
    reason: Text = ""


class Flatten(Message, frozen=True, tag="flatten"):
    """Person to strategy: close the position, and halt."""

    strategy_id: Name
    request_id: Name
    by: Name
    reason: Text = ""


class ControlReply(Message, frozen=True, tag="control"):
    """Strategy to person: what it is from now on."""

    request_id: Name
    state: Literal["trading", "halted"]
    done: bool  # false where there was nothing to do, for the reason given
    reason: Text
    position_qty: Number
    client_order_id: Name = ""  # of the order that closes the position


class ManualOrder(Message, frozen=True, tag="manual_order"):
    """Person to strategy: an order. `client_order_id` is its key, and begins with `manual-`."""

    strategy_id: Name
    client_order_id: Name
    by: Name
    side: Literal["BUY", "SELL"]
    qty: Number
    limit_px: Number = 0.0  # 0: at the market
    reason: Text = ""


class CancelManual(Message, frozen=True, tag="cancel_manual"):
    """Person to strategy: take back what is open of a manual order."""

    strategy_id: Name
    client_order_id: Name
    by: Name
    reason: Text = ""


class ManualReply(Message, frozen=True, tag="manual_reply"):
    """Strategy to person: what became of a manual order, or of a cancel."""

    client_order_id: Name
    status: Literal["accepted", "duplicate", "refused"]
    reason: Text = ""


class Register(Message, frozen=True, tag="register"):
    """Strategy or history to broker, every second: requests for `strategy_id` come to me."""

    strategy_id: Name
    epoch: Whole


class Subscribe(Message, frozen=True, tag="subscribe"):
    """Node to feed: begin, `warmup` rows of history first.

    `after_ns` is 0 at a node's start: the market goes on where it stands. A node that asks anew,
    because the feed was silent, says what it has already.
    """

    node_epoch: Whole
    warmup: Whole
    after_ns: Whole = 0  # ts_event of the last market event that the node has
    after_count: Whole = 0  # how many events of that very ns it has; 0: all


class Credit(Message, frozen=True, tag="credit"):
    """Node to feed: `upto` market events of this run may have been sent in all."""

    node_epoch: Whole
    upto: Whole


class FeedItem(Message, frozen=True, tag="item"):
    """Feed to node: the next market event; `seq` counts from 1 after each subscribe."""

    seq: Whole
    event: Row


class FeedEnd(Message, frozen=True, tag="feed_end"):
    """Feed to node: there is no more."""

    seq: Whole


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


type Control = Halt | Resume | Flatten
type ByHand = ManualOrder | CancelManual
type HistoryRequest = Fetch | Tail
type HistoryReply = Frames | Evicted | Refused
type Request = Hello | Action | Renew | Control | ByHand | HistoryRequest
type Reply = Welcome | Answer | Renewed | ControlReply | ManualReply | HistoryReply
type FeedRequest = Subscribe | Credit
type FeedReply = FeedItem | FeedEnd
type VenueRequest = OpenAccount | PlaceOrder | CancelOrder | QueryOrder | Tick

encode: Final = msgspec.msgpack.Encoder().encode
_envelope: Final = msgspec.msgpack.Decoder(Envelope)
_batch: Final[msgspec.msgpack.Decoder[list[msgspec.Raw]]] = msgspec.msgpack.Decoder(
    list[msgspec.Raw]
)
BATCH: Final = 0xDC  # begins an array of many items; an envelope is short and never does
_event: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)
_request: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_reply: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)
_register: Final = msgspec.msgpack.Decoder(Register)
_feed_request: Final[msgspec.msgpack.Decoder[FeedRequest]] = msgspec.msgpack.Decoder(FeedRequest)
_feed_reply: Final[msgspec.msgpack.Decoder[FeedReply]] = msgspec.msgpack.Decoder(FeedReply)
_venue_request: Final[msgspec.msgpack.Decoder[VenueRequest]] = msgspec.msgpack.Decoder(VenueRequest)
_venue_reply: Final = msgspec.msgpack.Decoder(VenueReply)


def _decode[T](decoder: msgspec.msgpack.Decoder[T], frame: bytes | msgspec.Raw) -> T:
    # skipping a deep unknown field recurses, and strings are decoded lazily: neither failure
    # is a MsgspecError
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as e:
        raise ProtocolError(f"undecodable frame of {len(bytes(frame))} bytes: {e}") from e


def pack(topic: str, source: str, epoch: int, seq: int, ts_pub_ns: int, event: Event) -> bytes:
    """Return the single frame of an event: topic, a zero byte, the envelope."""
    # nested, an event has the same bytes as the raw body of one that was encoded before
    envelope = Envelope(VERSION, source, epoch, seq, ts_pub_ns, event)  # type: ignore[arg-type]
    return topic.encode() + b"\0" + encode(envelope)


def unpack(frame: bytes) -> tuple[str, Envelope]:
    """Split a frame into topic and envelope; the body stays undecoded.

    Raises:
        ProtocolError: it is not a frame of this protocol's version.
    """
    topic, zero, payload = frame.partition(b"\0")
    if not zero:
        raise ProtocolError(f"frame of {len(frame)} bytes: expected a topic and a zero byte")
    try:
        return topic.decode(), envelope(payload)
    except UnicodeDecodeError as e:
        raise ProtocolError(f"topic is not UTF-8: {topic[:40]!r}") from e


def pack_batch(frames: Sequence[bytes]) -> bytes:
    """Return one frame that carries several of one topic, in order; a single one as it is."""
    if len(frames) == 1:
        return frames[0]
    at = frames[0].index(0) + 1
    parts = [frame[at:] for frame in frames]
    return b"".join((frames[0][:at], bytes((BATCH,)), len(frames).to_bytes(2), *parts))


def is_batch(frame: bytes) -> bool:
    """Return whether a frame carries several events."""
    at = frame.find(0) + 1
    return 0 < at < len(frame) and frame[at] == BATCH


def events_in(frame: bytes) -> int:
    """Return how many events a frame carries, without looking at any."""
    at = frame.find(0) + 1
    if not 0 < at < len(frame) - 2 or frame[at] != BATCH:
        return 1
    return frame[at + 1] << 8 | frame[at + 2]


def split_batch(frame: bytes) -> list[bytes]:
    """Return the frames that a batch carries.

    Raises:
        ProtocolError: it is damaged.
    """
    at = frame.find(0) + 1
    head = frame[:at]
    return [head + envelope for envelope in _decode(_batch, frame[at:])]


def unpack_batch(frame: bytes) -> list[tuple[str, Envelope, bytes]]:
    """Return what `unpack` gives for each frame that a batch carries, and that frame.

    Raises:
        ProtocolError: it is damaged.
    """
    at = frame.find(0) + 1
    head = frame[:at]
    try:
        topic = head[:-1].decode()
    except UnicodeDecodeError as e:
        raise ProtocolError(f"topic is not UTF-8: {head[:40]!r}") from e
    return [(topic, envelope(each), head + each) for each in _decode(_batch, frame[at:])]


def envelope(payload: bytes) -> Envelope:
    """Decode what follows topic and zero byte; the body stays undecoded.

    Raises:
        ProtocolError: it is not an envelope of this protocol's version.
    """
    decoded = _decode(_envelope, payload)
    if decoded.version != VERSION:
        raise ProtocolError(f"protocol version {VERSION} expected, found {decoded.version}")
    return decoded


def event(envelope: Envelope) -> Event:
    """Decode the body of an envelope, or raise `ProtocolError`."""
    return _decode(_event, envelope.body)


def request(frame: bytes) -> Request:
    """Decode a request, or raise `ProtocolError`."""
    return _decode(_request, frame)


def addressee(request: Request) -> str:
    """Return the name under which whoever is to answer has registered."""
    return request.at if isinstance(request, Fetch | Tail) else request.strategy_id


def reply(frame: bytes) -> Reply:
    """Decode a reply, or raise `ProtocolError`."""
    return _decode(_reply, frame)


def register(frame: bytes) -> Register:
    """Decode a strategy's registration, or raise `ProtocolError`."""
    return _decode(_register, frame)


def feed_request(frame: bytes) -> FeedRequest:
    """Decode a node's message to its feed, or raise `ProtocolError`."""
    return _decode(_feed_request, frame)


def feed_reply(frame: bytes) -> FeedReply:
    """Decode a feed's message to its node, or raise `ProtocolError`."""
    return _decode(_feed_reply, frame)


def venue_request(frame: bytes) -> VenueRequest:
    """Decode a node's message to the paper venue, or raise `ProtocolError`."""
    return _decode(_venue_request, frame)


def venue_reply(frame: bytes) -> VenueReply:
    """Decode the paper venue's reply to a node, or raise `ProtocolError`."""
    return _decode(_venue_reply, frame)
