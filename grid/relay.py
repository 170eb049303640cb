"""The forwarder of events where keys have rights: the proxy's part, event by event, in Python.

The proxy in C cannot see who has sent what. Here each event is on a topic that its sender's key may
publish, and comes from a source that it may speak for; each subscription is for topics that the key
may follow. What that costs: docs/decisions/0016.
"""

import logging
import sys
import threading
import time
from collections import Counter
from typing import Final

import msgspec
import zmq

from grid import wire
from grid.access import LOOK_S, Holder
from grid.audience import Audience
from grid.bus import EVENTS_HWM, new_socket
from grid.context import Context
from grid.door import peer_of
from grid.errors import BusError, ProtocolError
from grid.followed import JOIN, LEAVE, Followed
from grid.grants import Topics
from grid.laggards import CUT_OFF_S
from grid.murmur import Murmur
from grid.quota import Quota
from grid.sockets import Addresses

log = logging.getLogger(__name__)

BURST: Final = 500  # events before subscriptions have their turn
SUBSCRIPTIONS: Final = 20  # before events have their turn: whoever makes many shall wait
MAX_SUBSCRIPTIONS: Final = 2_000  # of one key, over all its connections
TURN_S: Final = 0.1  # the longest wait of the loop
REFRESH_S: Final = 0.5
_SWITCH_S: Final = 0.0005  # so that a burst of events does not keep requests from their thread


class _Rights(msgspec.Struct):
    """A holder's rights at the relay, ready to be used; `whole` ones need no look at a frame."""

    holder: Holder
    publish: Topics
    subscribe: Topics
    whole: bool


