"""API keys: who may use the gateway, and what for. Only hashes are kept.

A key is 256 random bits: one SHA-256 of it is as hard to turn back as the key is to guess. A slow
hash would only help whoever wants to keep the gateway busy.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from grid.access import mark
from grid.config import convert
from grid.durable import write_atomic
from grid.errors import AccessError
from grid.keys import private

type Scope = Literal["read", "paper", "live"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "paper", "live")
FILE: Final = "api-keys.json"
_LOOK_S: Final = 0.2

KeyName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,39}$",
        description="letters, digits and dashes, beginning with a letter or digit",
    ),
]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key; `sha256` is of its text, in hex."""

    name: KeyName
    scopes: tuple[Scope, ...]
    sha256: str
    made_ns: int
    revoked_ns: int = 0

    def allows(self, scope: Scope) -> bool:
        """Say whether it may be used for that; whoever may order may look."""
        return scope in self.scopes or (scope == "read" and bool(self.scopes))


OPEN: Final = ApiKey(name="local", scopes=("read", "paper"), sha256="", made_ns=0)


class ApiKeys:
    """The keys of a home folder as they are now, for a process that runs for long.

    Args:
        folder: of the keys.

    Raises:
        AccessError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._mark = mark(self._file)
        self._keys = load(folder)
        self._looked_s = time.monotonic()

    @property
    def is_empty(self) -> bool:
        """Whether no key was ever made here: one that is revoked counts."""
        return not self._now()

    def holder(self, text: str) -> ApiKey | None:
        """Return the key of that text; None if there is no such, or no more."""
        name = text.removeprefix("argonaut_").rpartition("_")[0]
        key = self._now().get(name)
        digest = hashlib.sha256(text.encode()).hexdigest()
        # the same work whether there is a key of the name or not
        same = hmac.compare_digest(digest, key.sha256 if key else "0" * 64)
        return key if key is not None and same and not key.revoked_ns else None

    def _now(self) -> dict[str, ApiKey]:
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._looked_s = now_s
            if (found := mark(self._file)) != self._mark:
                self._mark = found
                self._keys = load(self._file.parent)
        return self._keys


def load(folder: Path) -> dict[str, ApiKey]:
    """Read the keys by name; without a file there are none.

    Raises:
        AccessError: the file is damaged or cannot be read.
    """
    file = folder / FILE
    try:
        found = msgspec.json.decode(file.read_bytes(), type=list[ApiKey])
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise AccessError(f"{file}: cannot be read: {e.strerror}") from e
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise AccessError(f"{file}: not a file of API keys: {e}") from e
    return {key.name: key for key in found}


def make(folder: Path, name: str, scopes: tuple[Scope, ...]) -> str:
    """Make a key and return its text, which is kept nowhere.

    Raises:
        AccessError: there is one of that name.
        ConfigError: the name cannot be one.
    """
    convert(name, KeyName, "name")
    text = f"argonaut_{name}_{secrets.token_hex(32)}"
    with _changing(folder) as known:
        if name in known:
            raise AccessError(
                f"API key {name!r}: there is one already; revoke it, take another name"
            )
        known[name] = ApiKey(
            name=name,
            scopes=tuple(s for s in SCOPES if s in scopes) or ("read",),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            made_ns=time.time_ns(),
        )
    return text


def revoke(folder: Path, name: str) -> None:
    """Let a key be good for nothing from now on.

    Raises:
        AccessError: there is none of that name.
    """
    with _changing(folder) as known:
        if name not in known:
            raise AccessError(f"API key {name!r}: expected one of {', '.join(known) or 'none'}")
        known[name] = msgspec.structs.replace(known[name], revoked_ns=time.time_ns())


@contextmanager
def _changing(folder: Path) -> Iterator[dict[str, ApiKey]]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(folder / "api-keys.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        keys = load(folder)
        yield keys
        content = msgspec.json.encode([keys[name] for name in sorted(keys)])
        with private():
            write_atomic(folder / FILE, msgspec.json.format(content) + b"\n")
    finally:
        os.close(fd)
