"""The law of the wire, docs/protocol.md, is what grid/wire.py does; and it is plain MessagePack."""

import re
import types
import typing
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid import wire
from grid.bus import EVENTS_HWM, REQUESTS_HWM, Addresses
from grid.errors import ProtocolError
from grid.freshness import LAG_NS, STALE_NS
from grid.history import PAGE_BYTES, PER_S
from grid.switch import MAX_REQUEST_BYTES, REQUESTS_PER_S, SILENT_S
from grid.values import MAX_ITEMS, MAX_NAME, MAX_TEXT

LAW = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
MESSAGES: list[type[wire.Message]] = [
    found
    for found in vars(wire).values()
    if isinstance(found, type) and issubclass(found, wire.Message) and found is not wire.Message
]

BAR = wire.Bar("X.SIM", "1-HOUR-ASK", 1, 1.5, 2.0, 1.0, 1.25, 3.0)
QUOTE = wire.Quote("X.SIM", 1, 1.5, 1.75, 10.0, 20.0)
TRADE = wire.Trade("X.SIM", 1, 1.5, 10.0, -1)
DEPTH = wire.Depth("X.SIM", 1, (1.5, 1.25), (1.75, 2.0), (10.0, 5.0), (20.0, 0.0))
ACTION = wire.Action("s", 1, 2, "a", 3, 4, 0.5, b"\x00\x00\x80?", 9, "p")
ANSWER = wire.Answer("accepted", 2, 4, "", ("o1", "o2"))
HOLDINGS = wire.Holdings(2.0, 1.0, 1.5, 0.25, 1.5, 1)
VENUE_ORDER = wire.VenueOrder("o1", "open", 1.0, 5)
VENUE_FILL = wire.VenueFill("t1", "o1", 1.0, 1.75, 0.25, 6)
ACCOUNT = wire.Account(1.0, 0.0, 2.0, 3.0, 0.5, 1.5, 1)

