"""All diagnostics of a track."""

import msgspec

from agents.diagnostics.actions import Actions, actions
from agents.diagnostics.costs import Costs, costs
from agents.diagnostics.holding import Holding, holding
from agents.diagnostics.hours import Hours, hours
from agents.diagnostics.regimes import Regime, regimes
from agents.metrics import Track, periods_per_year


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """How a policy came to its result.

    Attributes:
        costs: what it paid.
        holding: how long it held.
        hours: when in the day.
        regimes: calm, usual and wild; nothing of a short track.
        actions: what it asked for; None of a track that did not keep it.
    """

    costs: Costs
    holding: Holding
    hours: Hours
    regimes: tuple[Regime, ...]
    actions: Actions | None


def diagnose(track: Track) -> Diagnosis:
    """Return all diagnostics of a track of at least one step."""
    per_year = periods_per_year(track.ts_ns)
    return Diagnosis(
        costs=costs(track, per_year),
        holding=holding(track),
        hours=hours(track),
        regimes=regimes(track, per_year),
        actions=actions(track),
    )