class Relay:
    """Forwards events between `events_in` and `events_out`, in a thread of its own.

    Raises:
        BusError: an address is taken.
    """

    def __init__(
        self, context: Context, addresses: Addresses, cut_off_s: float = CUT_OFF_S
    ) -> None:
        self._context = context
        self._counts: Counter[str] = Counter(
            events_in=0, bytes_in=0, events_out=0, bytes_out=0,
            events_forbidden=0, events_malformed=0, events_flooded=0,
            subscriptions=0, subscriptions_forbidden=0, subscriptions_flooded=0,
        )  # fmt: skip
        self._rights: dict[str, _Rights] = {}  # by public key; looked up anew each `LOOK_S`
        self._seen: dict[str, float] = {}
        self._quota = Quota()
        self._followed = Followed(MAX_SUBSCRIPTIONS)
        self._murmur = Murmur(log)
        self._in_parts = False
        self._inner = new_socket(context, zmq.SUB)
        self._inner.set(zmq.RCVHWM, EVENTS_HWM)
        self._inner.subscribe("")
        self._outer = new_socket(context, zmq.XPUB)
        self._outer.set(zmq.SNDHWM, EVENTS_HWM)  # what one slow subscriber may keep waiting
        self._outer.set(zmq.RCVHWM, 0)  # else a subscriber's prefixes beyond 1,000 are lost
        self._outer.set(zmq.XPUB_MANUAL, 1)  # a subscription is made here, or not at all
        self._closing = False
        try:
            context.bind(self._inner, addresses.events_in, "events_in")
            context.bind(self._outer, addresses.events_out, "events_out")
            self._audience = Audience(context.peers["events_out"], cut_off_s)
            assert context.door is not None  # only it knows who has sent what
            self._door = context.door
        except BusError:
            self._close()
            raise
        sys.setswitchinterval(_SWITCH_S)
        self._thread = threading.Thread(target=self._forward, name="relay", daemon=True)
        self._thread.start()

    @property
    def counters(self) -> dict[str, float]:
        """What was forwarded and refused so far."""
        return {**self._seen, **{name: float(n) for name, n in self._counts.items()}}

    def count(self) -> None:
        """Raise `BusError` if the thread has ended; the counters are always up to date."""
        if not self._thread.is_alive():
            raise BusError("the thread that forwards events has ended")

    def look(self, now_s: float) -> None:
        """Count the subscribers, tell who is slow, cut off who is slow for long."""
        self._seen = self._audience.look(now_s)

    def close(self) -> None:
        """Stop the thread and close the sockets."""
        self._closing = True
        self._thread.join(timeout=5.0)
        self._close()

    def _close(self) -> None:
        self._inner.close()
        self._outer.close()

    # -- the thread ---------------------------------------------------------------------------

    def _forward(self) -> None:
        try:
            for socket in (self._inner, self._outer):
                self._context.hand_over(socket)
            poller = zmq.Poller()
            poller.register(self._inner, zmq.POLLIN)
            poller.register(self._outer, zmq.POLLIN)
            looked_s = refreshed_s = 0.0
            while not self._closing:
                ready = dict(poller.poll(round(TURN_S * 1e3)))
                now_s = time.monotonic()
                if now_s - looked_s >= LOOK_S:
                    looked_s = now_s
                    self._rights.clear()
                if now_s - refreshed_s >= REFRESH_S:
                    refreshed_s = now_s
                    self._context.refresh()
                if self._outer in ready:
                    self._subscribe()
                if self._inner in ready:
                    self._pass_on(now_s)
        except Exception:
            log.exception("the relay of events failed")

    def _rights_of(self, frame: zmq.Frame) -> _Rights:
        holder = self._door.sender(frame)
        grant = holder.grant
        found = _Rights(holder, Topics(grant.publish), Topics(grant.subscribe), grant.is_everything)
        self._rights[str(frame.get("User-Id"))] = found
        return found

    # -- events -------------------------------------------------------------------------------

    def _pass_on(self, now_s: float) -> None:
        """Forward the events that are here and may be published, at most `BURST`."""
        recv, send, rights = self._inner.recv, self._outer.send, self._rights
        came = came_bytes = went = went_bytes = 0
        try:
            while came < BURST:
                frame = recv(zmq.NOBLOCK, copy=False, track=False)
                size = len(frame)
                came += 1
                came_bytes += size
                right = rights.get(str(frame.get("User-Id"))) or self._rights_of(frame)
                plain = right.whole and not (frame.more or self._in_parts)
                if plain or self._may(right, frame, now_s):
                    send(frame, zmq.NOBLOCK, copy=False, track=False)
                    went += 1
                    went_bytes += size
        except zmq.Again:
            pass
        self._counts.update(
            events_in=came, bytes_in=came_bytes, events_out=went, bytes_out=went_bytes
        )

    def _may(self, right: _Rights, frame: zmq.Frame, now_s: float) -> bool:
        """Say whether a frame is one whole event that its sender may publish."""
        is_part, self._in_parts = frame.more or self._in_parts, bool(frame.more)
        wrong = "malformed" if is_part else self._wrong(right, frame.bytes, now_s)
        if wrong:
            self._counts[f"events_{wrong}"] += 1
            self._door.misdeed(right.holder)
        return not wrong

    def _wrong(self, right: _Rights, data: bytes, now_s: float) -> str:
        """Return what is wrong with an event or a batch; empty if nothing is."""
        if right.whole:
            return ""
        holder, n = right.holder, wire.events_in(data)
        if self._door.is_barred(holder.name):
            return "flooded"
        per_s = holder.grant.events_per_s
        if per_s and not self._quota.take(holder.name, per_s, now_s, n):
            self._say(holder, f"publish more than {per_s:g} events a second")
            return "flooded"
        try:
            events = wire.split_batch(data) if wire.is_batch(data) else [data]
            sources = {wire.unpack(event)[1].source for event in events}
        except ProtocolError:
            return "malformed"
        if right.publish.allow(data) and all(right.publish.allow(_beat_of(s)) for s in sources):
            return ""
        topic = data.partition(b"\0")[0][:80].decode(errors="replace")
        self._say(holder, f"publish {topic} of {', '.join(sorted(sources))[:80]}")
        return "forbidden"

    # -- subscriptions ------------------------------------------------------------------------

    def _subscribe(self) -> None:
        """Make the subscriptions that are asked for and may be made."""
        try:
            for _ in range(SUBSCRIPTIONS):
                self._take(self._outer.recv(zmq.NOBLOCK, copy=False, track=False))
        except zmq.Again:
            pass

    def _take(self, frame: zmq.Frame) -> None:
        data = frame.bytes
        if not _is_from_peer(frame):
            return  # ZeroMQ's own word that a connection has ended
        self._door.sender(frame)  # each connection is to be known
        right = self._rights.get(str(frame.get("User-Id"))) or self._rights_of(frame)
        if self._door.is_barred(right.holder.name):
            return  # said before it was cut off
        if not data or data[0] not in (JOIN, LEAVE):
            self._counts["events_malformed"] += 1
            self._door.misdeed(right.holder)
            return
        prefix = right.subscribe.narrowed(data[1:])
        if not (right.whole or self._followed.has_room(right.holder.name, peer_of(frame), data[0])):
            self._counts["subscriptions_flooded"] += 1
            self._say(right.holder, f"make more than {MAX_SUBSCRIPTIONS} subscriptions")
            self._door.misdeed(right.holder)
        elif prefix is None:
            self._counts["subscriptions_forbidden"] += 1
            self._say(right.holder, f"follow {data[1:81].decode(errors='replace')!r}")
            self._door.misdeed(right.holder)
        elif data[0] == JOIN:
            self._counts["subscriptions"] += 1
            self._outer.set(zmq.SUBSCRIBE, prefix)
        else:
            self._outer.set(zmq.UNSUBSCRIBE, prefix)

    def _say(self, holder: Holder, what: str) -> None:
        about = f"{holder.name} {what.partition(' ')[0]}"
        self._murmur.say(about, "key %s may not %s", holder.name, what)


def _beat_of(source: str) -> bytes:
    return f"sys.{source}\0".encode()


def _is_from_peer(frame: zmq.Frame) -> bool:
    try:
        return bool(frame.get("User-Id"))
    except zmq.ZMQError:
        return False
