"""Lines of the log about what others do: once each while they go on doing it."""

import logging
import time
from collections import OrderedDict
from typing import Final

SAY_S: Final = 10.0  # between two lines about the same
_KNOWN: Final = 1_000  # subjects that are remembered


class Murmur:
    """Warns through `log`, at most every `SAY_S` about each subject."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said_s: OrderedDict[str, float] = OrderedDict()

    def say(self, about: str, text: str, *arguments: object) -> None:
        """Warn, unless that was said just now."""
        now_s = time.monotonic()
        if now_s - self._said_s.get(about, -SAY_S) < SAY_S:
            return
        self._log.warning(text, *arguments)
        self._said_s[about] = now_s
        self._said_s.move_to_end(about)
        if len(self._said_s) > _KNOWN:
            self._said_s.popitem(last=False)
