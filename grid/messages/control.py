"""What a person asks of a strategy: to stop, to go on, to order by hand."""

from typing import Literal

from grid.messages.message import Message
from grid.values import Name, Number, Text


class Halt(Message, frozen=True, tag="halt"):
    """Person to strategy: carry out no action from now on."""

    strategy_id: Name
    request_id: Name  # of the asker's choice: the same one again gets the same reply again
    by: Name
    reason: Text = ""


class Resume(Message, frozen=True, tag="resume"):
    """Person to strategy: go on after a halt; losses are counted from here."""

    strategy_id: Name
    request_id: Name
    by: Name
    reason: Text = ""


class Flatten(Message, frozen=True, tag="flatten"):
    """Person to strategy: close the position, and halt."""

    strategy_id: Name
    request_id: Name
    by: Name
    reason: Text = ""


class ControlReply(Message, frozen=True, tag="control"):
    """Strategy to person: what it is from now on."""

    request_id: Name
    state: Literal["trading", "halted"]
    done: bool  # false where there was nothing to do, for the reason given
    reason: Text
    position_qty: Number
    client_order_id: Name = ""  # of the order that closes the position


class ManualOrder(Message, frozen=True, tag="manual_order"):
    """Person to strategy: an order. `client_order_id` is its key, and begins with `manual-`."""

    strategy_id: Name
    client_order_id: Name
    by: Name
    side: Literal["BUY", "SELL"]
    qty: Number
    limit_px: Number = 0.0  # 0: at the market
    reason: Text = ""


class CancelManual(Message, frozen=True, tag="cancel_manual"):
    """Person to strategy: take back what is open of a manual order."""

    strategy_id: Name
    client_order_id: Name
    by: Name
    reason: Text = ""


class ManualReply(Message, frozen=True, tag="manual_reply"):
    """Strategy to person: what became of a manual order, or of a cancel."""

    client_order_id: Name
    status: Literal["accepted", "duplicate", "refused"]
    reason: Text = ""
