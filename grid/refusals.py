"""What keys asked for without the right to it: in the log now and then, in the audit log always."""

import logging
import time
from pathlib import Path
from typing import Final

from grid import wire
from grid.access import Holder
from grid.audit import Audit
from grid.murmur import Murmur
from grid.quota import Quota

log = logging.getLogger(__name__)

AUDITED_PER_S: Final = 10.0  # of one key: whoever floods must not fill the disk


class Refusals:
    """Writes down who was refused what.

    Args:
        file: the audit log of the grid; None for none.

    Attributes:
        unwritten: those beyond `AUDITED_PER_S`.
    """

    def __init__(self, file: Path | None) -> None:
        self.unwritten = 0
        self._audit = Audit(file, "", 0) if file is not None else None
        self._quota = Quota()
        self._murmur = Murmur(log)

    def take(self, who: Holder, asked: wire.Request | wire.Register, why: str) -> None:
        """Write one down."""
        what = type(asked).__name__
        self._murmur.say(who.name, "key %s was refused %s: %s", who.name, what, why)
        if self._audit is None:
            return
        if not self._quota.take(who.name, AUDITED_PER_S, time.monotonic()):
            self.unwritten += 1
            return
        about = asked.strategy_id if isinstance(asked, wire.Register) else wire.addressee(asked)
        self._audit.write(
            "refusal", who.name, why, done=False, subject=what.lower(), strategy_id=about
        )

    def close(self) -> None:
        """Sync and close the audit log."""
        if self._audit is not None:
            self._audit.close()
