"""How many subscriptions each key has, over all its connections."""

from collections import Counter
from typing import Final

from grid.peers import Peer, is_there

JOIN: Final = 1  # first byte of what a subscriber says: follow,
LEAVE: Final = 0  # or follow no more


class Followed:
    """Counts them, up to `limit` for a key; those of connections that have ended do not count."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._of: dict[str, Counter[Peer]] = {}

    def has_room(self, name: str, peer: Peer, word: int) -> bool:
        """Take in what a peer with the key of that name says; say whether it may be done."""
        mine = self._of.setdefault(name, Counter())
        if word == LEAVE:
            mine[peer] = max(0, mine[peer] - 1)
            return True
        if not is_there(peer):  # cut off, with words of it still under way
            return False
        if mine.total() >= self._limit:
            for gone in [each for each in mine if not is_there(each)]:
                del mine[gone]
        if mine.total() >= self._limit:
            return False
        mine[peer] += 1
        return True
