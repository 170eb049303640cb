"""The connections of a socket that is bound: who is there, what waits for them, and the end of it.

ZeroMQ tells of none of it but the descriptor of each connection, through its monitor. What waits in
the kernel and the cut itself are the descriptor's; ZeroMQ then drops the queue that it kept.
"""

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Any, Final, NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

_COMES: Final = int(zmq.EVENT_ACCEPTED)
_LEAVES: Final = int(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CLOSE_FAILED)
_SIOCOUTQNSD: Final = 0x894B  # not sent yet; what is under way on a long line is not counted
_BURST: Final = 1_000


class Peer(NamedTuple):
    """One connection: descriptors are used again, inodes are not."""

    fd: int
    inode: int


class Peers:
    """Those connected to one socket; make it before the socket is bound, in the socket's thread.

    Args:
        watched: a socket that other threads may own from then on.
    """

    def __init__(self, watched: zmq.Socket[bytes]) -> None:
        self._watched = watched
        self._monitor: Any = watched.get_monitor_socket(_COMES | _LEAVES)
        self._inodes: dict[int, int] = {}

    @property
    def present(self) -> list[Peer]:
        """Those who are connected."""
        for _ in range(_BURST):
            if not self._monitor.poll(0):
                break
            event = recv_monitor_message(self._monitor)
            fd = int(event["value"])
            inode = _inode(fd)
            if event["event"] == _COMES and inode:
                self._inodes[fd] = inode
            elif event["event"] != _COMES:
                self._inodes.pop(fd, None)
        gone = [fd for fd, inode in self._inodes.items() if _inode(fd) != inode]
        for fd in gone:
            del self._inodes[fd]
        return [Peer(fd, inode) for fd, inode in self._inodes.items()]

    def close(self) -> None:
        """Stop watching, when no thread uses the socket any more."""
        if not self._watched.closed:
            self._watched.disable_monitor()
        self._monitor.close()


def is_there(peer: Peer) -> bool:
    """Say whether a connection is still open."""
    return _inode(peer.fd) == peer.inode


def waiting_bytes(peer: Peer) -> int:
    """Return what the kernel has not passed on yet; 0 where it does not tell."""
    size = array.array("i", [0])
    for request in (_SIOCOUTQNSD, termios.TIOCOUTQ):
        with contextlib.suppress(OSError):
            fcntl.ioctl(peer.fd, request, size)
            return size[0]
    return 0


def name_of(peer: Peer) -> str:
    """Return where a peer is, as far as the system tells."""
    with contextlib.suppress(OSError), _dup(peer.fd) as connection:
        if connection.family == socket.AF_UNIX:
            ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return f"process {int.from_bytes(ucred[:4], 'little')}"
        host, port, *_ = connection.getpeername()
        return f"{host}:{port}"
    return f"connection {peer.fd}"


def cut(peer: Peer) -> bool:
    """End a connection; say whether it was still there."""
    if _inode(peer.fd) != peer.inode:
        return False
    with contextlib.suppress(OSError), _dup(peer.fd) as connection:
        # what waits in the kernel is not to be delivered any more
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        return True
    return False


def _dup(fd: int) -> socket.socket:
    return socket.socket(fileno=os.dup(fd))


def _inode(fd: int) -> int:
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0
