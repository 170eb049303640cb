"""The registry for people: tables and differences."""

from collections.abc import Iterator
from typing import Any

import msgspec

from agents.checkpoint import Checkpoint
from agents.registry import evidence as evidences
from agents.registry import history
from agents.registry.registry import Registry

_DIFFERENT_ANYWAY = ("files", "metrics", "segment")


def table(registry: Registry) -> str:
    """Return the names and what they point at, then the checkpoints without a name."""
    known = history.names(registry.changes())
    lines = [f"{'name':<28} {'checkpoint':<20} {'since':<20} {'by':<20} why"]
    for name, change in known.items():
        at = change.at[:19].replace("T", " ")
        forced = "forced: " if change.forced else ""
        lines.append(
            f"{name:<28} {change.digest} {at:<20} {change.by[:20]:<20} {forced}{change.why}"
        )
    named = {change.digest for change in known.values()}
    lines += [f"{'-':<28} {digest}" for digest in registry.digests() if digest not in named]
    return "\n".join(lines) if len(lines) > 1 else f"no models in {registry.folder}"


def describe(registry: Registry, checkpoint: Checkpoint) -> str:
    """Return what is known of a checkpoint, and the history of the names that have meant it."""
    digest, m = checkpoint.digest, checkpoint.manifest
    known = history.names(registry.changes())
    held = [name for name, change in known.items() if change.digest == digest]
    lines = [
        f"{'checkpoint':<12} {digest}",
        f"{'path':<12} {checkpoint.path}",
        f"{'names':<12} {', '.join(held) or '-'}",
        f"{'trained':<12} {m.algo}, {m.steps:,} decisions on {m.data.name}, seed {m.seed}",
    ]
    found = evidences.newest(registry.evidence(digest))
    for what in evidences.KNOWN:
        if what in found:
            evidence = found[what]
            said = f"{'passed' if evidence.passed else 'FAILED'} {evidence.at}: {evidence.said}"
            figures = ", ".join(f"{k} {v:.4g}" for k, v in evidence.metrics.items())
            lines.append(f"{what:<12} {said}{f' ({figures})' if figures else ''}")
        elif what in evidences.DEMANDED:
            lines.append(f"{what:<12} not checked: models check {digest}")
    changes = [c for c in registry.changes() if digest in (c.digest, c.before)]
    lines += [f"{'history' if not i else '':<12} {told(c)}" for i, c in enumerate(changes)]
    return "\n".join(lines)


def told(change: history.Change) -> str:
    """Return a change as one line."""
    before = f" in place of {change.before}" if change.before else ""
    forced = ", forced" if change.forced else ""
    why = f": {change.why}" if change.why else ""
    return (
        f"{change.at} {change.act} {change.name} to {change.digest}{before} "
        f"by {change.by}{forced}{why}"
    )


def diff(a: Checkpoint, b: Checkpoint) -> str:
    """Return the facts in which two checkpoints differ, a line each: key, a's value, b's value."""
    left, right = _facts(a), _facts(b)
    keys = [k for k in sorted(left.keys() | right.keys()) if left.get(k) != right.get(k)]
    if not keys:
        return f"{a.digest} and {b.digest} differ in their weights alone"
    width = max(map(len, keys))
    head = f"{'':<{width}}  {a.digest} | {b.digest}"
    lines = (f"{k:<{width}}  {left.get(k, '-')} | {right.get(k, '-')}" for k in keys)
    return "\n".join((head, *lines))


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(checkpoint.manifest)
    return dict(_flat({k: v for k, v in tree.items() if k not in _DIFFERENT_ANYWAY}))


def _flat(tree: dict[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{at}.{key}" if at else key
        if isinstance(value, dict):
            yield from _flat(value, path)
        else:
            yield path, value
