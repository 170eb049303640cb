"""What who missed events asks of who kept them."""

from grid.messages.message import Message
from grid.values import Items, Name, Whole


class Fetch(Message, frozen=True, tag="fetch"):
    """Anyone to a history: the events `first` to `last` of one stream."""

    at: Name  # `history`, the recorder's, or `history.<source>`, what that process itself keeps
    client: Name  # name of the process that asks
    source: Name
    epoch: Whole
    topic: Name
    first: Whole
    last: Whole


class Tail(Message, frozen=True, tag="tail"):
    """Anyone to a history: the last `n` events on a topic."""

    at: Name
    client: Name
    topic: Name
    n: Whole


class Frames(Message, frozen=True, tag="frames"):
    """History: whole frames of one stream, in order from `first`; when they end early, ask on."""

    source: Name
    epoch: Whole
    topic: Name
    first: Whole
    frames: Items[bytes]


class Evicted(Message, frozen=True, tag="evicted"):
    """History: not kept, now or ever; what is kept lies from `low` to `high`, 0 if nothing."""

    source: Name
    epoch: Whole
    topic: Name
    low: Whole
    high: Whole
