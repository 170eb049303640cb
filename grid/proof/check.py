"""All rules that a grid must keep whatever happens to it, and the check of them."""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from grid.proof import account, actions, orders
from grid.proof.evidence import Evidence
from grid.proof.violation import Finding, Violation

type Rule = Callable[[Evidence], Finding]


class Checked(msgspec.Struct, frozen=True):
    """What became of one rule.

    Attributes:
        rule: its name.
        looked_at: facts that it held for, or not.
        violations: each with the events that show it.
    """

    rule: str
    looked_at: int
    violations: tuple[str, ...] = ()


def no_holes(evidence: Evidence) -> Finding:
    """No event is missing that no recording says is missing, and no place in a stream has two."""
    found = Finding(looked_at=evidence.streams)
    for hole in evidence.holes:
        if not hole.told:
            source, epoch, topic = hole.stream
            span = f"{hole.first} to {hole.last}"
            said = f"{source} {epoch} {topic}: {span} are missing, and no session says so"
            found.violations.append(Violation(said))
    for first, second in evidence.forged:
        found.violations.append(Violation("two events at one place", (first, second)))
    return found


RULES: Final[dict[str, Rule]] = {
    "no hole in a stream is untold": no_holes,
    "each decision ends once": actions.decisions,
    "no action counts twice": actions.once,
    "no action is stale": actions.in_time,
    "no action is from the wrong hand": actions.right_hand,
    "each refusal has a reason": actions.reasons,
    "no order is lost": orders.nothing_lost,
    "no order is doubled": orders.nothing_twice,
    "no order is unasked for": orders.nothing_unasked,
    "positions follow from fills": account.positions,
}


def check(evidence: Evidence, *, clocks_hold: bool = True) -> list[Checked]:
    """Put the evidence through every rule.

    Args:
        evidence: of a grid.
        clocks_hold: False where a clock was set while it ran; then only the order of events tells
            what was late.
    """
    rules: dict[str, Rule] = {
        **RULES,
        "no action is stale": partial(actions.in_time, clocks_hold=clocks_hold),
    }
    found = {name: rule(evidence) for name, rule in rules.items()}
    return [
        Checked(name, finding.looked_at, tuple(map(str, finding.violations)))
        for name, finding in found.items()
    ]


def render(checked: list[Checked]) -> str:
    """Return a line a rule, and one a violation."""
    lines = []
    for one in checked:
        verdict = "BROKEN" if one.violations else "holds"
        lines.append(f"{verdict:<7} {one.rule:<34} {one.looked_at:>9,}")
        lines += [f"        {violation}" for violation in one.violations]
    return "\n".join(lines)