# one of each, and the bytes that any version 1 has for it
GOLDEN: list[tuple[wire.Message, str]] = [
    (
        BAR,
        "9aa3626172a5582e53494daa312d484f55522d41534b01cb3ff8000000000000cb40000000000000"
        "00cb3ff0000000000000cb3ff4000000000000cb4008000000000000c2",
    ),
    (
        QUOTE,
        "98a571756f7465a5582e53494d01cb3ff8000000000000cb3ffc000000000000cb40240000000000"
        "00cb4034000000000000c2",
    ),
    (
        TRADE,
        "97a57472616465a5582e53494d01cb3ff8000000000000cb4024000000000000ffc2",
    ),
    (
        DEPTH,
        "98a56465707468a5582e53494d0192cb3ff8000000000000cb3ff400000000000092cb3ffc000000"
        "000000cb400000000000000092cb4024000000000000cb401400000000000092cb40340000000000"
        "00cb0000000000000000c2",
    ),
    (
        wire.Decision("s", 1, 2, 3, "md.X.SIM.bar", 4, 5, ACCOUNT),
        "99a86465636973696f6ea173010203ac6d642e582e53494d2e626172040598a76163636f756e74cb"
        "3ff0000000000000cb0000000000000000cb4000000000000000cb4008000000000000cb3fe00000"
        "00000000cb3ff800000000000001",
    ),
    (
        ACCOUNT,
        "98a76163636f756e74cb3ff0000000000000cb0000000000000000cb4000000000000000cb400800"
        "0000000000cb3fe0000000000000cb3ff800000000000001",
    ),
    (
        wire.Outcome("s", 1, 2, 3, "action", 0.5, "a"),
        "9aa76f7574636f6d65a173010203a6616374696f6ecb3fe0000000000000a161a0c2",
    ),
    (
        wire.OrderUpdate("s", 1, 2, "o1", "accepted", "BUY", 1.0, 3),
        "9aa56f72646572a1730102a26f31a86163636570746564a3425559cb3ff000000000000003a0",
    ),
    (
        wire.Fill("s", 1, 2, "o1", "t1", "SELL", 1.0, 1.5, 0.25, "USD", -1.0, 3, 4),
        "9ea466696c6ca1730102a26f31a27431a453454c4ccb3ff0000000000000cb3ff8000000000000cb"
        "3fd0000000000000a3555344cbbff00000000000000304",
    ),
    (
        wire.StrategyInfo("s", 1, b"{}", b"{}", b"{}", 60, {"python": "3.12"}, "c"),
        "9aa87374726174656779a17301c4027b7dc4027b7dc4027b7d3c81a6707974686f6ea4332e3132a1"
        "63a4686f6c64",
    ),
    (
        wire.Acted(ACTION, ANSWER, 7),
        "94a561637465649ba6616374696f6ea1730102a1610304cb3fe0000000000000c4040000803f09a1"
        "7097a6616e73776572a861636365707465640204a092a26f31a26f32c207",
    ),
    (
        wire.Joined("s", 1, "a", "champion", 3, "p"),
        "97a66a6f696e6564a17301a161a86368616d70696f6e03a170",
    ),
    (
        wire.TookOver("s", 1, "b", 4, "a", 7),
        "97a9746f6f6b5f6f766572a17301a16204a16107",
    ),
    (
        wire.Halted("s", 1, "limits", "too much", 5, 3),
        "97a668616c746564a17301a66c696d697473a8746f6f206d7563680503",
    ),
    (
        wire.Resumed("s", 1, "ann", "seen", 3),
        "96a7726573756d6564a17301a3616e6ea47365656e03",
    ),
    (
        wire.Flattened("s", 1, "ann", "out", 3, "flatten-1-1"),
        "97a9666c617474656e6564a17301a3616e6ea36f757403ab666c617474656e2d312d31",
    ),
    (
        wire.Manual("s", 1, "order", "ann", "manual-1", True, "why", "BUY", 1.0, 1.5, 3),
        "9ca66d616e75616ca17301a56f72646572a3616e6ea86d616e75616c2d31c3a3776879a3425559cb"
        "3ff0000000000000cb3ff800000000000003",
    ),
    (
        wire.ManualOrder("s", "manual-1", "ann", "BUY", 1.0, 1.5, "why"),
        "98ac6d616e75616c5f6f72646572a173a86d616e75616c2d31a3616e6ea3425559cb3ff000000000"
        "0000cb3ff8000000000000a3776879",
    ),
    (
        wire.CancelManual("s", "manual-1", "ann"),
        "95ad63616e63656c5f6d616e75616ca173a86d616e75616c2d31a3616e6ea0",
    ),
    (
        wire.ManualReply("manual-1", "refused", "no"),
        "94ac6d616e75616c5f7265706c79a86d616e75616c2d31a772656675736564a26e6f",
    ),
    (
        HOLDINGS,
        "97a8686f6c64696e6773cb4000000000000000cb3ff0000000000000cb3ff8000000000000cb3fd0"
        "000000000000cb3ff800000000000001",
    ),
    (
        VENUE_ORDER,
        "97ab76656e75655f6f72646572a26f31a46f70656ecb3ff000000000000005a0cb0000000000000000",
    ),
    (
        wire.Restored("s", 1, HOLDINGS, (VENUE_ORDER,)),
        "95a8726573746f726564a1730197a8686f6c64696e6773cb4000000000000000cb3ff00000000000"
        "00cb3ff8000000000000cb3fd0000000000000cb3ff8000000000000019197ab76656e75655f6f72"
        "646572a26f31a46f70656ecb3ff000000000000005a0cb0000000000000000",
    ),
    (
        wire.EndOfData("s", 1, 9),
        "94a3656e64a1730109",
    ),
    (
        wire.Heartbeat("n", "node", 42, "running", 1.5, {"late": 1.0}, {"md.X.SIM.bar": 4}),
        "98a462656174a16ea46e6f64652aa772756e6e696e67cb3ff800000000000081a46c617465cb3ff0"
        "00000000000081ac6d642e582e53494d2e62617204",
    ),
    (
        wire.Hello("s", "a", "shadow", "d"),
        "97a568656c6c6fa173a161a6736861646f77a16401a0",
    ),
    (
        wire.Welcome("s", "a", "shadow", 1, 3, "n", 1, 4, (BAR, QUOTE), "b", 5, 6, 1.5),
        "9ea777656c636f6d65a173a161a6736861646f770103a16e0104929aa3626172a5582e53494daa31"
        "2d484f55522d41534b01cb3ff8000000000000cb4000000000000000cb3ff0000000000000cb3ff4"
        "000000000000cb4008000000000000c298a571756f7465a5582e53494d01cb3ff8000000000000cb"
        "3ffc000000000000cb4024000000000000cb4034000000000000c2a1620506cb3ff800"
        "0000000000",
    ),
    (
        wire.Renew("s", "a", 3),
        "94a572656e6577a173a16103",
    ),
    (
        wire.Renewed("s", "a", 3, "b", 5),
        "96a772656e65776564a173a16103a16205",
    ),
    (
        wire.Fetch("history.n", "a", "n", 1, "t", 2, 3),
        "98a56665746368a9686973746f72792e6ea161a16e01a1740203",
    ),
    (
        wire.Tail("history", "a", "t", 2),
        "95a47461696ca7686973746f7279a161a17402",
    ),
    (
        wire.Frames("n", 1, "t", 2, (b"t\0x",)),
        "96a66672616d6573a16e01a1740291c403740078",
    ),
    (
        wire.Evicted("n", 1, "t", 4, 9),
        "96a765766963746564a16e01a1740409",
    ),
    (
        wire.Refused("no", True),
        "93a772656675736564a26e6fc3",
    ),
    (
        ACTION,
        "9ba6616374696f6ea1730102a1610304cb3fe0000000000000c4040000803f09a170",
    ),
    (
        ANSWER,
        "97a6616e73776572a861636365707465640204a092a26f31a26f32c2",
    ),
    (
        wire.Halt("s", "r1", "ann", "why"),
        "95a468616c74a173a27231a3616e6ea3776879",
    ),
    (
        wire.Resume("s", "r1", "ann"),
        "95a6726573756d65a173a27231a3616e6ea0",
    ),
    (
        wire.Flatten("s", "r1", "ann"),
        "95a7666c617474656ea173a27231a3616e6ea0",
    ),
    (
        wire.ControlReply("r1", "halted", True, "", -1.0, "flatten-1-1"),
        "97a7636f6e74726f6ca27231a668616c746564c3a0cbbff0000000000000ab666c617474656e2d312d31",
    ),
    (
        wire.Register("s", 1),
        "93a87265676973746572a17301",
    ),
    (
        wire.Subscribe(1, 20),
        "95a973756273637269626501140000",
    ),
    (
        wire.Credit(1, 100),
        "93a66372656469740164",
    ),
    (
        wire.FeedItem(1, QUOTE),
        "93a46974656d0198a571756f7465a5582e53494d01cb3ff8000000000000cb3ffc000000000000cb"
        "4024000000000000cb4034000000000000c2",
    ),
    (
        wire.FeedEnd(2),
        "92a8666565645f656e6402",
    ),
    (
        wire.OpenAccount("main", 1, 1, "X.SIM", "USD", 2, 5, 1e-5, 1.0, 0.5, 3.0),
        "9cac6f70656e5f6163636f756e74a46d61696e0101a5582e53494da35553440205cb3ee4f8b588e3"
        "68f1cb3ff0000000000000cb3fe0000000000000cb4008000000000000",
    ),
    (
        wire.PlaceOrder("main", 1, 2, "o1", -1.0, 5),
        "98a5706c616365a46d61696e0102a26f31cbbff000000000000005cb0000000000000000",
    ),
    (
        wire.CancelOrder("main", 1, 3, "o1"),
        "95a663616e63656ca46d61696e0103a26f31",
    ),
    (
        wire.QueryOrder("main", 1, 4, "o1"),
        "95a57175657279a46d61696e0104a26f31",
    ),
    (
        wire.Tick("main", 1, 5, 6, 1.5, 1.75, 10.0, 20.0),
        "99a47469636ba46d61696e010506cb3ff8000000000000cb3ffc000000000000cb40240000000000"
        "00cb4034000000000000",
    ),
    (
        VENUE_FILL,
        "97aa76656e75655f66696c6ca27431a26f31cb3ff0000000000000cb3ffc000000000000cb3fd000"
        "000000000006",
    ),
    (
        wire.VenueReply(2, HOLDINGS, (VENUE_ORDER,), (VENUE_FILL,)),
        "96ab76656e75655f7265706c790297a8686f6c64696e6773cb4000000000000000cb3ff000000000"
        "0000cb3ff8000000000000cb3fd0000000000000cb3ff8000000000000019197ab76656e75655f6f"
        "72646572a26f31a46f70656ecb3ff000000000000005a0cb00000000000000009197aa76656e7565"
        "5f66696c6ca27431a26f31cb3ff0000000000000cb3ffc000000000000cb3fd000000000000006a0",
    ),
]
EXAMPLES = [message for message, _ in GOLDEN]


