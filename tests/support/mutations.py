"""Frames that no good peer sends, made of good ones: seeded, and fast enough for a million.

Each mutation takes a frame and a source of random bits, and returns another frame.
"""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack
import msgspec

type Mutation = Callable[[bytes, random.Random], bytes]

LIES: Final = (  # headers that claim far more than is there, or what the protocol has not
    b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xd9\xff", b"\xc4\xff",
    b"\xc9\xff\xff\xff\xff\x01", b"\xc7\xff\x00", b"\xd6\xff\x00\x00\x00\x00", b"\xd4\x05\x00",
    b"\xc1", b"\xc0",
)  # fmt: skip
NUMBERS: Final = (
    *(b"\xcb" + struct.pack(">d", float(x)) for x in ("nan", "inf", "-inf", "5e-324")),
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xca\x7f\xc0\x00\x00",
)
NESTS: Final = (b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\x81\x91\x00", b"\x92\xc0")


def flip(frame: bytes, rng: random.Random) -> bytes:
    """One to four bits are others."""
    out = bytearray(frame)
    for _ in range(1 + (rng.getrandbits(8) & 3)):
        at = rng.getrandbits(20) % len(out)
        out[at] ^= 1 << (rng.getrandbits(8) & 7)
    return bytes(out)


def overwrite(frame: bytes, rng: random.Random) -> bytes:
    """A run of bytes is random."""
    at = rng.getrandbits(20) % len(frame)
    noise = rng.randbytes(1 + (rng.getrandbits(8) & 15))
    return frame[:at] + noise + frame[at + len(noise) :]


def cut(frame: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return frame[: rng.getrandbits(20) % len(frame)]


def drop(frame: bytes, rng: random.Random) -> bytes:
    """A piece of the middle is missing."""
    at = rng.getrandbits(20) % len(frame)
    return frame[:at] + frame[at + 1 + (rng.getrandbits(8) & 15) :]


def lie(frame: bytes, rng: random.Random) -> bytes:
    """A header somewhere claims what is not so."""
    at = rng.getrandbits(20) % len(frame)
    said = LIES[rng.getrandbits(16) % len(LIES)]
    return frame[:at] + said + frame[at + (rng.getrandbits(8) & 7) :]


def number(frame: bytes, rng: random.Random) -> bytes:
    """A number is one that no order may rest on."""
    at = frame.find(b"\xcb", rng.getrandbits(20) % len(frame))
    at = at if at >= 0 else rng.getrandbits(20) % len(frame)
    return frame[:at] + NUMBERS[rng.getrandbits(16) % len(NUMBERS)] + frame[at + 9 :]


def nest(frame: bytes, rng: random.Random) -> bytes:
    """A value is very deep: within a field, or behind the last."""
    deep = NESTS[rng.getrandbits(8) % len(NESTS)] * (1 << (rng.getrandbits(8) % 13))
    at = rng.getrandbits(20) % (len(frame) + 1)
    return frame[:at] + deep + frame[at:]


def rubbish(frame: bytes, rng: random.Random) -> bytes:
    """Random bytes, or a random tree of plain MessagePack, in place of the end."""
    at = rng.getrandbits(20) % len(frame)
    if rng.getrandbits(1):
        return frame[:at] + rng.randbytes(rng.getrandbits(6))
    return frame[:at] + bytes(msgpack.packb(_tree(rng, 4)))


def field(frame: bytes, rng: random.Random) -> bytes:
    """A field has another value, of its type or of any."""
    at = 0
    try:
        tree = msgspec.msgpack.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        at = frame.find(0) + 1  # an event: topic and zero stand before it
        try:
            tree = msgspec.msgpack.decode(frame[at:])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return flip(frame, rng)
    if not isinstance(tree, list) or not tree:
        return flip(frame, rng)
    inner = tree
    while True:
        key = rng.getrandbits(8) % len(inner)
        if not (isinstance(inner[key], list) and inner[key]):
            break
        inner = inner[key]
    inner[key] = _alike(inner[key], rng) if rng.getrandbits(2) else _tree(rng, 2)
    return frame[:at] + msgspec.msgpack.encode(tree)


SIMPLE: Final[tuple[Mutation, ...]] = (
    flip,
    overwrite,
    cut,
    drop,
    lie,
    number,
    nest,
    rubbish,
    field,
)
# how often each, of 32; those that cost much are rare
_OFTEN: Final = (
    *(flip,) * 8, *(overwrite,) * 3, *(cut,) * 2, *(drop,) * 2, *(lie,) * 4, *(number,) * 3,
    *(field,) * 8, nest, rubbish,
)  # fmt: skip


def mutated(corpus: Sequence[bytes], rng: random.Random) -> bytes:
    """Return a frame of the corpus with one mutation or two, or two of them in one."""
    bits = rng.getrandbits(32)
    frame = corpus[bits % len(corpus)]
    if not (bits >> 16) & 15:
        other = corpus[rng.getrandbits(16) % len(corpus)]
        frame = (
            frame[: rng.getrandbits(16) % len(frame)] + other[rng.getrandbits(16) % len(other) :]
        )
    frame = _OFTEN[(bits >> 20) & 31](frame or b"\0", rng)
    if not (bits >> 25) & 7:
        frame = _OFTEN[rng.getrandbits(5)](frame or b"\0", rng)
    return frame


def _alike(value: Any, rng: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return (value + (rng.getrandbits(66) >> (rng.getrandbits(8) % 66))) % (1 << 64)
        case float():
            return value * rng.uniform(-2.0, 2.0)
        case str():
            return value + chr(rng.getrandbits(11))
        case bytes():
            return value + rng.randbytes(3)
        case _:
            return value


def _tree(rng: random.Random, depth: int) -> Any:
    kind = rng.getrandbits(8) % (9 if depth else 6)
    match kind:
        case 0:
            return rng.getrandbits(64) - (1 << 63)
        case 1:
            return rng.random() * 1e6
        case 2:
            return "".join(chr(32 + rng.getrandbits(6)) for _ in range(rng.getrandbits(4)))
        case 3:
            return rng.randbytes(rng.getrandbits(4))
        case 4:
            return None
        case 5:
            return bool(rng.getrandbits(1))
        case 6:
            return {_tree(rng, 0): _tree(rng, depth - 1) for _ in range(rng.getrandbits(2))}
        case _:
            return [_tree(rng, depth - 1) for _ in range(rng.getrandbits(3))]
