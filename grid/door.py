"""Who is let in: the authenticator of a process that binds.

A thread beside the process's own work. It answers ZeroMQ's question about each handshake (ZAP, RFC
27) out of the authorization file, and cuts off whoever has other rights by now than it came with.
Whoever misbehaves is cut off, too, and kept out for a while: to refuse costs, and a flood would get
what it wants.
"""

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from typing import Final

import zmq
from zmq.utils import z85

from grid.access import LOOK_S, Holder, Watch
from grid.errors import BusError
from grid.grants import NOTHING
from grid.murmur import Murmur
from grid.peers import Peer, cut
from grid.quota import Quota

log = logging.getLogger(__name__)

MISDEEDS_PER_S: Final = 1_000.0  # refusals that a key may cause
KEPT_OUT_S: Final = 10.0
_ZAP: Final = "inproc://zeromq.zap.01"


class Door:
    """Opens to those who may enter, from its making on.

    Args:
        context: whose sockets it stands before.
        watch: who is authorized.

    Attributes:
        counts: `let_in`, `denied`, `cut`, `barred`.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", watch: Watch) -> None:
        self.counts: Counter[str] = Counter(let_in=0, denied=0, cut=0, barred=0)
        self._watch = watch
        self._notes: dict[int, tuple[Peer, str, Holder]] = {}  # connection, its key, whose it was
        self._murmur = Murmur(log)
        self._misdeeds = Quota()
        self._kept_out: dict[str, float] = {}  # name of a holder -> until when
        self._reviewed_s = 0.0
        self._closing = False
        self._zap = context.socket(zmq.REP)
        self._zap.set(zmq.LINGER, 0)
        self._zap.bind(_ZAP)
        self._thread = threading.Thread(target=self._stand, name="door", daemon=True)
        self._thread.start()

    def counters(self) -> dict[str, float]:
        """Return the counters of a heartbeat."""
        counts = {f"keys_{name}": float(n) for name, n in self.counts.items()}
        return {**counts, "keys_unreadable": float(self._watch.unreadable)}

    def sender(self, frame: zmq.Frame) -> Holder:
        """Return who has sent a frame, and keep an eye on its connection; from any thread."""
        public = str(frame.get("User-Id"))
        holder = self._watch.who(public)
        if holder.grant == NOTHING or self.is_barred(holder.name):
            return holder  # its connection may have ended, and the descriptor be another one's
        peer = peer_of(frame)
        known = self._notes.get(peer.fd)
        if known is None or known[:2] != (peer, public):
            self._notes[peer.fd] = (peer, public, holder)
        return holder

    def misdeed(self, holder: Holder) -> None:
        """Take note of a refusal; a key that causes many is barred. From any thread."""
        now_s = time.monotonic()
        if holder.grant.is_everything or self._misdeeds.take(holder.name, MISDEEDS_PER_S, now_s):
            return
        if self.is_barred(holder.name):
            return
        self._kept_out[holder.name] = now_s + KEPT_OUT_S
        self.counts["barred"] += 1
        log.warning("key %s is cut off and kept out for %g s", holder.name, KEPT_OUT_S)
        for peer, _, whose in list(self._notes.values()):
            if whose.name == holder.name:
                self.counts["cut"] += cut(peer)

    def is_barred(self, name: str) -> bool:
        """Say whether a holder is kept out; what it has under way counts for nothing."""
        return self._kept_out.get(name, 0.0) > time.monotonic()

    def check(self) -> None:
        """Raise `BusError` if nobody stands here any more."""
        if not self._thread.is_alive():
            raise BusError("the thread that lets peers in has ended")

    def close(self) -> None:
        """Stop the thread and close its socket."""
        self._closing = True
        self._thread.join(timeout=5.0)
        self._zap.close()

    def _stand(self) -> None:
        try:
            while not self._closing:
                if self._zap.poll(round(LOOK_S * 1e3)):
                    self._answer()
                now_s = time.monotonic()
                if now_s - self._reviewed_s >= LOOK_S:
                    self._reviewed_s = now_s
                    self._review()
        except Exception:
            log.exception("the door failed")

    def _answer(self) -> None:
        version, request_id, domain, address, _, mechanism, *credentials = (
            self._zap.recv_multipart()
        )
        endpoint = domain.decode(errors="replace")
        public = ""
        if mechanism == b"CURVE" and len(credentials) == 1:
            public = z85.encode(credentials[0]).decode()
        holder = self._watch.who(public)
        if self.is_barred(holder.name):
            self.counts["denied"] += 1
            status = (b"400", b"kept out for a while", b"")
        elif holder.grant.may_enter(endpoint):
            self.counts["let_in"] += 1
            status = (b"200", b"OK", public.encode())
        else:
            self.counts["denied"] += 1
            self._murmur.say(
                f"{public} {endpoint}", "key %s of %s, from %s, may not enter %s",
                public or "none", holder.name, address.decode(errors="replace") or "here", endpoint,
            )  # fmt: skip
            status = (b"400", b"not authorized", b"")
        self._zap.send_multipart([version, request_id, *status, b""])

    def _review(self) -> None:
        """Cut whoever has other rights than it came with; it comes back if it still has some."""
        for fd, (peer, public, holder) in list(self._notes.items()):
            if self._watch.who(public).grant == holder.grant:
                continue
            with contextlib.suppress(KeyError):
                del self._notes[fd]
            if cut(peer):
                self.counts["cut"] += 1
                log.warning("rights of %s have changed: cut off", holder.name)


def peer_of(frame: zmq.Frame) -> Peer:
    """Return the connection that a frame came on."""
    fd = int(frame.get(zmq.SRCFD))
    try:
        return Peer(fd, os.fstat(fd).st_ino)
    except OSError:  # it has left
        return Peer(fd, 0)
