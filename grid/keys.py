"""CURVE key pairs on disk: one file a key, for the eyes of its owner alone.

A file holds all that a process needs in order to be someone: the pair, and the public key of the
grid that it talks to. It can be carried to another machine as it is.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
import zmq

from grid.durable import write_atomic
from grid.errors import AccessError

GRID: Final = "grid"  # name of the key of a grid's own processes, which may do everything

_Z85: Final = "[0-9a-zA-Z.:+=^!/*?&<>()\\[\\]{}@%$#\\-]{40}"

PublicKey = Annotated[
    str, msgspec.Meta(pattern=f"^{_Z85}$", description="a public key, 40 characters")
]
MaybeKey = Annotated[
    str, msgspec.Meta(pattern=f"^(|{_Z85})$", description="a public key, 40 characters, or nothing")
]
KeyName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=40,
        description="letters, digits, dashes and underscores, beginning with a letter or digit",
    ),
]


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pair, in Z85.

    Attributes:
        name: whose it is.
        public: may be shown to anyone.
        secret: to nobody.
        server: public key of the grid that is talked to; empty where it is not known yet.
    """

    name: KeyName
    public: PublicKey
    secret: PublicKey
    server: MaybeKey = ""

    def __repr__(self) -> str:
        """Return a text without the secret, for logs and tracebacks."""
        return f"Key({self.name!r}, {self.public!r})"


def new(name: str, server: str = "") -> Key:
    """Return a fresh pair; a grid's own key is its own server."""
    public, secret = (half.decode() for half in zmq.curve_keypair())
    return Key(name=name, public=public, secret=secret, server=server or public)


def save(folder: Path, key: Key) -> Path:
    """Write a key, whole or not at all, and return its file; the folder is made if need be."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    file = file_of(folder, key.name)
    with private():
        write_atomic(file, msgspec.json.format(msgspec.json.encode(key)) + b"\n")
    return file


def load(folder: Path, name: str) -> Key:
    """Read a key.

    Raises:
        AccessError: it is missing, damaged, or others than its owner can read it.
    """
    file = file_of(folder, name)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        content = file.read_bytes()
    except OSError as e:
        raise AccessError(f"{file}: key {name!r} cannot be read: {e.strerror}") from e
    if mode & 0o077:
        raise AccessError(
            f"{file}: expected mode 0600, for a secret is in it, found {mode:04o}; chmod 600 it"
        )
    try:
        key = msgspec.json.decode(content, type=Key)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise AccessError(f"{file}: not a key file: {e}") from e
    if key.name != name:
        raise AccessError(f"{file}: expected key {name!r}, found {key.name!r}")
    return key


def file_of(folder: Path, name: str) -> Path:
    """Return where the key of that name lies."""
    return folder / f"{name}.key"


@contextmanager
def private() -> Iterator[None]:
    """Within it, files are made for their owner alone, from their first byte on."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
