"""Which subscribers are too slow, by what waits for them in the kernel. Pure; time is given.

Whoever keeps up has nothing waiting now and then. One for whom something waits at every look is
behind; behind for a while it is slow, and behind for long it is cut off: what queues for it is of
the past, and would grow to the queue's bound. It connects again, finds what it missed by the
sequences, and fetches it or begins anew.
"""

from collections.abc import Hashable, Mapping
from typing import Final

BEHIND_BYTES: Final = 1 << 15
SLOW_S: Final = 2.0
CUT_OFF_S: Final = 10.0


class Laggards[Peer: Hashable]:
    """Judges the peers of one socket.

    Args:
        cut_off_s: behind for so long, a peer is to be cut off.

    Attributes:
        slow: peers that are slow now.
        slowed: how often a peer has become slow.
        cut_off: how many were to be cut off.
    """

    def __init__(self, cut_off_s: float = CUT_OFF_S) -> None:
        self.slow: set[Peer] = set()
        self.slowed = 0
        self.cut_off = 0
        self._cut_off_s = cut_off_s
        self._since_s: dict[Peer, float] = {}  # of those behind

    def look(self, waiting: Mapping[Peer, int], now_s: float) -> tuple[list[Peer], list[Peer]]:
        """Take how many bytes wait for each peer; return the newly slow, and those to cut off."""
        behind = [peer for peer, size in waiting.items() if size > BEHIND_BYTES]
        self._since_s = {peer: self._since_s.get(peer, now_s) for peer in behind}
        lasted_s = {peer: now_s - since_s for peer, since_s in self._since_s.items()}
        slow = {peer for peer, s in lasted_s.items() if s >= min(SLOW_S, self._cut_off_s)}
        new = [peer for peer in behind if peer in slow - self.slow]
        hopeless = [peer for peer in behind if lasted_s[peer] >= self._cut_off_s]
        for peer in hopeless:
            del self._since_s[peer]
        self.slow = slow - set(hopeless)
        self.slowed += len(new)
        self.cut_off += len(hopeless)
        return new, hopeless
