"""The base of every message."""

from typing import Final

import msgspec

VERSION: Final = 1  # of the protocol


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of every message; immutable once made."""
