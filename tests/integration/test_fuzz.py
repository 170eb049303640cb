"""A million frames that mean harm: each is decoded, or refused with the one error of the wire."""

import math
import random
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid import wire
from grid.errors import ProtocolError
from grid.values import MAX_ITEMS, MAX_NAME, MAX_TEXT
from tests.support import mutations
from tests.support.mutations import mutated
from tests.unit.test_protocol import EXAMPLES

FRAMES = 1_000_000
SEED = 20_260_727

type Decode = Callable[[bytes], object]


def events_of(frame: bytes) -> object:
    """Decode an event frame to the bottom, as a subscriber does, or a batch of them."""
    parts = wire.split_batch(frame) if wire.is_batch(frame) else (frame,)
    return [wire.event(wire.unpack(part)[1]) for part in parts]


FAMILIES: dict[Decode, object] = {
    events_of: wire.Event,
    wire.request: wire.Request,
    wire.reply: wire.Reply,
    wire.register: wire.Register,
    wire.feed_request: wire.FeedRequest,
    wire.feed_reply: wire.FeedReply,
    wire.venue_request: wire.VenueRequest,
    wire.venue_reply: wire.VenueReply,
}


def members(family: object) -> Iterator[type]:
    """The messages in a union, or in a union of unions."""
    while hasattr(family, "__value__"):
        family = family.__value__
    if isinstance(family, type):
        yield family
    for part in getattr(family, "__args__", ()):
        yield from members(part)


def corpus_of(family: object) -> list[bytes]:
    """The golden frames of a family."""
    kinds = tuple(members(family))
    found = [m for m in EXAMPLES if isinstance(m, kinds)]
    assert {type(m) for m in found} == set(kinds)
    if wire.Bar not in kinds:
        return [wire.encode(m) for m in found]
    frames = [
        wire.pack(f"md.{n}", "node", 1, n + 1, n, m)
        for n, m in enumerate(found)
        if isinstance(m, wire.Event.__value__)
    ]
    batch = wire.pack_batch([wire.pack("md.X", "node", 1, n, n, found[0]) for n in (1, 2, 3)])
    return [*frames, batch]


CORPUS = [(decode, frame) for decode, family in FAMILIES.items() for frame in corpus_of(family)]


def test_every_golden_frame_is_decoded() -> None:
    for decode, frame in CORPUS:
        assert decode(frame)


def test_million_mutated_frames_are_decoded_or_refused_and_nothing_else() -> None:
    rng = random.Random(SEED)
    by_family = {d: [f for decode, f in CORPUS if decode is d] for d in FAMILIES}
    # events are what most of the traffic is
    turns = [events_of] * 8 + [wire.request] * 4 + list(by_family)
    told: Counter[str] = Counter()
    for n in range(FRAMES):
        decode = turns[n % len(turns)]
        frame = mutated(by_family[decode], rng)
        try:
            decoded = decode(frame)
        except ProtocolError:
            told["refused"] += 1
            continue
        told["decoded"] += 1
        if not n & 63:
            for message in decoded if isinstance(decoded, list) else (decoded,):
                check(message)
    assert told.total() == FRAMES
    assert told["refused"] > FRAMES // 10
    assert told["decoded"] > FRAMES // 10  # mutations that only make rubbish would prove little


def check(message: object) -> None:
    """What was decoded keeps to its type: it is encoded and decoded again to the same bytes."""
    encoded = wire.encode(message)
    assert wire.encode(msgspec.msgpack.decode(encoded, type=type(message))) == encoded
    match message:
        case wire.Action():
            assert math.isfinite(message.target)
        case wire.Quote():
            assert math.isfinite(message.bid_px + message.ask_px) or abs(message.bid_px) > 1e300


@pytest.mark.parametrize("mutation", mutations.SIMPLE, ids=lambda m: m.__name__)
def test_any_decoder_takes_any_familys_frame_under_any_mutation(
    mutation: mutations.Mutation,
) -> None:
    rng = random.Random(SEED)
    for _, frame in CORPUS:
        for _ in range(10):
            other = mutation(frame, rng)
            for decode in FAMILIES:
                try:
                    decode(other)
                except ProtocolError:
                    continue


