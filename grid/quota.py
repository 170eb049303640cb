"""How often each of many may do something. Pure: monotonic time is given."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import msgspec

_KNOWN: Final = 10_000  # of whom it is remembered


class _Allowance(msgspec.Struct):
    left: float
    at_s: float


class Quota:
    """A bucket for each: full at first, and again after a second's pause."""

    def __init__(self) -> None:
        self._allowances: OrderedDict[Hashable, _Allowance] = OrderedDict()

    def take(self, who: Hashable, per_s: float, now_s: float, n: int = 1) -> bool:
        """Say whether `who` may do it `n` times more, at `per_s` times a second."""
        allowance = self._allowances.get(who)
        if allowance is None:
            allowance = self._allowances[who] = _Allowance(per_s, now_s)
            if len(self._allowances) > _KNOWN:
                self._allowances.popitem(last=False)
        left = min(per_s, allowance.left + per_s * (now_s - allowance.at_s))
        allowance.at_s = now_s
        allowance.left = left - n if left >= n else left
        return left >= n
