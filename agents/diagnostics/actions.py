"""Which targets a policy asked for, and how often it changed its mind."""

from typing import Final

import msgspec
import numpy as np

from agents.metrics import Track

_MOST_VALUES: Final = 21
_BINS: Final = 20


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """The targets of all decisions.

    Attributes:
        targets: those that there are, or the middles of twenty bins from -1 to 1.
        shares: of decisions.
        changed: share of decisions with another target than the one before.
    """

    targets: tuple[float, ...]
    shares: tuple[float, ...]
    changed: float


def actions(track: Track) -> Actions | None:
    """Return the targets of a track, None of one that did not keep them."""
    targets = track.targets
    if not len(targets):
        return None
    values, counts = np.unique(targets, return_counts=True)
    if len(values) > _MOST_VALUES:
        counts, edges = np.histogram(targets, bins=_BINS, range=(-1.0, 1.0))
        values = (edges[:-1] + edges[1:]) / 2.0
    return Actions(
        targets=tuple(np.round(values, 9).tolist()),
        shares=tuple((counts / len(targets)).tolist()),
        changed=float(np.mean(np.diff(targets) != 0)) if len(targets) > 1 else 0.0,
    )
