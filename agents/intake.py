"""What an agent follows of a strategy, and what of it has not come. Pure."""

from typing import Final

from grid import wire
from grid.retriever import Retriever
from grid.streams import InOrder

FETCH_ROWS: Final = 20_000  # a snapshot is cheaper than more than these


class Intake:
    """Every row in order; of the decisions the newest is enough.

    Args:
        agent_id: who follows.
        row_topic: where the rows come.
        decision_topic: where the decisions come.

    Attributes:
        followed: source and epoch of the streams.
        rows: those that came, without a hole.
        decision_seq: of the last decision that came, in its stream.
        decision_high: the greatest that is known to exist.
    """

    def __init__(self, agent_id: str, row_topic: str, decision_topic: str) -> None:
        self.row_topic = row_topic
        self.decision_topic = decision_topic
        self.followed = ("", 0)
        self.rows = InOrder(0)
        self.decision_seq = self.decision_high = 0
        self._retriever = Retriever(agent_id)

    @property
    def missing(self) -> tuple[str, int, int] | None:
        """What is missing: of the rows all, of the decisions the newest, if it was lost."""
        if missing := self.rows.missing:
            return self.row_topic, *missing
        if self.decision_seq < self.decision_high:
            return self.decision_topic, self.decision_high, self.decision_high
        return None

    def follow(self, welcome: wire.Welcome) -> bool:
        """Begin where a welcome says; whether that is another source, or another epoch of it."""
        now = (welcome.market_source, welcome.market_epoch)
        is_new = now != self.followed
        if is_new:
            self.followed = now
            self.decision_seq = self.decision_high = welcome.decision_seq
        self.rows = InOrder(welcome.market_seq)
        self._retriever.end()
        return is_new

    def heard(self, beat: wire.Heartbeat) -> bool:
        """Take the ends of the streams from a heartbeat; whether it shows a loss."""
        is_news = False
        row_high = beat.streams.get(self.row_topic, 0)
        if row_high > self.rows.high:
            self.rows.heard(row_high)
            is_news = True
        decision_high = beat.streams.get(self.decision_topic, 0)
        if decision_high > max(self.decision_seq, self.decision_high):
            is_news = True
        self.decision_high = max(self.decision_high, decision_high)
        return is_news

    def lack(self, now_ns: int) -> bool:
        """Begin to fetch; whether nothing was missing before."""
        return self._retriever.begin(now_ns)

    def fetch(self, now_ns: int) -> wire.Fetch | None:
        """Return the next request for what is missing, if it is time."""
        missing = self.missing
        if missing is None:
            return None
        topic, first, last = missing
        return self._retriever.ask((*self.followed, topic), first, last, now_ns)

    def is_out_of_reach(self, now_ns: int) -> bool:
        """Whether what is missing was asked for long enough, or is too much to ask for."""
        missing = self.missing
        if missing is None:
            return False
        return self._retriever.expired(now_ns) or missing[2] - missing[1] >= FETCH_ROWS

    def fetched(self, now_ns: int) -> None:
        """Some rows have come by request."""
        self._retriever.progress(now_ns)

    def end_fetch(self) -> None:
        """Nothing is missing any more."""
        self._retriever.end()

    def ask_the_other(self, now_ns: int) -> bool:
        """Ask the other, recorder or source; False if it was the source that has it not."""
        if self._retriever.asked_the_source:
            return False
        self._retriever.turn(now_ns)
        return True

    def skip_decision(self) -> None:
        """Do without the newest decision."""
        self.decision_seq = self.decision_high