def sections() -> dict[str, list[list[str]]]:
    """Return heading -> rows of its first table of fields."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^### ", LAW, flags=re.M)[1:]:
        heading, _, text = part.partition("\n")
        if "| field | type | default | meaning |" not in text:
            continue
        table = text.split("| field | type | default | meaning |\n|---|---|---|---|\n")[1]
        rows = table.split("\n\n")[0].strip().splitlines()
        found[heading] = [[cell.strip() for cell in row.split("|")[1:5]] for row in rows]
    return found


def type_text(of: Any) -> str:
    if isinstance(of, typing.TypeAliasType):
        of = of.__value__
    origin, arguments = typing.get_origin(of), typing.get_args(of)
    if isinstance(origin, typing.TypeAliasType):  # of a map or an array of something
        return type_text(origin.__value__[arguments])
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return "str"
    if origin is dict:
        return f"map of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if origin is tuple:
        return f"array of {type_text(arguments[0])}"
    if isinstance(of, types.UnionType):
        *others, last = (type_text(a) for a in arguments)
        return f"{', '.join(others)} or {last}"
    return "a message" if of is msgspec.Raw else of.__name__


def default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.default is msgspec.NODEFAULT:
        return ""
    default = "" if field.default == b"" else field.default
    return msgspec.json.encode(default).decode()


def listed(value: Any) -> Any:
    """Return the value with lists for tuples: MessagePack knows one kind of array."""
    return [listed(item) for item in value] if isinstance(value, list | tuple) else value


def law_of(struct: type[msgspec.Struct]) -> list[list[str]]:
    fields = msgspec.structs.fields(struct)
    return [[f.name, type_text(f.type), default_text(f)] for f in fields]


def test_law_and_code_have_the_same_version() -> None:
    assert LAW.startswith(f"# The wire protocol, version {wire.VERSION}\n")
    assert sections()["Envelope"][0][3].startswith(f"{wire.VERSION};")


def test_law_has_every_message_and_no_other() -> None:
    ours = {f"{m.__name__} `{m.__struct_config__.tag}`" for m in MESSAGES}
    assert set(sections()) == ours | {"Envelope"}


@pytest.mark.parametrize("message", [*MESSAGES, wire.Envelope], ids=lambda m: m.__name__)
def test_law_has_every_field_in_order_with_type_and_default(message: type[msgspec.Struct]) -> None:
    tag = message.__struct_config__.tag
    heading = f"{message.__name__} `{tag}`" if tag else message.__name__
    assert [row[:3] for row in sections()[heading]] == law_of(message)


def test_law_has_the_limits_and_addresses_of_the_code() -> None:
    for number in (wire.MAX_FRAME_BYTES, MAX_REQUEST_BYTES, EVENTS_HWM, REQUESTS_HWM):
        assert f"{number:,}" in LAW
    assert f"may ask {REQUESTS_PER_S:,.0f} requests a second" in LAW
    assert f"{PAGE_BYTES:,} bytes of them" in LAW
    assert f"has at most {MAX_TEXT:,} characters,\nevery other one {MAX_NAME}" in LAW
    assert f"at most {MAX_ITEMS:,} items" in LAW
    assert f"may ask {PER_S:g} times a second" in LAW
    assert (STALE_NS, LAG_NS) == (3_000_000_000, 2_000_000_000)
    assert "after three seconds without any" in LAW
    assert "more than two seconds old" in LAW
    assert SILENT_S == 3.0
    assert "not registered for three seconds" in LAW
    for field, address in msgspec.to_builtins(Addresses()).items():
        assert f"| `{field}` | `{address}` |" in LAW


def test_law_explains_every_status_of_an_answer() -> None:
    table = LAW.split("| status | what it means, and what to do |")[1].split("\n\n")[0]
    explained = re.findall(r"^\| `(\w+)` \|", table, flags=re.M)
    assert explained == list(typing.get_args(wire.Answer.__annotations__["status"]))


def test_golden_bytes_are_there_for_every_message() -> None:
    assert {type(m) for m in EXAMPLES} == set(MESSAGES)


@pytest.mark.parametrize(("message", "golden"), GOLDEN)
def test_message_has_its_golden_bytes(message: wire.Message, golden: str) -> None:
    assert wire.encode(message).hex() == golden
    assert msgspec.msgpack.decode(bytes.fromhex(golden), type=type(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_message_is_plain_messagepack_to_an_independent_reader(message: wire.Message) -> None:
    tag, *fields = msgpack.unpackb(wire.encode(message))
    assert tag == type(message).__struct_config__.tag
    assert len(fields) == len(message.__struct_fields__)
    expected = msgspec.to_builtins(message, builtin_types=(bytes,))
    assert fields == listed(expected[1:])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_message_written_by_an_independent_writer_is_understood(message: wire.Message) -> None:
    written = msgpack.packb(msgpack.unpackb(wire.encode(message)))
    assert msgspec.msgpack.decode(written, type=type(message)) == message


@pytest.mark.parametrize("event", [m for m in EXAMPLES if isinstance(m, wire.Event.__value__)])
def test_frame_of_an_event_is_topic_zero_envelope(event: wire.Event) -> None:
    frame = wire.pack("md.X.SIM.bar", "node", 3, 4, 5, event)
    topic, _, payload = frame.partition(b"\0")
    version, source, epoch, seq, ts_pub_ns, body = msgpack.unpackb(payload)
    assert (topic, version, source) == (b"md.X.SIM.bar", wire.VERSION, "node")
    assert (epoch, seq, ts_pub_ns) == (3, 4, 5)
    assert body[0] == type(event).__struct_config__.tag
    name, envelope = wire.unpack(frame)
    assert (name, wire.event(envelope)) == ("md.X.SIM.bar", event)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_fields_of_a_later_version_are_ignored(message: wire.Message) -> None:
    later = msgpack.packb([*msgpack.unpackb(wire.encode(message)), {"new": [1]}, None])
    assert msgspec.msgpack.decode(later, type=type(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_absent_fields_at_the_end_take_their_defaults(message: wire.Message) -> None:
    fields = msgspec.structs.fields(type(message))
    needed = 1 + sum(f.required for f in fields)
    earlier = msgpack.packb(msgpack.unpackb(wire.encode(message))[:needed])
    found = msgspec.msgpack.decode(earlier, type=type(message))
    for field in fields:
        value = getattr(found, field.name)
        assert value == (getattr(message, field.name) if field.required else field.default)


@given(st.binary(max_size=300))
def test_rubbish_is_always_a_protocol_error(frame: bytes) -> None:
    for decode in (wire.unpack, wire.envelope, wire.request, wire.reply, wire.register):
        try:
            decode(frame)
        except ProtocolError:
            continue
