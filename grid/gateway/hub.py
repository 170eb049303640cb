"""Events for WebSockets: numbered once, encoded once, shared by all who want the same. Pure.

A frame holds what came since the last one, at most `RATE_HZ` times a second. Clients with the same
wishes get the same bytes.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from grid import wire
from grid.gateway import rows

type Channel = Literal["market", "decisions", "actions", "orders", "fills", "control", "status"]

CHANNELS: Final[tuple[Channel, ...]] = (
    "market", "decisions", "actions", "orders", "fills", "control", "status",
)  # fmt: skip
RATE_HZ: Final = 20.0
KEPT: Final = 50_000  # events for those who come back
FRAME_EVENTS: Final = 2_000  # of a frame; what is more comes in the next one at once

_CHANNEL_OF: Final[dict[str, Channel]] = {
    "bar": "market", "quote": "market", "trade": "market", "depth": "market",
    "decision": "decisions", "outcome": "decisions",
    "acted": "actions", "joined": "actions", "took_over": "actions",
    "order": "orders", "manual": "orders",
    "fill": "fills",
    "halted": "control", "resumed": "control", "flattened": "control", "strategy": "control",
    "restored": "control", "end": "control",
    "beat": "status",
}  # fmt: skip

encode: Final = msgspec.json.Encoder().encode


class Wish(msgspec.Struct, frozen=True):
    """What a client wants.

    Attributes:
        channels: of events.
        instruments: whose market events; empty for all.
        conflate: of each market topic the newest of a frame only.
    """

    channels: frozenset[str]
    instruments: frozenset[str] = frozenset()
    conflate: bool = False


class Kept(msgspec.Struct, frozen=True, gc=False):
    """An event, encoded."""

    n: int
    channel: str
    topic: str
    instrument: str
    text: bytes
    stream: str  # source, epoch and topic, with spaces between
    seq: int


class Frame(msgspec.Struct, frozen=True, gc=False):
    """Bytes for a WebSocket, and how many events they hold."""

    text: bytes
    events: int
    last: int


def shown(topic: str, envelope: wire.Envelope, event: wire.Event, n: int) -> rows.Event:
    """Return an event as people and browsers see it; fields of bytes are left out."""
    tag = str(event.__struct_config__.tag)
    data = {
        name: value.__struct_fields__ and _fields(value)
        if isinstance(value, wire.Message)
        else value
        for name in event.__struct_fields__
        if not isinstance(value := getattr(event, name), bytes)
    }
    channel = _CHANNEL_OF.get(tag, "control")
    return rows.Event(
        n, channel, topic, envelope.source, envelope.epoch, envelope.seq, envelope.ts_pub_ns, tag,
        data,
    )  # fmt: skip


def _fields(message: wire.Message) -> dict[str, object]:
    names = message.__struct_fields__
    pairs = ((name, getattr(message, name)) for name in names)
    return {name: value for name, value in pairs if not isinstance(value, bytes)}


class Hub:
    """Numbers events, keeps the newest, cuts frames.

    Attributes:
        feed: of this life of the gateway: numbers of another one mean nothing here.
        n: number of the newest event.
        cut_n: number of the newest event that is in a frame.
    """

    def __init__(self, feed: str, kept: int = KEPT) -> None:
        self.feed = feed
        self.n = 0
        self.cut_n = 0
        self._ring: deque[Kept] = deque(maxlen=kept)
        self._fresh: list[Kept] = []

    def push(self, event: rows.Event) -> None:
        """Take the next event, whose number is `n` + 1."""
        self.n = event.n
        instrument = ""
        if event.channel == "market":
            instrument = str(event.data.get("instrument_id", ""))
        stream = f"{event.source} {event.epoch} {event.topic}"
        kept = Kept(
            event.n, event.channel, event.topic, instrument, encode(event), stream, event.seq
        )
        self._ring.append(kept)
        self._fresh.append(kept)

    def cut(self, wishes: Iterable[Wish]) -> dict[Wish, list[Frame]]:
        """Return the frames of what is new, for each wish; empty ones are left out."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return {}
        self.cut_n = fresh[-1].n
        found = {}
        for wish in set(wishes):
            if frames := self._frames(fresh, wish):
                found[wish] = frames
        return found

    def since(self, after: int, wish: Wish) -> list[Frame] | None:
        """Return what came after a number, up to the last cut; None if not all is kept."""
        first = self._ring[0].n if self._ring else self.n + 1
        if after > self.n or after < first - 1:
            return None
        missed = [kept for kept in self._ring if after < kept.n <= self.cut_n]
        return self._frames(missed, wish)

    def since_streams(self, last: Mapping[str, int], wish: Wish) -> list[Frame] | None:
        """Return what came after a sequence of each stream; None if not all is kept."""
        first: dict[str, int] = {}
        missed = []
        for kept in self._ring:
            if kept.stream in last and kept.n <= self.cut_n:
                first.setdefault(kept.stream, kept.seq)
                if kept.seq > last[kept.stream]:
                    missed.append(kept)
        if any(first.get(stream, seq + 2) > seq + 1 for stream, seq in last.items()):
            return None
        return self._frames(missed, wish)

    def _frames(self, events: list[Kept], wish: Wish) -> list[Frame]:
        wanted = [
            e
            for e in events
            if e.channel in wish.channels
            and (not wish.instruments or not e.instrument or e.instrument in wish.instruments)
        ]
        conflated = 0
        if wish.conflate:
            newest = {e.topic: e.n for e in wanted if e.channel == "market"}
            some = [e for e in wanted if e.channel != "market" or newest[e.topic] == e.n]
            conflated, wanted = len(wanted) - len(some), some
        frames = []
        for at in range(0, len(wanted), FRAME_EVENTS):
            part = wanted[at : at + FRAME_EVENTS]
            head = f'{{"op":"events","from":{part[0].n},"to":{part[-1].n}'
            if conflated and at == 0:
                head += f',"conflated":{conflated}'
            text = b"".join(
                (head.encode(), b',"events":[', b",".join([e.text for e in part]), b"]}")
            )
            frames.append(Frame(text, len(part), part[-1].n))
        return frames
