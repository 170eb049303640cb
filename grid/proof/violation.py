"""What a rule finds: how much it looked at, and what must not be."""

from dataclasses import dataclass, field

from grid.proof.evidence import Frame, Seen


@dataclass(frozen=True)
class Violation:
    """Something that must not be.

    Attributes:
        what: one sentence.
        frames: the events that show it; none where the venue's journal shows it.
    """

    what: str
    frames: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        return "; ".join([self.what, *map(str, self.frames)])


@dataclass
class Finding:
    """What one rule found."""

    looked_at: int = 0
    violations: list[Violation] = field(default_factory=list)

    def expect(self, holds: bool, what: str, *shown: Seen) -> bool:
        """Count one fact; note a violation unless it holds; return whether it does."""
        self.looked_at += 1
        if not holds:
            self.violations.append(Violation(what, tuple(seen.frame for seen in shown)))
        return holds
