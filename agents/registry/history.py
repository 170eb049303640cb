"""Who promoted which checkpoint to which name, when and why: an append-only file, and its fold."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from agents.registry.evidence import Evidence
from grid.errors import CheckpointError

PREFIX = "model:"

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}/[A-Za-z0-9][A-Za-z0-9_-]{0,39}$",
        description="STRATEGY/ROLE, as in eurusd/champion: letters, digits, dashes, underscores",
    ),
]


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: a name came to point at a checkpoint.

    Attributes:
        name: as in `eurusd/champion`.
        digest: of the checkpoint that it points at from now on.
        before: of the one that it pointed at; empty if none.
        act: how it came to.
        at: time by this machine's clock, UTC.
        by: who.
        why: the reason given.
        forced: whether something demanded had not passed.
        evidence: what was known of the checkpoint then.
    """

    name: str
    digest: str
    act: Literal["promote", "rollback"]
    at: str
    by: str
    why: str
    before: str = ""
    forced: bool = False
    evidence: tuple[Evidence, ...] = ()


def read(file: Path) -> list[Change]:
    """Return the changes in order; a last line that a crash cut short is none.

    Raises:
        CheckpointError: a line before the last is damaged.
    """
    if not file.exists():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    return list(_decoded(whole.splitlines(), file))


def names(changes: Iterable[Change]) -> dict[str, Change]:
    """Return the newest change of each name, by name."""
    return dict(sorted({change.name: change for change in changes}.items()))


def previous(changes: Iterable[Change], name: str) -> str:
    """Return the digest that a rollback of `name` goes to; empty if there is nothing before.

    A rollback undoes the newest promotion that was not yet undone, so two in a row go back by two.
    """
    stack: list[str] = []
    for change in changes:
        if change.name != name:
            continue
        if change.act == "promote":
            stack.append(change.digest)
        elif stack:
            stack.pop()
    return stack[-2] if len(stack) > 1 else ""


def _decoded(lines: list[bytes], file: Path) -> Iterator[Change]:
    for number, line in enumerate(lines, start=1):
        try:
            yield msgspec.json.decode(line, type=Change)
        except msgspec.MsgspecError as e:
            raise CheckpointError(f"{file}: line {number} is damaged: {e}") from e
