"""Between a strategy's node, its feed and the broker."""

from grid.messages.market import Row
from grid.messages.message import Message
from grid.values import Name, Whole


class Register(Message, frozen=True, tag="register"):
    """Strategy or history to broker, every second: requests for `strategy_id` come to me."""

    strategy_id: Name
    epoch: Whole


class Subscribe(Message, frozen=True, tag="subscribe"):
    """Node to feed: begin, `warmup` rows of history first.

    `after_ns` is 0 at a node's start: the market goes on where it stands. A node that asks anew,
    because the feed was silent, says what it has already.
    """

    node_epoch: Whole
    warmup: Whole
    after_ns: Whole = 0  # ts_event of the last market event that the node has
    after_count: Whole = 0  # how many events of that very ns it has; 0: all


class Credit(Message, frozen=True, tag="credit"):
    """Node to feed: `upto` market events of this run may have been sent in all."""

    node_epoch: Whole
    upto: Whole


class FeedItem(Message, frozen=True, tag="item"):
    """Feed to node: the next market event; `seq` counts from 1 after each subscribe."""

    seq: Whole
    event: Row


class FeedEnd(Message, frozen=True, tag="feed_end"):
    """Feed to node: there is no more."""

    seq: Whole
