"""How often each key may ask. Pure: monotonic time is given."""

import math
from collections import OrderedDict
from typing import Final

_KNOWN: Final = 10_000  # of whom it is remembered


class Bucket:
    """A token bucket for each asker.

    Args:
        per_s: tokens that come a second.
        burst: that fit in.
    """

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = float(burst)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, who: str, now_s: float) -> int:
        """Take a token: return 0, or after how many whole seconds there will be one."""
        left, at_s = self._left.pop(who, (self._burst, now_s))
        left = min(self._burst, left + self._per_s * (now_s - at_s))
        taken = left >= 1.0
        self._left[who] = (left - taken, now_s)
        if len(self._left) > _KNOWN:
            self._left.popitem(last=False)
        return 0 if taken else max(1, math.ceil((1.0 - left) / self._per_s))
