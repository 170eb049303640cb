"""What must be known of a checkpoint before it may trade: three things, each shown by a run.

Of one that a training grid chose, the verdict on the grid is known, too, and counts as much.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

type What = Literal["evaluation", "lookahead", "parity", "grid"]

DEMANDED: Final[tuple[What, ...]] = ("evaluation", "lookahead", "parity")
KNOWN: Final[tuple[What, ...]] = (*DEMANDED, "grid")


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one check.

    Attributes:
        what: was checked.
        passed: whether it held.
        said: in a sentence, how or why not.
        at: time by this machine's clock, UTC.
        metrics: figures of the agent on held-out time, or of a grid's verdict.
    """

    what: What
    passed: bool
    said: str
    at: str
    metrics: dict[str, float] = {}


def newest(found: Iterable[Evidence]) -> dict[What, Evidence]:
    """Return the last evidence of each kind, that which is demanded first."""
    last = {evidence.what: evidence for evidence in found}
    return {what: last[what] for what in KNOWN if what in last}


def lacking(found: Iterable[Evidence]) -> list[str]:
    """Return in words what keeps a checkpoint from being promoted."""
    last = newest(found)
    absent = [f"no {what}" for what in DEMANDED if what not in last]
    failed = [f"{e.what} failed: {e.said}" for e in last.values() if not e.passed]
    return absent + failed
