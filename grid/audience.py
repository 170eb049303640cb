"""The subscribers of a forwarder of events: who is there, who is slow, who is cut off for it."""

import logging

from grid.laggards import Laggards
from grid.peers import Peer, Peers, cut, name_of, waiting_bytes

log = logging.getLogger(__name__)


class Audience:
    """Those connected to one socket.

    Args:
        peers: they.
        cut_off_s: behind for so long, one is cut off.
    """

    def __init__(self, peers: Peers, cut_off_s: float) -> None:
        self._peers = peers
        self._laggards = Laggards[Peer](cut_off_s)

    def look(self, now_s: float) -> dict[str, float]:
        """Tell who is slow, cut off who is slow for long; return the counters of all that."""
        there = self._peers.present
        waiting = {peer: waiting_bytes(peer) for peer in there}
        slow, hopeless = self._laggards.look(waiting, now_s)
        for peer in slow:
            log.warning("subscriber %s is slow: %d bytes wait", name_of(peer), waiting[peer])
        for peer in hopeless:
            log.warning("subscriber %s is cut off: it did not catch up", name_of(peer))
            cut(peer)
        return {
            "subscribers": float(len(there)),
            "slow": float(len(self._laggards.slow)),
            "slowed": float(self._laggards.slowed),
            "cut_off": float(self._laggards.cut_off),
        }
