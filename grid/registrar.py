"""Makes keys and decides on their rights: what `launch.py keys` does.

Every change is one replacement of the authorization file, which running processes follow.
"""

import time
from pathlib import Path
from typing import Final

import msgspec

from grid import access, grants, keys
from grid.access import Access, Former, Holder
from grid.dataset import to_iso
from grid.errors import AccessError
from grid.grants import Grant
from grid.keys import GRID, Key

GRACE_S: Final = 3_600.0


def make_grid_key(folder: Path) -> None:
    """Make the grid's own key and authorize it, unless there is one."""
    if not keys.file_of(folder, GRID).exists():
        enroll(folder, GRID, grants.EVERYTHING, role=GRID)


def enroll(
    folder: Path, name: str, grant: Grant, *, role: str = "", public: str | None = None
) -> Holder:
    """Authorize a new key.

    Args:
        folder: of the keys.
        name: of the key.
        grant: what it may do.
        role: that the grant was made from, for people.
        public: of a pair made elsewhere; by default a pair is made here, and kept in the folder.

    Raises:
        AccessError: the name or the public key is taken.
    """
    if name != GRID:
        make_grid_key(folder)
    with access.changing(folder / access.FILE) as now:
        known = now.holders.get(name)
        if known is not None and not known.revoked_ns:
            raise AccessError(f"key {name!r} is there already: rotate or revoke it")
        key = _pair(folder, name) if public is None else None
        holder = Holder(
            name=name,
            public=key.public if key else public or "",
            grant=grant,
            role=role,
            made_ns=time.time_ns(),
        )
        _write(now, holder, folder, key)
    return holder


def rotate(
    folder: Path, name: str, *, grace_s: float = GRACE_S, public: str | None = None
) -> Holder:
    """Give a holder a new key; the old one stays good for `grace_s`.

    A new key of the grid itself is written into the other keys of this folder, which connect to it.

    Raises:
        AccessError: there is no such holder, it is revoked, or the public key is taken.
    """
    with access.changing(folder / access.FILE) as now:
        holder = _good(now, name)
        now_ns = time.time_ns()
        until = Former(public=holder.public, until_ns=now_ns + round(grace_s * 1e9))
        still = (f for f in holder.former if f.until_ns > now_ns)
        key = _pair(folder, name) if public is None else None
        changed = msgspec.structs.replace(
            holder,
            public=key.public if key else public or "",
            made_ns=now_ns,
            former=(*still, until),
        )
        _write(now, changed, folder, key)
        if key is not None and name == GRID:
            _tell(folder, key.public)
    return changed


def revoke(folder: Path, name: str) -> Holder:
    """Take all rights from a holder's keys, the former ones included.

    Raises:
        AccessError: there is no such holder, or it is the grid itself.
    """
    if name == GRID:
        raise AccessError(f"key {name!r}: the grid's own processes live by it; rotate it instead")
    with access.changing(folder / access.FILE) as now:
        revoked = msgspec.structs.replace(_good(now, name), revoked_ns=time.time_ns())
        now.having(revoked).save(folder / access.FILE)
    return revoked


# -- for people --------------------------------------------------------------------------------


def table(folder: Path) -> str:
    """Return a line for each holder."""
    found = Access.load(folder / access.FILE).holders
    if not found:
        return f"no key is authorized in {folder}"
    rows = [("name", "role", "state", "since", "public key")]
    for name, holder in sorted(found.items()):
        since = to_iso(holder.revoked_ns or holder.made_ns)
        rows.append((name, holder.role or "-", _state(holder), since, holder.public))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=True)), row[4]])
        for row in rows
    )


def describe(folder: Path, name: str) -> str:
    """Return what a key is and may do; its secret stays where it is.

    Raises:
        AccessError: there is no such holder.
    """
    holder = _known(Access.load(folder / access.FILE), name)
    file = keys.file_of(folder, name)
    lines = {
        "key": f"{name}, {_state(holder)} since {to_iso(holder.revoked_ns or holder.made_ns)}",
        "role": holder.role,
        "public": holder.public,
        "secret": f"in {file}" if file.exists() else "not here",
        **_rights(holder.grant),
    }
    for former in holder.former:
        lines[f"until {to_iso(former.until_ns)}"] = former.public
    return "\n".join(f"{label:<12} {text}" for label, text in lines.items() if text)


def _rights(grant: Grant) -> dict[str, str]:
    if grant.is_everything:
        return {"may": "everything"}
    rights = {}
    for field in grant.__struct_fields__:
        value = getattr(grant, field)
        if value:
            text = ", ".join(value) if isinstance(value, tuple) else f"{value:g}"
            rights[field] = "yes" if value is True else text
    return rights


def _state(holder: Holder) -> str:
    return "revoked" if holder.revoked_ns else "good"


# -- parts -------------------------------------------------------------------------------------


def _known(now: Access, name: str) -> Holder:
    holder = now.holders.get(name)
    if holder is None:
        known = ", ".join(sorted(now.holders)) or "none"
        raise AccessError(f"key {name!r}: expected one of {known}")
    return holder


def _good(now: Access, name: str) -> Holder:
    holder = _known(now, name)
    if holder.revoked_ns:
        raise AccessError(f"key {name!r} is revoked: make a new one with `keys new`")
    return holder


def _pair(folder: Path, name: str) -> Key:
    """Make a pair that talks to the grid of this folder."""
    return keys.new(name, "" if name == GRID else keys.load(folder, GRID).public)


def _write(now: Access, holder: Holder, folder: Path, key: Key | None) -> None:
    """Put holder and pair on disk: the right first, so that whoever has the key may use it."""
    try:
        checked = msgspec.convert(msgspec.to_builtins(holder), Holder)
    except msgspec.ValidationError as e:
        raise AccessError(f"key {holder.name!r}: {e}") from e
    now.having(checked).save(folder / access.FILE)
    if key is not None:
        keys.save(folder, key)


def _tell(folder: Path, server: str) -> None:
    """Write the grid's new public key into the other keys of the folder."""
    for file in folder.glob("*.key"):
        if file.stem != GRID:
            other = keys.load(folder, file.stem)
            keys.save(folder, msgspec.structs.replace(other, server=server))