@pytest.mark.parametrize("nest", mutations.NESTS, ids=lambda n: n.hex())
@pytest.mark.parametrize("depth", [100, 10_000, 300_000])
def test_deep_value_in_any_place_is_refused(nest: bytes, depth: int) -> None:
    deep = nest * depth + b"\x00"
    for decode, frame in CORPUS[::5]:
        more = frame[:-1] + bytes([frame[-1]]) + deep  # behind the last field: a later version's
        for bad in (deep, frame[: len(frame) // 2] + deep, more):
            try:
                decode(bad)
            except ProtocolError:
                continue


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_orders_rest_on_is_finite(value: float) -> None:
    quote = wire.Quote("X", 1, value, 1.0, 1.0, 1.0)
    action = wire.Action("s", 1, 1, "a", 1, 1, value)
    order = wire.PlaceOrder("main", 1, 1, "o", value, 1)
    with pytest.raises(ProtocolError, match="Expected `float`"):
        events_of(wire.pack("md.X", "node", 1, 1, 1, quote))
    with pytest.raises(ProtocolError, match="Expected `float`"):
        wire.request(wire.encode(action))
    with pytest.raises(ProtocolError, match="Expected `float`"):
        wire.venue_request(wire.encode(order))


def test_what_is_too_large_is_refused_by_its_header_alone() -> None:
    name, text = "x" * (MAX_NAME + 1), "x" * (MAX_TEXT + 1)
    for request in (
        wire.Renew("s", name, 1),
        wire.Halt("s", "r", "ann", text),
        wire.Tail("history", "c", name, 1),
        wire.Renew("s", "a", 1 << 63),
    ):
        with pytest.raises(ProtocolError, match="undecodable"):
            wire.request(wire.encode(request))
    many = {str(n): 1.0 for n in range(MAX_ITEMS + 1)}
    beat = wire.Heartbeat("n", "r", 1, "s", 1.0, many, {})
    with pytest.raises(ProtocolError, match="length <= 32768"):
        events_of(wire.pack("sys.n", "n", 1, 1, 1, beat))
    claims = wire.encode(wire.Frames("s", 1, "t", 1, ()))[:-1] + b"\xdd\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="length <= 32768"):
        wire.reply(claims)


MESSAGES = tuple(dict.fromkeys(type(m) for m in EXAMPLES))


def values(of: Any) -> st.SearchStrategy[Any]:
    """What a field of a type may hold."""
    if isinstance(of, typing.TypeAliasType):
        return values(of.__value__)
    origin, arguments = typing.get_origin(of), typing.get_args(of)
    if isinstance(origin, typing.TypeAliasType):
        return values(origin.__value__[arguments])
    if origin is typing.Annotated:
        return values(arguments[0])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(*map(values, arguments), max_size=3)
    if isinstance(of, types.UnionType):
        return st.one_of([values(a) for a in arguments])
    if issubclass(of, wire.Message):
        return messages(of)
    return {
        bool: st.booleans(),
        int: st.integers(-(1 << 63), (1 << 63) - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=MAX_NAME),
        bytes: st.binary(max_size=64),
    }[of]


def messages(kind: type[wire.Message]) -> st.SearchStrategy[wire.Message]:
    """Messages that keep to their types."""
    return st.builds(kind, *(values(f.type) for f in msgspec.structs.fields(kind)))


@settings(max_examples=200, deadline=None)
@given(st.one_of([messages(kind) for kind in MESSAGES]))
def test_every_message_that_keeps_to_its_types_goes_over_the_wire(message: wire.Message) -> None:
    check(message)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([m.__struct_config__.tag for m in MESSAGES]), st.lists(JUNK, max_size=12))
def test_right_tag_with_any_fields_is_decoded_or_refused(tag: str, fields: list[object]) -> None:
    frame = msgspec.msgpack.encode([tag, *fields])
    for decode in (*list(FAMILIES)[1:], wire.envelope):
        try:
            check(decode(frame))
        except ProtocolError:
            continue
