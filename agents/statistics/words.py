"""Figures as a person says them."""

from collections.abc import Sequence


def percent(probability: float) -> str:
    """Return a probability in percent, no more exactly than it is known: `37 %`, `under 0.1 %`."""
    if probability < 0.001:
        return "under 0.1 %"
    if probability > 0.99:
        return "over 99 %"
    return f"{100.0 * probability:.{0 if probability >= 0.095 else 1}f} %"


def share(probability: float) -> str:
    """Return a probability as a share of cases: `37 % of cases`."""
    return f"{percent(probability)} of cases"


def annual(ratio: float) -> str:
    """Return an annualized ratio: `1.20 a year`."""
    return f"{ratio:.2f} a year"


def listed(names: Sequence[str]) -> str:
    """Return names in a row: `flat`, `flat and hold`, `flat, hold and random`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
