"""All shipped features as a table, for the terminal and for docs/features.md."""

from typing import Final

from envs.features.kernel import Declared
from envs.features.registry import EACH_LEVEL, LEVELS, shipped

HEAD: Final = ("feature", "unit", "rows", "reads", "meaning")


def rows_needed(declared: Declared) -> str:
    """Return the rows that one value needs, in terms of the parameters: `4 slow + 4 signal - 1`."""
    ones = [1] * len(declared.params)
    base = declared.lookback(*ones)
    terms, rest = [], base
    for i, name in enumerate(declared.params):
        slope = declared.lookback(*(1 + (j == i) for j in range(len(ones)))) - base
        rest -= slope
        if slope:
            terms.append(name if slope == 1 else f"{slope} {name}")
    text = " + ".join(terms)
    if not text:
        return str(rest)
    return text + (f" {'+' if rest > 0 else '-'} {abs(rest)}" if rest else "")


def table() -> list[tuple[str, str, str, str, str]]:
    """Return feature, unit, rows needed, columns read and meaning of each shipped feature."""
    return [
        (
            ":".join((d.name, *d.params)),
            d.unit,
            rows_needed(d),
            ", ".join(d.needs),
            d.meaning.rstrip("."),
        )
        for d in shipped()
    ]


def render() -> str:
    """Return the table for a terminal."""
    rows = [HEAD, *table()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD) - 1)]
    lines = [
        "  ".join((*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]))
        for row in rows
    ]
    each = ", ".join(f"{name}:i" for name in EACH_LEVEL)
    return "\n".join([*lines, "", f"{LEVELS}:k stands for {each}, for i from 1 to k"])


def markdown() -> str:
    """Return the table for docs/features.md."""
    lines = [f"| {' | '.join(row)} |" for row in (HEAD, *table())]
    return "\n".join((lines[0], "|" + "---|" * len(HEAD), *lines[1:]))
