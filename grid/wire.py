"""Messages on the wire: all that one process may say to another. No I/O here.

Structs travel as MessagePack arrays whose first item is the tag. Fields are only added, last, with
a default; a change of meaning bumps `VERSION`. Times end in `_ns`: UNIX ns, but `ttl_ns` is a
duration. Prices and quantities are doubles, those nearest to their decimal form. Law:
docs/protocol.md.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from grid.errors import ProtocolError
from grid.messages.acting import Action, Answer, Hello, Refused, Renew, Renewed, Role, Welcome
from grid.messages.control import (
    CancelManual,
    ControlReply,
    Flatten,
    Halt,
    ManualOrder,
    ManualReply,
    Resume,
)
from grid.messages.feed import Credit, FeedEnd, FeedItem, Register, Subscribe
from grid.messages.history import Evicted, Fetch, Frames, Tail
from grid.messages.market import Bar, Depth, Quote, Row, Trade, topic_of
from grid.messages.message import VERSION, Message
from grid.messages.telling import (
    Acted,
    EndOfData,
    Flattened,
    Halted,
    Heartbeat,
    Joined,
    Manual,
    Resumed,
    StrategyInfo,
    TookOver,
)
from grid.messages.trading import (
    Account,
    Decision,
    Fill,
    Holdings,
    OrderUpdate,
    Outcome,
    Restored,
    VenueOrder,
)
from grid.messages.venue import (
    CancelOrder,
    OpenAccount,
    PlaceOrder,
    QueryOrder,
    Tick,
    VenueFill,
    VenueReply,
)
from grid.values import Name, Whole

__all__ = [
    "BATCH", "MAX_FRAME_BYTES", "VERSION", "Account", "Acted", "Action", "Answer", "Bar",
    "ByHand", "CancelManual", "CancelOrder", "Control", "ControlReply", "Credit", "Decision",
    "Depth", "EndOfData", "Envelope", "Event", "Evicted", "FeedEnd", "FeedItem", "FeedReply",
    "FeedRequest", "Fetch", "Fill", "Flatten", "Flattened", "Frames", "Halt", "Halted",
    "Heartbeat", "Hello", "HistoryReply", "HistoryRequest", "Holdings", "Joined", "Manual",
    "ManualOrder", "ManualReply", "Message", "OpenAccount", "OrderUpdate", "Outcome",
    "PlaceOrder", "QueryOrder", "Quote", "Refused", "Register", "Renew", "Renewed", "Reply",
    "Request", "Restored", "Resume", "Resumed", "Role", "Row", "StrategyInfo", "Subscribe",
    "Tail", "Tick", "TookOver", "Trade", "VenueFill", "VenueOrder", "VenueReply",
    "VenueRequest", "Welcome", "addressee", "encode", "envelope", "event", "events_in",
    "feed_reply", "feed_request", "is_batch", "join", "pack", "pack_batch", "register", "reply",
    "request", "split_batch", "topic_of", "unpack", "unpack_batch", "venue_reply",
    "venue_request", "wrap",
]  # fmt: skip

MAX_FRAME_BYTES: Final = 1 << 20

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
    return topic.encode() + b"\0" + wrap(source, epoch, seq, ts_pub_ns, event)


def wrap(source: str, epoch: int, seq: int, ts_pub_ns: int, event: Event) -> bytes:
    """Return the envelope of an event, packed."""
    # nested, an event has the same bytes as the raw body of one that was encoded before
    return encode(Envelope(VERSION, source, epoch, seq, ts_pub_ns, event))  # type: ignore[arg-type]


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
    at = frames[0].index(0) + 1
    return join(frames[0][:at], [frame[at:] for frame in frames])


def join(head: bytes, envelopes: Sequence[bytes]) -> bytes:
    """Return one frame of packed envelopes; `head` is their topic and a zero byte."""
    if len(envelopes) == 1:
        return head + envelopes[0]
    return b"".join((head, bytes((BATCH,)), len(envelopes).to_bytes(2), *envelopes))


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
