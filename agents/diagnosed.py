"""A diagnosis as pictures on a page."""

from html import escape

from agents.diagnostics.diagnosis import Diagnosis
from agents.page import picture
from agents.plots import diagnosis


def pictures(d: Diagnosis, currency: str) -> str:
    """Return the HTML of what can be drawn of a diagnosis, each picture under its heading."""
    drawn = {"What trading took": picture(diagnosis.costs(d.costs, currency))}
    if d.actions is not None:
        drawn["What it asked for"] = picture(diagnosis.targets(d.actions))
    if d.holding.spells:
        drawn["How long it held"] = picture(diagnosis.holding(d.holding))
    drawn["When in the day"] = picture(diagnosis.hours(d.hours))
    if d.regimes:
        drawn["In which markets"] = picture(diagnosis.regimes(d.regimes))
    grid = "".join(f"<div><h3>{escape(k)}</h3>{v}</div>" for k, v in drawn.items())
    return f'<div class="pair">{grid}</div>'
