"""Whom a grid lets in, and to what: the authorization file, and a live view of it.

The file maps public keys to names and grants. Commands replace it whole; running processes look at
it again and again, so that a change holds within `LOOK_S` and a turn of their loop, without a
restart. A file that cannot be read while they run changes nothing, and they say so.
"""

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from grid import grants
from grid.durable import write_atomic
from grid.errors import AccessError
from grid.grants import NOTHING, Grant
from grid.keys import KeyName, PublicKey, private

log = logging.getLogger(__name__)

FILE: Final = "authorized.json"
LOOK_S: Final = 0.1
SAY_S: Final = 10.0


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A key before its rotation, good until `until_ns`, UNIX ns."""

    public: PublicKey
    until_ns: int


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who holds a key.

    Attributes:
        name: what it is called, in logs and in the audit log.
        public: its key.
        grant: what it may do.
        role: which the grant was made from; for people.
        made_ns: when the key was made, UNIX ns.
        former: its keys before.
        revoked_ns: when its keys were revoked; 0 while they are good.
    """

    name: KeyName
    public: PublicKey
    grant: Grant
    role: str = ""
    made_ns: int = 0
    former: tuple[Former, ...] = ()
    revoked_ns: int = 0


# peers that no key stands for: on a grid without encryption anyone; with it, one that has lost it
ANYONE: Final = Holder(name="anyone", public="0" * 40, grant=grants.EVERYTHING)
NOBODY: Final = Holder(name="nobody", public="0" * 40, grant=NOTHING)


class Access:
    """The holders of a grid; immutable.

    Attributes:
        holders: by name.
    """

    def __init__(self, holders: dict[str, Holder] | None = None) -> None:
        self.holders = holders or {}
        self._owners = {
            public: (holder, until_ns)
            for holder in self.holders.values()
            for public, until_ns in (
                *((f.public, f.until_ns) for f in holder.former),
                (holder.public, 0),
            )
        }

    def who(self, public: str, now_ns: int) -> Holder:
        """Return who holds a key at a time, UNIX ns; without any right if it is not good."""
        holder, until_ns = self._owners.get(public, (NOBODY, 0))
        if holder.revoked_ns or 0 < until_ns <= now_ns:
            return msgspec.structs.replace(holder, grant=NOTHING)
        return holder

    def having(self, holder: Holder) -> "Access":
        """Return the same with a holder added or replaced.

        Raises:
            AccessError: another one has that public key.
        """
        known, _ = self._owners.get(holder.public, (holder, 0))
        if known.name != holder.name:
            raise AccessError(f"key {holder.name!r}: its public key is that of {known.name!r}")
        return Access({**self.holders, holder.name: holder})

    @classmethod
    def load(cls, file: Path) -> "Access":
        """Read the file; without one, nobody is let in.

        Raises:
            AccessError: it is damaged or cannot be read.
        """
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            holders = msgspec.json.decode(file.read_bytes(), type=list[Holder])
        except FileNotFoundError:
            return cls()
        except OSError as e:
            raise AccessError(f"{file}: cannot be read: {e.strerror}") from e
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise AccessError(f"{file}: not an authorization file: {e}") from e
        if mode & 0o022:
            raise AccessError(
                f"{file}: expected a file that its owner alone can change, found mode {mode:04o}"
            )
        return cls({holder.name: holder for holder in holders})

    def save(self, file: Path) -> None:
        """Replace the file, whole or not at all."""
        content = msgspec.json.encode([self.holders[name] for name in sorted(self.holders)])
        with private():
            write_atomic(file, msgspec.json.format(content) + b"\n")


@contextmanager
def changing(file: Path) -> Iterator[Access]:
    """Read the file while no other command can change it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield Access.load(file)
    finally:
        os.close(fd)


class Watch:
    """The file as it is now, for processes that run for long; safe from several threads.

    Attributes:
        unreadable: how often a change could not be read.

    Raises:
        AccessError: the file is damaged at the start.
    """

    def __init__(self, file: Path) -> None:
        self.unreadable = 0
        self._file = file
        self._mark = mark(file)
        self._access = Access.load(file)
        self._looked_s = self._said_s = float("-inf")

    def who(self, public: str) -> Holder:
        """Return who holds a key now."""
        return self.now().who(public, time.time_ns())

    def now(self) -> Access:
        """Return what holds now; looks at the file at most each `LOOK_S`."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            if (found := mark(self._file)) != self._mark:
                self._reload(found, now_s)
        return self._access

    def _reload(self, found: tuple[int, int, int] | None, now_s: float) -> None:
        try:
            self._access = Access.load(self._file)
        except AccessError as e:
            self.unreadable += 1
            if now_s - self._said_s >= SAY_S:
                self._said_s = now_s
                log.error("%s; what was authorized before stays so", e)
            return
        self._mark = found
        log.info("authorized now: %s", ", ".join(_good(self._access)) or "nobody")


def _good(access: Access) -> list[str]:
    return [name for name, holder in sorted(access.holders.items()) if not holder.revoked_ns]


def mark(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced; None while there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
