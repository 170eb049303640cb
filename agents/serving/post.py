"""One HTTP connection that is kept, and a deadline for all of a request. Standard library only."""

import contextlib
import http.client
import io
import select
import socket
import ssl
import time
from typing import Any, Final
from urllib.parse import urlsplit

from grid.errors import ConfigError

_MOST_BYTES: Final = 8 << 20


class Failure(Exception):
    """No answer came of it; `why` in a word."""

    def __init__(self, why: str, said: str) -> None:
        super().__init__(said)
        self.why = why


class _Timed(io.RawIOBase):
    """A socket to read from until a moment, however slowly it drips."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.until_s = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.socket.settimeout(_left_s(self.until_s))
        return self.socket.recv_into(buffer)

    def close(self) -> None:
        """Stay open: a response that was read closes its reader, and the connection goes on."""


class _Wire:
    """What `http.client` takes for a socket."""

    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._timed)


class Post:
    """Posts JSON to one server.

    Args:
        endpoint: `http://host:port` or `https://host:port`.
        headers: that go with every request.

    Raises:
        ConfigError: the host has no address; it is looked up once, since that has no deadline.
    """

    def __init__(self, endpoint: str, headers: dict[str, str]) -> None:
        url = urlsplit(endpoint)
        self._host, self._tls = url.hostname or "", url.scheme == "https"
        try:
            port = url.port or (443 if self._tls else 80)
            found = socket.getaddrinfo(self._host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as e:
            raise ConfigError(f"{endpoint}: expected a host and port that exist: {e}") from e
        self._family: int = found[0][0]
        self._address: Any = found[0][4]
        said = {"Host": url.netloc, "Content-Type": "application/json", **headers}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        self._timed: _Timed | None = None

    def post(self, path: str, body: bytes, until_s: float) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers in lower case, and body.

        Args:
            path: of the resource.
            body: JSON.
            until_s: by `time.monotonic`, when it is over.

        Raises:
            Failure: `late`, `unreachable` or `garbled`; the connection is given up.
        """
        head = f"POST {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            timed = self._kept() or self._connect(until_s)
            timed.until_s = until_s
            timed.socket.settimeout(_left_s(until_s))
            timed.socket.sendall(head.encode() + body)
            response = http.client.HTTPResponse(_Wire(timed), method="POST")  # type: ignore[arg-type]
            response.begin()
            content = response.read(_MOST_BYTES)
            if not response.isclosed():
                raise Failure("garbled", f"expected at most {_MOST_BYTES} bytes")
            if response.will_close:
                self.close()
        except (TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as e:
            self.close()
            raise Failure("late", "no answer by the deadline") from e
        except OSError as e:  # among them that it has hung up
            self.close()
            raise Failure("unreachable", f"{e.strerror or e}") from e
        except (http.client.HTTPException, ValueError) as e:
            self.close()
            raise Failure("garbled", f"no HTTP: {type(e).__name__} {e}") from e
        except Failure:
            self.close()
            raise
        return response.status, {k.lower(): v for k, v in response.headers.items()}, content

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._timed is not None:
            with contextlib.suppress(OSError):
                self._timed.socket.close()
            self._timed = None

    def _kept(self) -> _Timed | None:
        """Return the connection, unless the server has closed it, as servers do with idle ones."""
        if self._timed is not None and select.select([self._timed.socket], [], [], 0)[0]:
            self.close()
        return self._timed

    def _connect(self, until_s: float) -> _Timed:
        connected = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            connected.settimeout(_left_s(until_s))
            connected.connect(self._address)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                connected.settimeout(_left_s(until_s))
                context = ssl.create_default_context()
                connected = context.wrap_socket(connected, server_hostname=self._host)
        except BaseException:
            connected.close()
            raise
        self._timed = _Timed(connected)
        return self._timed


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0.0:
        raise TimeoutError
    return left_s
