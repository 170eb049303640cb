"""How long orders take from a decision to the venue: fixed, drawn by seed, or as measured. Pure.

An order never overtakes the one before it: they travel on one connection.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np

from grid import session, transcript
from grid.errors import ConfigError, SessionError
from grid.transcript import Transcript
from grid.venue import NS_PER_MS, Venue

LEAST_NS: Final = 1  # no order meets a quote that was there before it
_TAIL: Final = 1e-4  # draws lie between these quantiles, so that every latency has a bound
_QUANTILES: Final = 101  # kept of a measured distribution: whole percents
_FEWEST: Final = 20  # actions that make a distribution
_NORMAL: Final = NormalDist()


class Latency:
    """When orders reach the venue, one after the other.

    Args:
        venue: fixed, lognormal or measured.
        seed: of the draws.

    Raises:
        ConfigError: the venue's latency is to be measured, and was not yet.
    """

    def __init__(self, venue: Venue, seed: int) -> None:
        self._quantile_ns = quantile_ns(venue)
        self._random = Random(seed)
        self._last_due_ns = 0

    def due_ns(self, asked_ns: int) -> int:
        """Return when the next order arrives that was decided on at `asked_ns`."""
        arrives_ns = asked_ns + self._quantile_ns(self._random.random())
        self._last_due_ns = max(arrives_ns, self._last_due_ns)
        return self._last_due_ns


def bounds_ns(venue: Venue) -> tuple[int, int]:
    """Return the shortest and the longest latency that an order may have on its own."""
    found = quantile_ns(venue)
    return found(0.0), found(1.0)


def quantile_ns(venue: Venue) -> Callable[[float], int]:
    """Return the quantile function of the venue's latency: from [0, 1] to ns.

    Lognormal: with mean m and 99th percentile q, sigma is the smaller root of
    sigma^2 / 2 - z sigma + ln(q / m) = 0, z the normal's 99th percentile, and
    mu = ln(m) - sigma^2 / 2.

    Raises:
        ConfigError: it is to be measured, and was not yet.
    """
    if venue.latency_quantiles_ms:
        known = np.asarray(venue.latency_quantiles_ms)
        shares = np.linspace(0.0, 1.0, len(known))
        return lambda u: _ns(float(np.interp(u, shares, known)))
    if venue.latency_from:
        raise ConfigError(
            f"venue.latency_from: expected the quantiles of session {venue.latency_from!r} in "
            "venue.latency_quantiles_ms, found none: see `grid.latency.measured`"
        )
    if not venue.latency_p99_ms:
        fixed_ns = venue.latency_ns
        return lambda u: fixed_ns
    z = _NORMAL.inv_cdf(0.99)
    sigma = z - math.sqrt(z * z - 2.0 * math.log(venue.latency_p99_ms / venue.latency_ms))
    mu = math.log(venue.latency_ms) - sigma * sigma / 2.0

    def lognormal(u: float) -> int:
        held = min(max(u, _TAIL), 1.0 - _TAIL)
        return _ns(math.exp(mu + sigma * _NORMAL.inv_cdf(held)))

    return lognormal


def measured(venue: Venue, sessions: Path) -> Venue:
    """Return the venue with the quantiles of the session that its latency is from; else itself.

    Args:
        venue: with `latency_from`, the id of a session in `sessions`, or the path of one.
        sessions: folder of the home.

    Raises:
        SessionError: the session is not there, or holds too few decisions.
    """
    if not venue.latency_from or venue.latency_quantiles_ms:
        return venue
    path = session.find(sessions, venue.latency_from)
    runs = transcript.read(session.Session.open(path))
    found = [ms for run in runs for ms in latencies_ms(run)]
    if len(found) < _FEWEST:
        raise SessionError(
            f"venue.latency_from {venue.latency_from!r}: expected at least {_FEWEST} actions that "
            f"were traded in {path}, found {len(found)}"
        )
    return msgspec.structs.replace(venue, latency_quantiles_ms=quantiles(found))


def latencies_ms(run: Transcript) -> list[float]:
    """Return the time of each traded action from its decision's publication to its arrival."""
    return [
        (acted.ts_recv_ns - run.published_ns[acted.action.decision_seq]) / NS_PER_MS
        for acted in run.acted
        if acted.answer.status == "accepted" and acted.action.decision_seq in run.published_ns
    ]


def quantiles(found_ms: Sequence[float]) -> tuple[float, ...]:
    """Return a distribution as its quantiles, from the least to the greatest, in whole percents."""
    shares = np.linspace(0.0, 1.0, _QUANTILES)
    return tuple(np.maximum(np.quantile(found_ms, shares), 0.0).round(6).tolist())


def _ns(ms: float) -> int:
    return max(LEAST_NS, round(ms * NS_PER_MS))
