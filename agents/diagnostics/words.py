"""Diagnostics as a person reads them, a line each."""

from agents.diagnostics.costs import Costs
from agents.diagnostics.diagnosis import Diagnosis
from agents.diagnostics.holding import Holding


def said(found: Diagnosis, currency: str) -> dict[str, str]:
    """Return label to text, of what fits into a line; hours are for a picture."""
    lines = {"costs": _costs(found.costs, currency), "holding": _holding(found.holding)}
    if found.actions is not None:
        targets = zip(found.actions.targets, found.actions.shares, strict=True)
        shares = ", ".join(f"{target:g} in {share:.0%}" for target, share in targets)
        if len(found.actions.targets) > 7:
            shares = f"{len(found.actions.targets)} targets"
        lines["targets"] = f"{shares}; changed at {found.actions.changed:.0%} of decisions"
    for regime in found.regimes:
        ratio = "-" if regime.sharpe is None else f"{regime.sharpe:.2f}"
        lines[f"{regime.name} market"] = (
            f"volatility {regime.volatility:.1%}, log return {regime.log_return:+.4f} "
            f"(market {regime.market:+.4f}), Sharpe {ratio}, exposure {regime.exposure:.2f} x, "
            f"{regime.steps:,} decisions"
        )
    return lines


def lasting(seconds: float) -> str:
    """Return a duration: `40 s`, `12 min`, `5.0 h`, `3.2 d`."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _costs(c: Costs, currency: str) -> str:
    if c.per_traded_bps is None or c.break_even_bps is None:
        return "no trade"
    left = (
        f"{c.break_even_bps:.2f} would leave nothing"
        if c.gross > 0
        else "it would have lost without any"
    )
    return (
        f"{c.gross:+,.2f} {currency} before costs, {c.fees:,.2f} of fees, {c.shortfall:,.2f} by "
        f"worse prices than decided on, {c.profit:+,.2f} after; {c.per_traded_bps:.2f} bps of what "
        f"was traded, {left}; turnover {c.turnover_per_year:,.0f} x a year"
    )


def _holding(h: Holding) -> str:
    if h.won is None:
        return "never"
    return (
        f"{h.spells:,} positions, half of them for {h.median_steps:g} decisions "
        f"({lasting(h.median_s)}) or less, the longest {h.longest_steps:,}; {h.won:.0%} won; long "
        f"{h.long:.0%} of the time, short {h.short:.0%}"
    )
