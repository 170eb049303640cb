"""What was compared, and what was found wrong first."""

from dataclasses import dataclass, field


@dataclass
class Check:
    """One thing that was compared.

    Attributes:
        what: `feature NAME`, `normalization`, `account`, `reward`, `fill price`, `fill time`.
        compared: how many rows, steps or fills.
        wrong: what differs first, and at which row; empty if nothing does.
    """

    what: str
    compared: int = 0
    wrong: str = ""


@dataclass
class Report:
    """All checks, and how many futures were tried."""

    futures: int
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def wrong(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks.values() if check.wrong]

    def note(self, what: str, compared: int, wrong: str = "") -> None:
        """Count what was compared, and keep what was wrong first."""
        check = self.checks.setdefault(what, Check(what))
        check.compared += compared
        check.wrong = check.wrong or wrong


def sentence(report: Report) -> str:
    """Return what is wrong, in one sentence; empty if nothing is."""
    return "; ".join(f"{check.what}: {check.wrong}" for check in report.wrong)


def render(report: Report) -> str:
    """Return the table of what was checked."""
    width = max(len(what) for what in report.checks)
    lines = [
        f"{c.what:<{width}}  {c.compared:>9,}  {'looks ahead' if c.wrong else 'equal'}"
        for c in report.checks.values()
    ]
    head = f"{'checked':<{width}}  {'compared':>9}  with {report.futures} altered futures"
    return "\n".join((head, *lines))
