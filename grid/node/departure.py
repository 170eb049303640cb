"""Whether what a node has published is safe with others, before it ends and its ring with it. Pure.

What was published while no broker was there has reached nobody, and can be fetched from the node
alone. So a node whose work is done stays until the recorder has its last event and no hole left to
mend; where nothing records, until a heartbeat that names its last event has come back.
"""

from typing import Final

from grid import wire
from grid.history import HISTORY

ASK_S: Final = 0.1
PATIENCE_S: Final = 60.0  # then it ends all the same, and says so


class Departure:
    """Of one node.

    Args:
        source: name of the node.
        epoch: of the node.
        topic: of its last event.
        seq: of its last event.
        recorded: whether the grid has a recorder.

    Attributes:
        safe: whether the node may end.
    """

    def __init__(self, source: str, epoch: int, topic: str, seq: int, *, recorded: bool) -> None:
        self.safe = False
        self._stream = (source, epoch, topic)
        self._seq = seq
        self._recorded = recorded
        self._kept = not recorded  # the last event

    @property
    def want(self) -> wire.Fetch | None:
        """What is to be asked for, again and again, if anything."""
        if self._kept:
            return None
        return wire.Fetch(HISTORY, self._stream[0], *self._stream, self._seq, self._seq)

    def reply(self, reply: wire.Reply) -> None:
        """Take what the history says."""
        match reply:
            case wire.Frames() if (reply.source, reply.epoch, reply.topic) == self._stream:
                self._kept = self._kept or reply.first == self._seq
            case _:
                pass

    def heard(self, beat: wire.Heartbeat, epoch: int) -> None:
        """Take a heartbeat of any process, in its epoch."""
        source, own_epoch, topic = self._stream
        if self._recorded:
            if self._kept and beat.role == "recorder":
                self.safe = not beat.counters.get("mending")
        elif (beat.name, epoch) == (source, own_epoch):
            self.safe = beat.streams.get(topic, 0) >= self._seq
