"""A grid with a gateway, and clients of it."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from grid.gateway import keys
from tests.support.grids import Grid
from tests.support.procs import WAIT_S, until


def free_port() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Gateway:
    """The gateway of a grid, with one key of scope paper."""

    def __init__(self, grid: Grid, **options: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = keys.make(grid.home.keys, "web", ("paper",))
        said = "\n".join(f"{k} = {v}" for k, v in options.items())
        with grid.config.open("a") as config:
            config.write(f"\n[gateway]\nport = {self.port}\n{said}\n")
        self.client = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"X-API-Key": self.key}, timeout=20.0
        )

    def ready(self) -> None:
        """Wait until the grid can be seen and asked."""

        def ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return self.client.get("ready").status_code == 200
            return False

        until(ready, "the gateway to be ready", 90.0)

    def get(self, path: str, **params: Any) -> Any:
        """Return what a route answers."""
        found = self.client.get(path, params=params)
        assert found.status_code == 200, found.text
        return found.json()

    def order(self, key: str, **body: Any) -> httpx.Response:
        """Send an order."""
        return self.client.post("orders", json=body, headers={"Idempotency-Key": key})

    def until(self, path: str, fact: Callable[[Any], bool]) -> Any:
        """Wait until what a route answers is as it should be, and return it."""

        def found() -> Any:
            answer = self.client.get(path)
            return answer.json() if answer.status_code == 200 and fact(answer.json()) else None

        return until(found, f"{path} as expected")

    @contextlib.contextmanager
    def socket(self, *channels: str, **wish: Any) -> Iterator["Socket"]:
        """A WebSocket that has said what it wants."""
        url = f"ws://127.0.0.1:{self.port}/ws"
        headers = {"X-API-Key": self.key}
        with connect(url, additional_headers=headers, compression=None) as connection:
            made = Socket(connection)
            made.say(op="subscribe", channels=channels, **wish)
            yield made


class Socket:
    """One WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.hello = self.next()
        self.heard: list[dict[str, Any]] = []

    def say(self, **message: Any) -> None:
        """Send a message."""
        self._connection.send(json.dumps(message))

    def next(self, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """Return the next message."""
        found: dict[str, Any] = json.loads(self._connection.recv(timeout_s))
        return found

    def event(self, fact: Callable[[dict[str, Any]], bool], timeout_s: float = WAIT_S) -> Any:
        """Wait for an event of which `fact` holds, and return it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for event in self.next(timeout_s).get("events", ()):
                self.heard.append(event)
                if fact(event):
                    return event
        raise AssertionError(f"waited {timeout_s} s in vain; heard {self.heard[-3:]}")
