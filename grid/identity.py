"""Who a process is on the bus, and, if it holds the grid's own key, whom it lets in.

A process has one identity, as it has one name; its contexts take it up by themselves, so that no
socket is forgotten. Law: docs/security.md.
"""

import logging
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

import msgspec
import zmq

from grid import access, keys
from grid.access import Watch
from grid.errors import AccessError
from grid.keys import GRID, Key, KeyName, MaybeKey
from grid.sockets import Addresses

log = logging.getLogger(__name__)


class Security(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[security]` of a grid.

    Attributes:
        mode: `auto` encrypts and authenticates as soon as an address can be reached from other
            machines; `on` always; `off` never, whoever can reach it.
        key: name of the key that processes use which are started with this config.
        server: public key of the grid; empty for what the key's file says.
    """

    mode: Literal["auto", "on", "off"] = "auto"
    key: KeyName = GRID
    server: MaybeKey = ""


class Identity:
    """A key in use; another one when its file changes.

    Args:
        folder: of the keys.
        name: of the key.
        server: public key of the grid, if not the one in the key's file.

    Attributes:
        key: as its file was last read.
        generation: grows when that changes.
        watch: who is let in; None without the grid's own key, which may let nobody in.

    Raises:
        AccessError: the key is missing or damaged, or does not know its grid.
    """

    def __init__(self, folder: Path, name: str = GRID, server: str = "") -> None:
        self.generation = 1
        self._folder = folder
        self._server = server
        self._file = keys.file_of(folder, name)
        self._mark = access.mark(self._file)
        self.key = self._checked(keys.load(folder, name))
        self.watch = Watch(folder / access.FILE) if self.serves else None

    @property
    def serves(self) -> bool:
        """Whether this is the grid's own key."""
        return self.key.public == self.key.server

    def refresh(self) -> None:
        """Look whether the key's file has changed; one that cannot be read changes nothing."""
        mark = access.mark(self._file)
        if mark == self._mark:
            return
        self._mark = mark
        try:
            key = self._checked(keys.load(self._folder, self.key.name))
        except AccessError as e:
            log.error("%s; the key before stays in use", e)
            return
        if key != self.key:
            self.key = key
            self.generation += 1
            log.info("key %s is now %s", key.name, key.public)

    def as_client(self, socket: zmq.Socket[bytes]) -> None:
        """Make a socket's next connections show this key, to the grid alone."""
        socket.set(zmq.CURVE_SERVERKEY, self.key.server.encode())
        socket.set(zmq.CURVE_PUBLICKEY, self.key.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, self.key.secret.encode())

    def as_server(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        """Make a socket's next endpoint let in whom the door lets in there, and nobody else."""
        if not self.serves:
            raise AccessError(
                f"key {self.key.name!r}: expected the grid's own key to let others in at"
                f" {endpoint}; start this process where that key is"
            )
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, self.key.secret.encode())
        socket.set(zmq.ZAP_DOMAIN, endpoint.encode())
        socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # else whoever comes before the door is let in

    def _checked(self, key: Key) -> Key:
        found = msgspec.structs.replace(key, server=self._server or key.server)
        if not found.server:
            raise AccessError(
                f"{self._file}: expected the public key of the grid in it, or as security.server"
            )
        return found


class _Own:
    """What `new_context` gives to this process's contexts, once `enter` has been called."""

    identity: Identity | None = None
    is_open = False  # a person has said that whoever reaches an address may use it


OWN: Final = _Own()


def is_local(address: str) -> bool:
    """Say whether an endpoint can be reached from this machine alone."""
    if not address.startswith("tcp://"):
        return True
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposed(*addresses: Addresses | None) -> list[str]:
    """Return the endpoints that can be reached from other machines."""
    ends = (getattr(a, field) for a in addresses if a for field in a.__struct_fields__)
    return [end for end in ends if not is_local(end)]


def is_on(security: Security, addresses: Addresses) -> bool:
    """Say whether a grid is to be encrypted and authenticated."""
    if security.mode == "auto":
        return bool(exposed(addresses))
    return security.mode == "on"


def identity_of(
    security: Security, addresses: Addresses, folder: Path, key: str = ""
) -> Identity | None:
    """Return who a process of a grid is; None where the grid is not to be secured.

    Args:
        security: as the grid's config says.
        addresses: of the grid.
        folder: of the keys.
        key: name of another key than the config's.

    Raises:
        AccessError: the key that the config names cannot be used.
    """
    if not is_on(security, addresses):
        return None
    return Identity(folder, key or security.key, security.server)


def enter(
    security: Security, addresses: Addresses, folder: Path, bind: Addresses | None = None
) -> None:
    """Make this process a member of a grid: all its contexts from now on are as the config says.

    Args:
        security: as the grid's config says.
        addresses: of the grid.
        folder: of the keys.
        bind: addresses that are bound in place of those.

    Raises:
        AccessError: the key that the config names cannot be used.
    """
    if security.mode == "off" and (reachable := exposed(addresses, bind)):
        where = ", ".join(reachable)
        log.warning("SECURITY IS OFF: whoever reaches %s can read all and trade", where)
    OWN.identity = identity_of(security, addresses, folder)
    OWN.is_open = security.mode == "off"
